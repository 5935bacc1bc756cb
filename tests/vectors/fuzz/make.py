#!/usr/bin/env python3
"""Makes the first samples of the fuzz targets: FOLDER/FILE. What fuzzing found lies beside them and is not made here.

prepared-signature and backup-file were recorded once with the program's own writers, and are not made here either.
"""
import base64
import datetime
import json
import pathlib
import subprocess

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import oid

HERE = pathlib.Path(__file__).parent
VECTORS = HERE.parent
DAY = datetime.timedelta(days=1)
NOW = datetime.datetime(2026, 6, 1, tzinfo=datetime.timezone.utc)


def write(target, name, octets):
    folder = HERE / target
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(octets if isinstance(octets, bytes) else octets.encode())


def read(*path):
    return VECTORS.joinpath(*path).read_bytes()


def der_of(pem):
    return base64.b64decode("".join(l for l in pem.decode().splitlines() if l and not l.startswith("-")))


def tlv(tag, *parts):
    content = b"".join(parts)
    size = len(content)
    length = bytes([size]) if size < 128 else bytes([0x81, size]) if size < 256 else bytes([0x82, size >> 8, size & 255])
    return bytes([tag]) + length + content


# Keys and certificates -------------------------------------------------------------------------------------------

root_key = serialization.load_pem_private_key(read("cms", "recipients", "p256.key"), None)
ca_key = serialization.load_pem_private_key(read("cms", "recipients", "p384.key"), None)


def name(*attributes):
    return x509.Name([x509.NameAttribute(getattr(oid.NameOID, n), v) for n, v in attributes])


ROOT = name(("COMMON_NAME", "Fuzz Root"), ("ORGANIZATION_NAME", "Test"), ("COUNTRY_NAME", "VN"))
CA = name(("COUNTRY_NAME", "VN"), ("ORGANIZATION_NAME", "Ban Cơ yếu"), ("COMMON_NAME", "Fuzz CA"))
LEAF = name(("COUNTRY_NAME", "VN"), ("ORGANIZATION_NAME", "Tỉnh ủy Sông Lam"), ("COMMON_NAME", "Văn thư"))


def certificate(subject, issuer, key, signer, serial, *extensions, days=3650):
    builder = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
        .serial_number(serial).not_valid_before(NOW - 30 * DAY).not_valid_after(NOW + days * DAY))
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def usage(**on):
    flags = dict.fromkeys(
        ["digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
         "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"], False)
    return x509.KeyUsage(**{**flags, **on}), True


def policies(*numbers):
    return x509.CertificatePolicies([x509.PolicyInformation(x509.ObjectIdentifier(n), None) for n in numbers]), False


def unknown(number, octets, critical=False):
    return x509.UnrecognizedExtension(x509.ObjectIdentifier(number), octets), critical


EMAIL = (x509.SubjectAlternativeName([x509.RFC822Name("vanthu@tinhuy.vn"), x509.DNSName("mx.tinhuy.vn"),
         x509.UniformResourceIdentifier("https://tinhuy.vn/x"), x509.DirectoryName(LEAF)]), False)
IS_CA, IS_LEAF = (x509.BasicConstraints(True, 2), True), (x509.BasicConstraints(False, None), True)
SIGNS, CERTIFIES = usage(digital_signature=True, content_commitment=True), usage(key_cert_sign=True, crl_sign=True)
MAIL = (x509.ExtendedKeyUsage([oid.ExtendedKeyUsageOID.EMAIL_PROTECTION]), False)
POINT = (x509.CRLDistributionPoints([x509.DistributionPoint([x509.UniformResourceIdentifier("http://x/c.crl")],
         None, None, None)]), False)
KEY_ID = (x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), False)
NAMES = (x509.NameConstraints(
    permitted_subtrees=[x509.RFC822Name(".vn"), x509.RFC822Name("tinhuy.vn"), x509.DNSName("tinhuy.vn"),
                        x509.DirectoryName(name(("COUNTRY_NAME", "VN"))), x509.UniformResourceIdentifier(".vn")],
    excluded_subtrees=[x509.RFC822Name("xau.vn"), x509.DNSName("xau.vn")]), True)
# Policy mappings, policy constraints, inhibit anyPolicy (RFC 5280 §4.2.1.5, §4.2.1.11, §4.2.1.14).
P1, P2, ANY = "1.3.6.1.4.1.99999.1", "1.3.6.1.4.1.99999.2", "2.5.29.32.0"
O1 = tlv(6, bytes.fromhex("2b06010401868d1f01"))
O2 = tlv(6, bytes.fromhex("2b06010401868d1f02"))
MAPPED = unknown("2.5.29.33", tlv(0x30, tlv(0x30, O1, O2)), True)
CONSTRAINED = unknown("2.5.29.36", tlv(0x30, tlv(0x80, b"\0"), tlv(0x81, b"\1")), True)
INHIBITED = unknown("2.5.29.54", tlv(2, b"\0"), True)

