#!/usr/bin/python3
#
# read_messages.py
#     What Python's email package makes of messages: see Mailman::Reader.
#
# Reads names of files from standard input, one a line, and answers each with
# an object of JSON in a line.
#
# Header fields may be UTF-8 (RFC 6532), so the bytes are decoded first: that
# package reads such fields only out of text.
#
# Copyright (c) 2026, the mailman authors

import base64
import email
import email.errors
import email.header
import email.policy
import email.utils
import json
import sys


def decoded(text):
    """Encoded-words (RFC 2047), without the white space between two."""
    return "".join(part.decode(charset or "ascii") if isinstance(part, bytes)
                   else part
                   for part, charset in email.header.decode_header(text))


def display_name(address, source):
    """The policy's own reading keeps the white space between encoded-words of
    a name, against RFC 2047 6.2 (until Python 3.13), so it is the older code's
    that counts; but the two must differ in nothing else."""
    name, _ = email.utils.parseaddr(source)
    if not source.startswith('"'):
        name = decoded(name)
    if "".join(name.split()) != "".join(address.display_name.split()):
        return "%r or %r" % (name, address.display_name)
    return name


def addresses(message, name):
    found = []
    for field, value in message.raw_items():
        if field.lower() == name.lower():
            source = value.replace("\r", "").replace("\n", "")
            read = message.policy.header_fetch_parse(field, value).addresses
            found += [[display_name(read[0], source), read[0].addr_spec]
                      ] if len(read) == 1 else [["", a.addr_spec] for a in read]
    return found


def content(part):
    return base64.b64encode(part.get_payload(decode=True) or b"").decode()


def describe(part):
    disposition = part.get_content_disposition()
    id = part["Content-ID"]
    return {
        "type": part.get_content_type(),
        "disposition": disposition,
        # get_filename() would strip white space of every script
        "name": part["Content-Disposition"].params.get("filename"),
        "other_name": part["Content-Type"].params.get("name"),
        "id": None if id is None else str(id),
        "content": content(part),
    }


def read(name):
    with open(name, "rb") as file:
        text = file.read().decode("utf-8")
    message = email.message_from_string(text, policy=email.policy.default)
    leaves = [p for p in message.walk() if not p.is_multipart()]
    bodies = [p for p in leaves if p.get_content_disposition() is None]
    files = [p for p in leaves if p.get_content_disposition() is not None]
    defects = [d for p in message.walk() for d in p.defects]
    for part in message.walk():
        for value in part.values():
            defects += getattr(value, "defects", [])
    # RFC 6532 allows it
    defects = [repr(d) for d in defects
               if not isinstance(d, email.errors.NonASCIILocalPartDefect)]
    return {
        "fields": message.keys(),
        "values": {name: str(message[name]) for name in message.keys()},
        "from": addresses(message, "From"),
        "to": addresses(message, "To"),
        "reply_to": addresses(message, "Reply-To"),
        "bodies": [[p.get_content_type(), content(p)] for p in bodies],
        "files": [describe(p) for p in files],
        "defects": defects,
    }


for line in sys.stdin:
    try:
        answer = read(line.rstrip("\n"))
    except Exception as e:
        answer = {"died": "%s: %s" % (type(e).__name__, e)}
    print(json.dumps(answer), flush=True)
