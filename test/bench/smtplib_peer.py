#
# smtplib_peer.py
#	  Python's smtplib on one connection, no queue and no account.
#
#	python3 smtplib_peer.py PORT MAILS SIZE
#
# The cheapest way to personalise: the message is composed once, and what is
# the recipient's own is put in its place.  Prints the seconds it took.
#
# Copyright (c) 2026, the mailman authors
#
import smtplib
import sys
import time
from email.message import EmailMessage

port, mails, size = (int(arg) for arg in sys.argv[1:])

message = EmailMessage()
message["From"] = "The gardener <garden@example.com>"
message["To"] = "@NAME@ <reader@example.org>"
message["Subject"] = "Spring has come, @NAME@"
line = "In plot @PLOT@ the first @FLOWER@ is out.\n"
message.set_content(line)
message.add_alternative("<p>" + line + "</p>", subtype="html")
missing = size - len(message.as_bytes())
message.get_payload(0).set_content(line * (1 + missing // 2 // len(line)))
message.get_payload(1).set_content(
    "<p>" + line * (1 + missing // 2 // len(line)) + "</p>", subtype="html")
template = message.as_string()

start = time.perf_counter()
with smtplib.SMTP("127.0.0.1", port) as smtp:
    for i in range(mails):
        text = (template.replace("@NAME@", f"Reader {i}")
                .replace("@PLOT@", str(i)).replace("@FLOWER@", "tulip"))
        smtp.sendmail("garden@example.com", f"reader{i}@example.org", text)
print(time.perf_counter() - start)