plain_ca = certificate(CA, ROOT, ca_key, root_key, 2, IS_CA, CERTIFIES, KEY_ID)
plain = certificate(LEAF, CA, ca_key, ca_key, 77, IS_LEAF, SIGNS, MAIL)
rich = certificate(LEAF, CA, ca_key, ca_key, 2**140 + 5, IS_LEAF, SIGNS, MAIL, EMAIL, POINT, policies(P2, ANY), KEY_ID)
names_ca = certificate(CA, ROOT, ca_key, root_key, 3, IS_CA, CERTIFIES, NAMES)
names_leaf = certificate(LEAF, CA, ca_key, ca_key, 78, IS_LEAF, SIGNS, EMAIL)
policy_ca = certificate(CA, ROOT, ca_key, root_key, 4, IS_CA, CERTIFIES, policies(P1), MAPPED, CONSTRAINED)
policy_leaf = certificate(LEAF, CA, ca_key, ca_key, 79, IS_LEAF, SIGNS, policies(P2))
any_ca = certificate(CA, ROOT, ca_key, root_key, 5, IS_CA, CERTIFIES, policies(ANY, P1), INHIBITED)
any_leaf = certificate(LEAF, CA, ca_key, ca_key, 80, IS_LEAF, SIGNS, policies(P1), MAIL)

for file, octets in {"ca.der": plain_ca, "leaf.der": plain, "rich.der": rich, "names.der": names_ca,
                     "policies.der": policy_ca}.items():
    write("certificate", file, octets)
for file in ["rsa", "x25519", "p521"]:
    write("certificate", f"{file}.der", der_of(read("cms", "recipients", f"{file}.pem")))
write("certificate", "ed25519.der", der_of(read("cms", "rfc9216", "ed25519-ca.pem")))
write("certificate", "cut.der", plain[:-20])
for file, pair in {"plain.der": (plain_ca, plain), "rich.der": (plain_ca, rich), "names.der": (names_ca, names_leaf),
                   "policies.der": (policy_ca, policy_leaf), "any.der": (any_ca, any_leaf)}.items():
    write("path", file, tlv(0x30, *pair))
# The leaf is no CA's: its name is outside what the CA may certify.
write("path", "outside.der", tlv(0x30, names_ca, certificate(
    name(("COUNTRY_NAME", "US"), ("COMMON_NAME", "Mallory")), CA, ca_key, ca_key, 81, IS_LEAF, SIGNS)))
for file, of in {"ca.der": CA, "leaf.der": LEAF, "root.der": ROOT}.items():
    write("distinguished-name", file, of.public_bytes())
write("distinguished-name", "email-and-plus.der", x509.Name([
    x509.RelativeDistinguishedName([x509.NameAttribute(oid.NameOID.EMAIL_ADDRESS, "a@b.vn"),
                                    x509.NameAttribute(oid.NameOID.COMMON_NAME, " A  b ")]),
    x509.RelativeDistinguishedName([x509.NameAttribute(oid.NameOID.SERIAL_NUMBER, "1")])]).public_bytes())
write("distinguished-name", "empty.der", b"\x30\x00")
write("distinguished-name", "no-set.der", b"\x30\x02\x30\x00")


def crl(*serials, extensions=(), reason=None, days=7, signer=ca_key, issuer=CA):
    builder = x509.CertificateRevocationListBuilder().issuer_name(issuer).last_update(NOW - DAY).next_update(NOW + days * DAY)
    for serial in serials:
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(NOW - 2 * DAY)
        builder = builder.add_revoked_certificate(
            entry.add_extension(x509.CRLReason(reason), False).build() if reason else entry.build())
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


write("crl", "empty.der", crl())
write("crl", "others.der", crl(5, 6, 7, 2**100, reason=x509.ReasonFlags.key_compromise,
                               extensions=[(x509.CRLNumber(9), False)]))
write("crl", "revoked.der", crl(76, 77, 78, reason=x509.ReasonFlags.superseded))
write("crl", "delta.der", crl(77, extensions=[(x509.CRLNumber(9), False), (x509.DeltaCRLIndicator(8), True)]))
write("crl", "scope.der", crl(5, extensions=[(x509.IssuingDistributionPoint(
    [x509.UniformResourceIdentifier("http://x/c.crl")], None, True, False, None, False, False), True)]))
