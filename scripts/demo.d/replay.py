#!/usr/bin/env python3
"""Sends a mail again as it is: replay.py HOST PORT CERT KEY RECIPIENT FILE (the client certificate is the sending gateway's)."""
import smtplib, ssl, sys

host, port, certificate, key, recipient, path = sys.argv[1:]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE  # the one who replays does not care whom he talks to
context.load_cert_chain(certificate, key)
with smtplib.SMTP(host, int(port)) as smtp:
    smtp.ehlo("replay.invalid")
    smtp.starttls(context=context)
    smtp.ehlo("replay.invalid")
    smtp.mail("replay@invalid.test")
    code, text = smtp.rcpt(recipient)
    if code != 250: sys.exit(f"RCPT {code} {text}")
    # Not sendmail(): that would touch the octets.
    smtp.docmd("DATA")
    data = open(path, "rb").read()
    smtp.send(b"\r\n".join(b"." + line if line.startswith(b".") else line for line in data.removesuffix(b"\r\n").split(b"\r\n")) + b"\r\n.\r\n")
    code, text = smtp.getreply()
    print(code, text.decode())
    sys.exit(0 if code == 250 else 1)
