#!/usr/bin/python3
#
# mime_roundtrip.py
#     Do Python's email package and dkimpy read our messages as they were
#     meant?
#
# Reads what "pure_test emit N SEED" prints, from file $EMITTED or standard
# input; compares fields, bodies and
# files with what they were made from, and verifies the signatures.  The DNS
# is the "dkim" field of a record.  TAP output.
#
# Copyright (c) 2026, the mailman authors

import email
import email.header
import email.policy
import os
import re
import sys

import dkim

tests = 0
failures = 0


def ok(good, name, *details):
    global tests, failures
    tests += 1
    print("%sok %d - %s" % ("" if good else "not ", tests, name))
    if not good:
        failures += 1
        for detail in details:
            print("# %a" % (detail,))


def equal(got, expected, name):
    ok(got == expected, name, got, expected)


def records(stream):
    record = {}
    for line in stream:
        name, length = line.split()
        value = stream.read(int(length))
        stream.readline()
        if name == b"end":
            yield record
            record = {}
        else:
            record[name.decode()] = value


def clean(value):
    return re.sub(r"[\x00-\x1f\x7f-\x9f]+", " ", value.decode())


def crlf(body):
    body = re.sub(rb"\r\n?|\n", b"\r\n", body)
    return body + b"\r\n" if body and not body.endswith(b"\n") else body


def unstuff(wire):
    assert wire.endswith(b".\r\n")
    return re.sub(rb"(?m)^\.", b"", wire[:-3])


def decoded(message, name):
    """The unfolded and decoded text of a field."""
    value = re.sub(r"\r?\n", "", message[name])
    return "".join(part.decode(charset or "ascii") if isinstance(part, bytes)
                   else part
                   for part, charset in email.header.decode_header(value))


def structure(message):
    if not message.is_multipart():
        return "+".join(filter(None, [
            message.get_content_disposition() or message.get_content_type()]))
    return "%s(%s)" % (message.get_content_subtype(),
                       " ".join(map(structure, message.get_payload())))


def expected_structure(record, files):
    bodies = [kind for kind in ("plain", "html")
              if {"plain": "text", "html": "html"}[kind] in record]
    made = " ".join("text/" + kind for kind in bodies)
    if len(bodies) == 2:
        made = "alternative(%s)" % made
    inline = [f for f in files if "cid" in f and "html" in record]
    others = [f for f in files if f not in inline]
    if inline:
        made = "related(%s%s)" % (made, " inline" * len(inline))
    if others:
        made = "mixed(%s%s)" % (made, "".join(
            " inline" if "cid" in f else " attachment" for f in others))
    return made


def files_of(record):
    files = []
    for i in range(4):
        prefix = "file%d_" % i
        file = {key[len(prefix):]: value for key, value in record.items()
                if key.startswith(prefix)}
        if file:
            files.append(file)
    inline = [f for f in files if "cid" in f and "html" in record]
    return inline + [f for f in files if f not in inline]


def check_file(part, file, name):
    content = part.get_payload(decode=True)
    equal(content, file["content"], name + ": its bytes")
    # get_filename() drops white space at both ends
    expected = clean(file["name"]).strip()
    equal(part.get_filename() or "", expected, name + ": its name")
    equal(email.utils.collapse_rfc2231_value(
        part.get_param("name", "")).strip(), expected, name + ": its name in Content-Type")
    equal(part.get_content_type(),
          file["type"].decode().split(";")[0].lower(), name + ": its type")
    equal(part["Content-ID"],
          "<%s>" % file["cid"].decode() if "cid" in file else None,
          name + ": its id")


def check_letter(record, message, number):
    name = "letter %d" % number
    files = files_of(record)
    leaves = [p for p in message.walk() if not p.is_multipart()]
    bodies = leaves[:len(leaves) - len(files)]
    texts = {p.get_content_type(): crlf(p.get_payload(decode=True))
             for p in bodies}

    equal(structure(message), expected_structure(record, files),
          name + ": structure")
    for key, kind in (("text", "text/plain"), ("html", "text/html")):
        if key in record:
            equal(texts.get(kind), crlf(record[key]), name + ": " + key)
    for i, file in enumerate(files):
        check_file(leaves[len(bodies) + i], file, "%s, file %d" % (name, i))
    ok(all(len(p.defects) == 0 for p in message.walk()), name + ": no defects",
       [p.defects for p in message.walk()])

    subject = clean(record["subject"])
    if subject.isascii() and "=?" not in subject:
        equal(decoded(message, "Subject").split(), subject.split(),
              name + ": subject")
    else:
        equal(decoded(message, "Subject"), subject, name + ": subject")
    if "header" in record:
        check_list(record, message, number, name)


def check_list(record, message, number, name):
    equal(decoded(message, "X-Campaign").split(),
          clean(record["header"]).split(), name + ": its own field")
    equal(message["X-Empty"], "", name + ": an empty field")
    equal(decoded(message, "List-Id"),
          '"Unsere Woche, \\"neu\\"" <woche.news.example>', name + ": List-Id")
    equal(message["Feedback-ID"], "42:7:newsletter:sender",
          name + ": Feedback-ID")
    equal(message["Precedence"], "bulk", name + ": Precedence")
    tag = re.fullmatch(rb"bounces\+(\S+)@xn--mnchen-3ya\.example",
                       record["mail_from"])
    ok(tag and tag[1].startswith(record["ids"].split()[0] + b"-" +
                                 record["ids"].split()[1] + b"-"),
       name + ": VERP", record["mail_from"])
    items = re.findall(r"<([^>]*)>", message["List-Unsubscribe"] or "")
    expected = []
    if number % 4 == 1:
        expected.append("https://news.example/u?t=abc&x=%C3%BC")
    if number % 3:
        expected.append("mailto:leave@xn--mnchen-3ya.example?subject="
                        "unsubscribe%20" + tag[1].decode())
    equal(items, expected, name + ": List-Unsubscribe")
    equal(message["List-Unsubscribe-Post"],
          "List-Unsubscribe=One-Click" if number % 4 == 1 else None,
          name + ": List-Unsubscribe-Post")


def check(record):
    raw = unstuff(record["wire"])
    number = int(record["ids"].split()[0]) if "ids" in record else 0
    equal(raw, record["message"], "wire of %d" % number)
    if "raw" not in record:
        # \x7f: nobody needs it
        ok(not re.search(rb"[^\r\n\t\x20-\x7e]|(?<!\r)\n|\r(?!\n)|.{999}", raw),
           "letter %d: short lines of ASCII" % number)
        check_letter(record, email.message_from_bytes(
            raw, policy=email.policy.compat32), number)
    if "dkim" in record:
        def dns(name, timeout=5):
            return record["dkim"]
        kind = re.search(rb"k=(\w+)", record["dkim"])[1].decode()
        ok(dkim.DKIM(raw).verify(dnsfunc=dns),
           "%s signature of %s" % (kind, number or "a raw message"))
        ok(not verifies(raw + b"x\r\n", dns), "and of no other")


def verifies(raw, dns):
    try:
        return dkim.DKIM(raw).verify(dnsfunc=dns)
    except dkim.DKIMException:
        return False


source = open(os.environ["EMITTED"], "rb") if "EMITTED" in os.environ else \
    sys.stdin.buffer
for record in records(source):
    check(record)
print("1..%d" % tests)
sys.exit(failures > 0)