write("crl", "stale.der", crl(77, days=-0.5))
write("crl", "of-root.der", crl(signer=root_key, issuer=ROOT))
write("crl", "cut.der", crl(77)[:-3])


def pem(label, octets, end="\n"):
    lines = base64.encodebytes(octets).decode().split()
    return end.join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""])


write("trust-file", "two.pem", "Gốc\n" + pem("CERTIFICATE", plain_ca, "\r\n") + "text\n" + pem("X509 CERTIFICATE", plain))
write("trust-file", "one.der", plain_ca)
write("trust-file", "utf16.pem", ("\ufeff" + pem("CERTIFICATE", plain)).encode("utf-16-le"))
write("trust-file", "list.pem", pem("X509 CRL", crl(5)))
write("trust-file", "list.der", crl(5))
write("trust-file", "both.pem", pem("X509 CRL", crl(5)) + pem("CERTIFICATE", plain_ca))
write("trust-file", "nothing.txt", "xin chào\n")
certs_only = tlv(0x30, bytes.fromhex("06092a864886f70d010702"), tlv(0xA0, tlv(
    0x30, b"\2\1\1", b"\x31\0", tlv(0x30, bytes.fromhex("06092a864886f70d010701")), tlv(0xA0, plain_ca, plain),
    tlv(0xA1, crl(5)), b"\x31\0")))
write("trust-file", "certificates.p7b", certs_only)
write("trust-file", "certificates-pem.p7b", pem("PKCS7", certs_only))

ec_pem = read("cms", "recipients", "p256.key").decode() + read("cms", "recipients", "p256.pem").decode()
write("key-file", "p256.pem", ec_pem)
write("key-file", "rsa.pem", "Bag Attributes\n" + read("cms", "recipient.key").decode() + read("cms", "recipient.pem").decode())
write("key-file", "x25519.pem", read("cms", "recipients", "x25519.pem").decode() + read("cms", "recipients", "x25519.key").decode())
write("key-file", "another.pem", read("cms", "recipients", "p384.key").decode() + read("cms", "recipients", "p256.pem").decode())
write("key-file", "no-key.pem", read("cms", "recipients", "p256.pem"))

# CMS -------------------------------------------------------------------------------------------------------------

write("signed-data", "attached-p256.der", read("cms", "attached-p256.der"))
write("signed-data", "attached-stream.ber", read("cms", "attached-stream.ber"))
write("signed-data", "certificates-only.der", certs_only)
write("signed-data", "enveloped.der", read("cms", "enveloped-gcm256.der"))
write("enveloped-data", "gcm.der", read("cms", "enveloped-gcm256.der"))
write("enveloped-data", "x25519.der", read("cms", "recipients", "x25519-hkdf-sha256.der"))
write("enveloped-data", "others.der", read("cms", "enveloped-others.der"))
write("cms-kind", "signed.der", read("cms", "attached-p256.der")[:200])
write("cms-kind", "enveloped.ber", read("cms", "enveloped-gcm128-stream.ber")[:200])
write("cms-kind", "text.txt", "xin chào\n")
write("signature-join", "rsa.der", read("cms", "detached-rsa.der"))
write("signature-join", "attached.der", read("cms", "attached-p256.der"))
AES256GCM, AES256CBC = "060960864801650304012e", "060960864801650304012a"
write("capabilities", "ours.der", tlv(0x30, *[tlv(0x30, bytes.fromhex(o)) for o in (AES256GCM, AES256CBC)]))
write("capabilities", "with-parameter.der", tlv(0x30, tlv(0x30, bytes.fromhex("06082a864886f70d0302"), b"\2\2\0\x80")))
write("capabilities", "empty.der", b"\x30\x00")
write("capabilities", "no-oid.der", tlv(0x30, tlv(0x30, b"\2\1\1")))

# Mail ------------------------------------------------------------------------------------------------------------

CRLF = "\r\n"


def lines(*text):
    return CRLF.join(text) + CRLF


write("mime", "plain.eml", lines("From: a@b.vn", "Subject: x", "", "y"))
write("mime", "nested.eml", lines(
    "From: a@b.vn", 'Content-Type: multipart/mixed; boundary="x"', "", "preamble", "--x", "Content-Type: message/rfc822",
    "", "Subject: y", "", "z", "--x", "Content-Type: multipart/alternative; boundary=y", "", "--y", "", "one", "--y--",
    "--x", "", "two", "--x--", "end"))
