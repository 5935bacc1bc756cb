#!/usr/bin/env python3
"""Writes variants of rsa-pkcs1.der, p256-sha256kdf.der and rsa-oaep-sha1.der that openssl does not write: the issuer in
other string types (RFC 5280 §7.1), and the parameters of RSAES-OAEP written out or left out (RFC 4055 §4.1)."""


def der(tag, body):
    n = len(body)
    size = (n.bit_length() + 7) // 8
    return bytes([tag]) + (bytes([n]) if n < 128 else bytes([0x80 | size]) + n.to_bytes(size, "big")) + body


def split(contents):
    parts = []
    while contents:
        at, n = 2, contents[1]
        if n & 0x80:
            at = 2 + (n & 0x7F)
            n = int.from_bytes(contents[2:at], "big")
        parts.append((contents[0], contents[at:at + n], contents[:at + n]))
        contents = contents[at + n:]
    return parts


def replace(encoded, old, new):
    """Replaces one element wherever it is, with the lengths around it."""
    if encoded == old:
        return new
    (tag, body, _), = split(encoded)
    if not tag & 0x20 or old not in body:
        return encoded
    return der(tag, b"".join(replace(part, old, new) for _, _, part in split(body)))


def name(tag, text, encoding):
    value = der(0x30, bytes.fromhex("0603550403") + der(tag, text.encode(encoding)))
    return der(0x30, der(0x31, value))


def write(source, target, old, new):
    encoded = open(source, "rb").read()
    changed = replace(encoded, old, new)
    assert changed != encoded, target
    open(target, "wb").write(changed)


ISSUER = name(0x0C, "OpenSSL Root", "utf-8")
NAMES = {
    "printable": name(0x13, "OpenSSL Root", "ascii"),
    "bmp": name(0x1E, "OpenSSL Root", "utf-16-be"),
    "universal": name(0x1C, "OpenSSL Root", "utf-32-be"),
    "teletex": name(0x14, "OpenSSL Root", "latin-1"),
    "case-and-blanks": name(0x0C, " openssl   ROOT ", "utf-8"),
    "another": name(0x0C, "OpenSSL Roots", "utf-8"),
}
for what, issuer in NAMES.items():
    write("rsa-pkcs1.der", f"rsa-issuer-{what}.der", ISSUER, issuer)
    write("p256-sha256kdf.der", f"p256-issuer-{what}.der", ISSUER, issuer)

OAEP = bytes.fromhex("06092A864886F70D010107")
SHA1 = der(0x30, bytes.fromhex("06052B0E03021A") + b"\x05\x00")
MGF1 = der(0x30, bytes.fromhex("06092A864886F70D010108") + SHA1)
EMPTY = der(0x30, bytes.fromhex("06092A864886F70D010109") + b"\x04\x00")
DEFAULT = der(0x30, OAEP + b"\x30\x00")
MD5 = der(0x30, OAEP + der(0x30, der(0xA0, der(0x30, bytes.fromhex("06082A864886F70D0205") + b"\x05\x00"))))
write("rsa-oaep-sha1.der", "rsa-oaep-defaults-explicit.der", DEFAULT,
      der(0x30, OAEP + der(0x30, der(0xA0, SHA1) + der(0xA1, MGF1) + der(0xA2, EMPTY))))
write("rsa-oaep-sha1.der", "rsa-oaep-no-parameters.der", DEFAULT, der(0x30, OAEP))
write("rsa-oaep-sha1.der", "rsa-oaep-md5.der", DEFAULT, MD5)