write("mime", "encoded.eml", lines(
    "Content-Type: application/pdf; name*0*=UTF-8''a%20; name*1=b",
    'Content-Disposition: attachment; filename="=?UTF-8?B?xJE=?="', "Content-Transfer-Encoding: base64", "", "QUJD"))
write("mime", "quoted.eml", lines("Content-Transfer-Encoding: quoted-printable", "", "a=20=", "b =", "=C4=91"))
write("mime", "folded.eml", lines("From: a@b.vn", "Subject: a", " b", "\tc", "X:", " ", "", "text"))
write("mime", "lf.eml", "From a Mon\nFrom: a@b.vn\nContent-Type: multipart/mixed;\n boundary=x\n\n--x\n\ntwo\n--x--\n")
write("mime", "no-colon.eml", lines("From a@b.vn", "", "y"))
for file, text in {
    "addresses.txt": 'Văn thư <vanthu@tinhuy.vn>, "x, y" <a@b>, G: c@d, e@f;, (c) g@[1.2.3.4]',
    "words.txt": "=?UTF-8?B?Q8O0bmc=?= =?utf-8?q?_=C4=83?= <a@b>",
    "type.txt": "multipart/mixed; boundary=\"a b\"; name*0*=UTF-8''%C4%91; name*1=x; (c) q=\"\\\"\"",
    "date.txt": "Fri, 21 Nov 2025 09:30:00 +0700 (ICT)",
    "old-date.txt": "1 Jan 26 00:00 GMT",
    "field.txt": "Subject : =?utf-8?q?a?=\r\n =?utf-8?q?b?=\r\n",
    "quoted-local.txt": '"a\\"b c"@x.vn, <@r,@s:t@u.vn>',
    "nothing.txt": "\x00",
}.items():
    write("header", file, text)
REPORT = ["From: mx@b.vn", "Content-Type: multipart/report; report-type={}; boundary=r", "", "--r", "Content-Type: text/plain",
          "", "Thư đã được nhận.", "--r", "Content-Type: message/{}", ""]
write("report", "disposition.eml", lines(*[l.format("disposition-notification") for l in REPORT],
      "Reporting-UA: b.vn; SecureMail", "Final-Recipient: rfc822; a@b.vn", "Original-Message-ID: <1@a.vn>",
      "Disposition: automatic-action/MDN-sent-automatically; processed", "", "--r--"))
write("report", "delivery.eml", lines(*[l.format("delivery-status") for l in REPORT],
      "Reporting-MTA: dns; b.vn", "", "Final-Recipient: rfc822; a@b.vn", "Action: failed", "Status: 5.1.1",
      "Diagnostic-Code: smtp; 550 5.1.1 =?utf-8?q?x?=", "", "Final-Recipient: rfc822; c@b.vn", "Action: delayed",
      "Status: 4.0.0", "", "--r", "Content-Type: message/rfc822", "", "Subject: x", "", "y", "--r--"))
write("report", "no-second-part.eml", lines(*REPORT[:7], "--r--").replace("{}", "delivery-status"))
write("report", "no-report.eml", lines("From: a@b.vn", "", "y"))
HP = ["From: a@b.vn", "Subject: [...]", "Date: Fri, 21 Nov 2025 09:30:00 +0700", "Message-ID: <1@b.vn>",
      "Content-Type: multipart/signed; boundary=s; protocol=\"application/pkcs7-signature\"", "", "--s"]
INNER = ["From: A <a@b.vn>", "To: c@d.vn", "Subject: =?utf-8?q?Tr=C3=ADch_y=E1=BA=BFu?=", "Date: Fri, 21 Nov 2025 09:30:00 +0700",
         "Message-ID: <1@b.vn>", "Auto-Submitted: auto-replied", "In-Reply-To: <0@d.vn>"]
END = ["--s", "Content-Type: application/pkcs7-signature", "", "MAAA", "--s--"]
write("message-headers", "cipher.eml", lines(*HP, *INNER, "HP-Outer: Subject: [...]", "HP-Outer: From: a@b.vn",
      "Content-Type: text/plain; hp=cipher", "", "x", *END))
write("message-headers", "clear.eml", lines(*HP, *INNER, 'Content-Type: text/plain; hp="clear"', "", "x", *END))
write("message-headers", "rfc8551.eml", lines(*HP, "Content-Type: message/rfc822; forwarded=no", "", *INNER, "", "x", *END))
write("message-headers", "outer.eml", lines(*HP, "Content-Type: text/plain", "", "x", *END))
write("message-headers", "other-from.eml", lines("From: mallory@x.vn", *HP[1:], *INNER, "Content-Type: text/plain; hp=clear",
      "", "x", *END))
write("message-headers", "no-from.eml", lines("Subject: x", "", "y"))
write("message", "signed.eml", read("smime", "seeds", "protected.eml"))
write("message", "altered.eml", read("smime", "altered.eml"))
write("file", "signed.der", read("cms", "attached-p256.der"))
write("file", "mail.eml", read("smime", "seeds", "opaque.eml"))
write("file", "signed.pdf", "%PDF-1.7\n<</Type/Sig/ByteRange[0 1 2 3]>>")
write("file-kind", "mail.eml", lines("X-First: 1", "subject : x", "", "y"))
write("file-kind", "late.pdf", "junk before\n%PDF-1.4\n")
write("file-kind", "signed.der", read("cms", "attached-p256.der")[:100])
write("file-kind", "text.txt", "Note: no field of mail\n\nFrom: later, in the text")
write("pdf", "signed.pdf", "%PDF-1.7\n1 0 obj<</Type/Sig/ByteRange[0 1 2 3]>>endobj\n")
write("pdf", "escaped.pdf", "%PDF-1.7\n<</#42yte#52ang#65 [0 1 2 3]>>")
write("pdf", "unsigned.pdf", "%PDF-1.7\n<</ByteRangeX[0 1]/Type/Catalog//Byte>>\n(/ByteRang)")

# SMTP ------------------------------------------------------------------------------------------------------------

for file, text in {
    "mail.txt": "MAIL FROM:<a@b.vn> SIZE=10 BODY=8BITMIME", "null.txt": "MAIL FROM:<>", "rcpt.txt": 'RCPT TO:<"a b"@[1.2.3.4]>',
    "route.txt": "RCPT TO:<@x,@y:c@d.vn>", "ehlo.txt": "EHLO x.vn", "quit.txt": "QUIT", "postmaster.txt": "RCPT TO:<Postmaster>",
    "reply.txt": "550-5.1.1 no such", "private.txt": "XHELD 5", "bytes.txt": "MAIL FROM:<\x00>",
}.items():
    write("smtp-command", file, text)
for file, text in {
    "plain.txt": "a\r\n.\r\nb", "stuffed.txt": "..\r\n...x\r\n.\r\nQUIT\r\n", "bare.txt": "\r\n.\r.\n.\n\r\n.\r\n", "empty.txt": ".\r\n",
    "no-end.txt": "a\r\n.\nQUIT\r\n", "nul.txt": "a\x00\r\n.\r\n",
}.items():
    write("smtp-data", file, text)
MAIL_COMMANDS = ["EHLO x.vn", "MAIL FROM:<a@b.vn> SIZE=10", "RCPT TO:<c@d.vn>", "RCPT TO:<x@d.vn>", "DATA"]
write("smtp-session", "two.txt", lines(*MAIL_COMMANDS, "Subject: x", "", "..y", ".", "RSET", *MAIL_COMMANDS[1:], "z", ".", "QUIT"))
write("smtp-session", "reports.txt", lines("HELO x", "MAIL FROM:<>", "RCPT TO:<Postmaster>", "DATA", ".", "NOOP", "QUIT"))
write("smtp-session", "order.txt", lines("DATA", "MAIL FROM:<a@b.vn>", "EHLO x", "RCPT TO:<c@d.vn>", "VRFY c", "STARTTLS", "XHELD 5"))
write("smtp-session", "smuggling.txt", lines(*MAIL_COMMANDS, "a\n.\nMAIL FROM:<evil@x.vn>\r.\r", "b", ".", "QUIT"))
HELLO = ["220 mx ESMTP", "250-mx", "250-PIPELINING", "250-SIZE 1000000", "250 8BITMIME"]
TAKEN = ["250 2.1.0 Ok", "250 2.1.5 Ok", "550 5.1.1 No", "354 Go on", "250 2.6.0 Taken"]
write("smtp-client", "taken.txt", "\0" + lines(*HELLO, *TAKEN, *TAKEN, "250 2.0.0 5 -", "221 Bye"))
write("smtp-client", "without-pipelining.txt", "\0" + lines("220 mx", "250 mx", *TAKEN, "221 Bye"))
write("smtp-client", "at-once.txt", "\2" + lines(*HELLO, *TAKEN, "421 4.3.2 Away"))
write("smtp-client", "tls.txt", "\1" + lines("220 mx", "250-mx", "250 STARTTLS", "220 Go"))
write("smtp-client", "injected.txt", "\3" + lines("220 mx", "250-mx", "250 STARTTLS", "220 Go", "250 evil"))
write("smtp-client", "no-tls.txt", "\1" + lines("220 mx", "250 mx"))
write("smtp-client", "lost-at-dot.txt", "\0" + lines(*HELLO, *TAKEN[:4]))
write("smtp-client", "refused.txt", "\0" + lines("554 5.7.1 No service"))
write("smtp-client", "continued.txt", "\0" + lines(*HELLO, "250 Ok", "250 Ok", "250 Ok", "354-Go", "354 on", "350 What", "250 Ok"))

# Ledger and what agencies exchange -------------------------------------------------------------------------------

entries = json.loads(read("ledger", "entries.json"))
for index, entry in enumerate(entries[:4]):
    write("entry", f"{index}.json", entry["body"])
write("entry", "spaced.json", '{ "v": 1 }')
field = read("own", "v1", "evidence.txt")
evidence = base64.b64decode(b"".join(field.split(b":", 1)[1].split()))
write("evidence", "field.json", evidence)
write("evidence", "receipt.json", base64.b64decode(json.loads(read("own", "v1", "receipt.json"))["ledger"]))
with_more = json.loads(evidence)
with_more["consistency"] = {"1": [with_more["inclusion"][0]], "2": []}
with_more["cosignatures"] = [{"size": 5, "line": "\u2014 b AAAAAAA=\n"}]
write("evidence", "with-proofs.json", json.dumps(with_more, separators=(",", ":"), ensure_ascii=False))
write("evidence", "version-2.json", evidence.replace(b'"v":1', b'"v":2'))
write("evidence-field", "mail.eml", field + lines("Subject: [...]", "", "x").encode())
write("evidence-field", "none.eml", lines("XLEDGER 5 7", "", "x").replace("XLEDGER", "XLEDGER: 1"))
write("evidence-field", "capability.txt", lines("XLEDGER 5 7", "SIZE 10"))
write("evidence-field", "damaged.eml", lines("SecureMail-Ledger: AAAA", "", "x"))
export = read("own", "v1", "export.jsonl").decode().splitlines()
notes = [json.loads(l)["note"] for l in export if '"checkpoint"' in l]
foreign = [v["note"] for v in json.loads(read("ledger", "checkpoints.json"))]
write("checkpoint", "own.txt", notes[2])
write("checkpoint", "go.txt", foreign[0])
for index, note in enumerate(foreign[1:3]):
    write("checkpoint", f"foreign-{index}.txt", note)
write("checkpoint", "no-signature.txt", notes[2].split("\n\n")[0] + "\n\n")
cosignature = json.loads(next(l for l in export if '"cosignature"' in l))
write("cosignature", "own.txt", cosignature["line"])
write("cosignature", "short.txt", "\u2014 b AAAAAAA=\n")
write("cosignature", "no-dash.txt", "- b AAAAAAA=\n")
write("verifier-key", "own.txt", json.loads(export[0])["vkey"])
write("verifier-key", "go.txt", json.loads(read("ledger", "checkpoints.json"))[0]["vkey"])
write("verifier-key", "cosigner.txt", cosignature["vkey"])
write("verifier-key", "no-key.txt", "a+00000000+AAAA")
write("seen", "note.txt", notes[1])
write("seen", "lines.jsonl", "".join(json.dumps({"type": "checkpoint", "note": n}) + "\n" for n in notes[:3]))
write("seen", "export.jsonl", "\n".join(export[:4]) + "\n")
write("seen", "no-type.jsonl", "{}\n")
write("manifest", "own.json", read("own", "v1", "manifest.json"))
published = subprocess.run(
    ["openssl", "cms", "-verify", "-binary", "-inform", "DER", "-noverify", "-in", VECTORS.joinpath("own", "v1", "directory.p7m")],
    capture_output=True, check=True).stdout
write("directory", "own.json", published)
twice = json.loads(published)
twice["agencies"][1]["certificates"][1]["der"] = twice["agencies"][1]["certificates"][0]["der"]
write("directory", "one-certificate-two-uses.json", json.dumps(twice))
write("directory", "critical.json", json.dumps({**json.loads(published), "crit": ["tomorrow"]}))
write("manifest", "nulls.json", '{"v":1,"recipients":[null],"documents":[null],"salt":""}')
write("receipt", "own.json", read("own", "v1", "receipt.json"))
write("receipt", "nulls.json", '{"v":1,"sender":null,"reason":{}}')
AGENCY = "0192f000-0000-7000-8000-00000000000{}"
small = certificate(LEAF, CA, ca_key, ca_key, 9, IS_LEAF)


def agency(number, **more):
    return {"id": AGENCY.format(number), "parent": None, "successor": None, "validFrom": "2020-01-01T00:00:00+07:00",
            "validTo": None, "gateway": "gateway-a.test",
            "names": [{"code": f"H90.{number}", "name": "Đảng ủy", "address": f"xa{number}@huyen.vn",
                       "from": "2020-01-01T00:00:00+07:00", "to": None}],
            "certificates": [{"use": "sign", "der": base64.b64encode(small).decode()}], **more}


GATEWAY = {"name": "gateway-a.test", "host": "127.0.0.1", "port": 2525, "tlsKeys": [base64.b64encode(bytes(32)).decode()],
           "ledgerKey": json.loads(export[0])["vkey"], "cosignerKey": cosignature["vkey"]}


def directory(*agencies, gateways=(GATEWAY,)):
    return json.dumps({"v": 1, "version": 2, "issued": "2026-01-01T00:00:00Z", "agencies": agencies, "gateways": gateways},
                      ensure_ascii=False, separators=(",", ":"))


write("directory", "one.json", directory(agency(1)))
write("directory", "three.json", directory(
    agency(1), agency(2, parent=AGENCY.format(1), capabilities=["id-aes256-GCM"]),
    agency(3, validTo="2025-01-01T00:00:00Z", successor=AGENCY.format(2), names=agency(2)["names"]
           and [{**agency(3)["names"][0], "to": "2024-01-01T00:00:00Z"},
                {**agency(3)["names"][0], "code": "H90.4", "from": "2024-01-01T00:00:00Z"}])))
write("directory", "nulls.json", '{"v":1,"version":1,"issued":"2026-01-01T00:00:00Z","agencies":[null],"gateways":[{}]}')
write("directory", "same-code.json", directory(agency(1), agency(2, names=agency(1)["names"])))
for file, text in {"party.txt": "36-HD/VPTW", "state.txt": "15/QĐ-BNV", "zeros.txt": "007-QĐ/TW", "decomposed.txt": "1-Q\u0110\u0301",
                   "words.txt": "một"}.items():
    write("number", file, text)

# Between gateways, backups, the host -----------------------------------------------------------------------------

note = base64.b64encode(notes[2].encode()).decode()
size = notes[2].split("\n")[1]
write("held", "note.txt", f"{size} 2026-11-30T01:02:03Z{CRLF}{note[:100]}{CRLF}{note[100:]}")
write("held", "no-time.txt", f"{size} -{CRLF}{note}")
write("held", "none.txt", "0 -")
write("held", "other-size.txt", f"9 -{CRLF}{note}")
foreign_note = base64.b64encode(foreign[0].encode()).decode()
write("held", "foreign.txt", f"{foreign[0].splitlines()[1]} -{CRLF}{foreign_note}")
for file, text in {"size.txt": "7", "zero.txt": "0", "time.txt": "2026-11-30T01:02:03Z", "leap.txt": "2024-02-29T23:59:59Z",
                   "offset.txt": "2026-11-30T01:02:03+07:00"}.items():
    write("resend", file, text)
MANIFEST = {"v": 1, "gateway": "gateway-a.test", "made": "2026-11-30T01:02:03Z", "system": "7000000000000000001", "timeline": 1,
            "walStart": 33554432, "walEnd": 33554688, "segmentSize": 16777216, "postgres": "150000", "schema": ["0001", "0002"],
            "ledgerSize": 5, "ledgerRoot": base64.b64encode(bytes(32)).decode(), "pieces": {"base.sealed": "0" * 64, "keys.sealed": "1" * 64}}
write("backup-manifest", "whole.json", json.dumps(MANIFEST))
write("backup-manifest", "no-ledger.json", json.dumps({**MANIFEST, "ledgerSize": 0, "ledgerRoot": None}))
write("backup-manifest", "no-pieces.json", json.dumps({**MANIFEST, "pieces": None}))
write("configuration", "rich.json", json.dumps({
    "Name": "gw-a", "Data": "data", "Http": "127.0.0.1:8081", "Smtp": "0.0.0.0:2525",
    "Database": {"Connection": "Host=db;Password=hidden", "OwnerConnection": "Password=hidden"},
    "Tokens": [{"Uri": "pkcs11:token=a?pin-value=hidden", "PinEnv": "PIN_A"}], "Trust": {"Anchors": ["."]},
    "DELIVERY": {"RECEIPTDUE": "1.00:00:00", "PERDESTINATION": 8}, "Limits": {"LeastFree": 0, "Connections": "7"},
    "Retention": {"Documents": "forever", "Composed": 7},
    "Backup": {"Folder": "b", "RecoveryCertificate": "recovery.pem", "Connection": "Password=hidden", "Synchronous": False},
    "Telemetry": {"Otlp": "http://user:hidden@127.0.0.1:4317/"}}))
write("configuration", "blank.json", '{ "Smtp": " ", "Tokens": [], "Backup": null, "Delivery": { "ReceiptDue": "" } }')
write("configuration", "colons.json", '{ "Delivery:ReceiptDue": "00:10:00", "Tokens:0:Uri": "pkcs11:" } // comment')
write("configuration", "unknown.json", '{ "Delivery": { "ReceiptDu": 1 } }')
write("configuration", "no-pin.json", '{ "Tokens": [{ "PinFile": "a.pin" }] }')
for file, text in {
    "rich.txt": "pkcs11:token=V%C4%83n;object=a;id=%01%02;slot-id=3;type=private?module-path=/m&pin-source=file:/p",
    "empty.txt": "pkcs11:", "unknown.txt": "pkcs11:serial=1?x=1", "pin.txt": "pkcs11:token=a?pin-value=123456",
}.items():
    write("pkcs11-uri", file, text)
write("secret", "plain.txt", "123456\n")
write("secret", "utf8.txt", b"\xef\xbb\xbf123456\r\n")
write("secret", "utf16le.txt", "\ufeff1234ă\r\n".encode("utf-16-le"))
write("secret", "utf16be.txt", "\ufeff1234ă\r\n".encode("utf-16-be"))

# What fuzzing found, made by hand because a mutant would show less ------------------------------------------------

VERSION_3 = bytes.fromhex("a003020102")


def with_version(octets):
    tbs = tlv(0x30, octets, plain[8 + len(VERSION_3):8 + int.from_bytes(plain[6:8], "big")])
    return tlv(0x30, tbs, plain[8 + int.from_bytes(plain[6:8], "big"):])


write("certificate", "version-77.der", with_version(bytes.fromhex("a00302014d")))
write("certificate", "version-beyond-32-bits.der", with_version(bytes.fromhex("a0080206010000000000")))
# Extensions in a certificate that does not say it is v3.
write("certificate", "v1-with-extensions.der", with_version(b""))
# U+00B5 and U+03BC differ in lower case and are equal without regard to case, as an address is looked up.
write("directory", "same-address.json", directory(
    agency(1, names=[{**agency(1)["names"][0], "address": "\u00b5@huyen.vn"}]),
    agency(2, names=[{**agency(2)["names"][0], "address": "\u03bc@huyen.vn"}])))

# Requests of the API ---------------------------------------------------------------------------------------------


def part(head, body):
    return f"--ranh-gioi\r\nContent-Disposition: form-data; {head}\r\n".encode() + body


MANIFEST = json.dumps({"sender": "H90.SL.001", "recipients": ["H90.SL.101", "H90.SL.102"], "notation": "CV/TU",
                       "fields": {"number": "", "subject": "V/v triệu tập họp", "issuedDate": "2026-11-30", "priority": 1,
                                  "signerInfo": {"position": "Chánh Văn phòng", "fullName": "Nguyễn Văn A"}}}, ensure_ascii=False)
asked = part("name=manifest", b"Content-Type: application/json\r\n\r\n" + MANIFEST.encode() + b"\r\n")
numbered = part("name=manifest", b"\r\n" + MANIFEST.replace('"number": ""', '"number": "36-CV/TU"').encode() + b"\r\n")
file = part('name="file"; filename="a.txt"', b"Content-Type: text/plain\r\n\r\nN\xe1\xbb\x99i dung\r\n")
named = part("name=file; filename=\"=?utf-8?B?YQ==?=\"; filename*=utf-8''C%C3%B4ng%20v%C4%83n.pdf", b"Content-Type: application/pdf\r\n\r\n%PDF-1.7\r\n")
last = b"--ranh-gioi--\r\n"
write("dispatch-request", "plain.txt", asked + file + last)
write("dispatch-request", "numbered.txt", numbered + named + file + last)
write("dispatch-request", "no-document.txt", asked + last)
write("dispatch-request", "file-first.txt", file + asked + last)
write("dispatch-request", "no-file-name.txt", asked + part("name=file", b"\r\nA\r\n") + last)
write("dispatch-request", "cut-off.txt", asked + file)
write("dispatch-request", "unknown-member.txt", asked.replace(b'"sender"', b'"from": "x", "sender"') + file + last)
