#!/usr/bin/env python3
"""Makes the seed messages of the mutation tests with openssl: NAME.eml, each valid at 2030-01-01, and expect.json.

expect.json holds for each message the leaves of its signed text as Python's email package reads them:
[[media type, SHA-256 of the decoded body with LF line ends], ...], and the names of the signers' certificates.
The keys are made for these messages and serve nothing else."""
import email, email.policy, hashlib, json, os, pathlib, subprocess, tempfile

here = pathlib.Path(__file__).resolve().parent
os.chdir(here)
for old in [*here.glob("*.eml"), *here.glob("*.pem"), here / "expect.json"]:
    old.unlink(missing_ok=True)
work = pathlib.Path(tempfile.mkdtemp())
expect = {}


def openssl(*args, data=None):
    return subprocess.run(["openssl", *map(str, args)], input=data, check=True, capture_output=True).stdout


openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", work / "root.key", "-out", "root.pem", "-days", "36500",
        "-subj", "/CN=Seed Root", "-addext", "keyUsage=critical,keyCertSign,cRLSign")


def leaf(name, address, *key):
    extensions = work / "ext"
    extensions.write_text("basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature,keyEncipherment\n"
                          f"extendedKeyUsage=emailProtection\nsubjectAltName=email:{address}\n"
                          "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n")
    openssl("req", "-new", "-newkey", *key, "-nodes", "-keyout", work / f"{name}.key", "-out", work / "csr", "-subj", f"/CN={name}")
    openssl("x509", "-req", "-in", work / "csr", "-CA", "root.pem", "-CAkey", work / "root.key", "-CAcreateserial",
            "-CAserial", work / "serial", "-days", "36000", "-out", f"{name}.pem", "-extfile", extensions)


leaf("sender", "vanthu@tinhuy.vn", "rsa:2048")
leaf("ec", "vanthu@tinhuy.vn", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
leaf("recipient", "xa@huyen.vn", "rsa:2048")
(here / "recipient-key.pem").write_bytes((work / "recipient.key").read_bytes())

HEAD = (b"From: vanthu@tinhuy.vn\r\nTo: xa@huyen.vn\r\nSubject: Seed\r\nDate: Mon, 01 Jun 2026 08:00:00 +0700\r\n"
        b"Message-ID: <seed@tinhuy.vn>\r\nMIME-Version: 1.0\r\n")
TEXT = b"Content-Type: text/plain; charset=utf-8\r\n\r\nC\xc3\xb4ng v\xc4\x83n s\xe1\xbb\x91 36.\r\nPay 100 to Lan.\r\n"


def base64(octets):
    import base64 as b
    return b.encodebytes(octets).replace(b"\n", b"\r\n")


def cms(content, *options, signers=("sender",)):
    (work / "content").write_bytes(content)
    who = [o for s in signers for o in ("-signer", f"{s}.pem", "-inkey", work / f"{s}.key")]
    return openssl("cms", "-sign", "-binary", "-in", work / "content", "-outform", "DER", *who, *options)


def signed(content, *options, signers=("sender",), protocol=b'protocol="application/pkcs7-signature"; micalg=sha-256; ',
           boundary=b'"----A1B2"', mark=b"----A1B2", part=None, before=b"", after=b"", head=HEAD):
    signature = cms(content, *options, signers=signers)
    part = part or (lambda s: b"Content-Type: application/pkcs7-signature; name=smime.p7s\r\nContent-Transfer-Encoding: base64\r\n"
                    b"Content-Disposition: attachment; filename=smime.p7s\r\n\r\n" + base64(s))
    return (head + b"Content-Type: multipart/signed; " + protocol + b"boundary=" + boundary + b"\r\n\r\n" + before + b"--" + mark
            + b"\r\n" + content + b"\r\n--" + mark + b"\r\n" + part(signature) + b"\r\n--" + mark + b"--\r\n" + after)


def opaque(content, *options, head=HEAD):
    return (head + b"Content-Type: application/pkcs7-mime; smime-type=signed-data; name=smime.p7m\r\n"
            b"Content-Transfer-Encoding: base64\r\n\r\n" + base64(cms(content, "-nodetach", *options)))


def encrypted(content, cipher, head=HEAD):
    (work / "content").write_bytes(content)
    der = openssl("cms", "-encrypt", "-binary", cipher, "-in", work / "content", "-outform", "DER", "recipient.pem")
    return (head + b"Content-Type: application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m\r\n"
            b"Content-Transfer-Encoding: base64\r\n\r\n" + base64(der))


def wrapped(mail):
    return HEAD + b"Content-Type: multipart/mixed; boundary=w\r\n\r\n--w\r\n" + entity(mail) + b"\r\n--w--\r\n"


def entity(mail):
    return mail[mail.index(b"Content-Type:"):]


def digest(body):
    return hashlib.sha256(body.replace(b"\r\n", b"\n")).hexdigest()


def save(name, mail, text, signers=("sender",)):
    (here / f"{name}.eml").write_bytes(mail)
    parts = email.message_from_bytes(text, policy=email.policy.default)
    leaves = []

    def walk(part):
        if part.is_multipart() and not part.get_content_maintype() == "message":
            for child in part.iter_parts():
                walk(child)
        elif part.get_content_maintype() == "message":
            raw = text[text.index(b"message/rfc822"):]
            raw = raw[raw.index(b"\r\n\r\n") + 4:raw.index(b"\r\n--F1")]
            leaves.append([part.get_content_type(), digest(raw)])
        else:
            leaves.append([part.get_content_type(), digest(part.get_payload(decode=True))])

    walk(parts)
    expect[name] = {"leaves": leaves, "signers": list(signers)}


PDF = bytes(i * 31 % 256 for i in range(3000))
MIXED = (b"Content-Type: multipart/mixed; boundary=M1\r\n\r\n--M1\r\nContent-Type: text/plain; charset=utf-8\r\n"
         b"Content-Transfer-Encoding: quoted-printable\r\n\r\nC=C3=B4ng v=C4=83n =\r\ns=E1=BB=91 36.\r\n\r\n--M1\r\n"
         b"Content-Type: application/pdf;\r\n name*=UTF-8''C%C3%B4ng%20v%C4%83n.pdf\r\nContent-Transfer-Encoding: base64\r\n"
         b"Content-Disposition: attachment;\r\n filename*0*=UTF-8''C%C3%B4ng;\r\n filename*1*=%20v%C4%83n.pdf\r\n\r\n"
         + base64(PDF) + b"\r\n--M1--\r\n")
HTML = (b"Content-Type: multipart/alternative; boundary=H1\r\n\r\n--H1\r\nContent-Type: text/plain\r\n\r\nPay 100.\r\n--H1\r\n"
        b"Content-Type: multipart/related; boundary=H2\r\n\r\n--H2\r\nContent-Type: text/html\r\n\r\n<p>Pay 100.</p>\r\n--H2\r\n"
        b"Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\niVBORw0KGgo=\r\n--H2--\r\n\r\n--H1--\r\n")
FORWARDED = (b"Content-Type: multipart/mixed; boundary=F1\r\n\r\n--F1\r\nContent-Type: text/plain\r\n\r\nSee below.\r\n--F1\r\n"
             b"Content-Type: message/rfc822\r\n\r\nFrom: a@b.vn\r\nSubject: Inner\r\n\r\nOld text.\r\n--F1--\r\n")
PROTECTED = (b"From: vanthu@tinhuy.vn\r\nTo: xa@huyen.vn\r\nSubject: Inner subject\r\nContent-Type: text/plain; charset=utf-8;\r\n"
             b' hp="clear"\r\n\r\nPay 100.\r\n')

save("text", signed(TEXT), TEXT)
save("text-lf", signed(TEXT).replace(b"\r\n", b"\n"), TEXT)
save("ecdsa", signed(TEXT, "-md", "sha384", signers=("ec",)), TEXT, ("ec",))
save("pss", signed(TEXT, "-keyopt", "rsa_padding_mode:pss"), TEXT)
save("no-attributes", signed(TEXT, "-noattr"), TEXT)
save("two-signers", signed(TEXT, signers=("sender", "ec")), TEXT, ("ec", "sender"))
save("opaque", opaque(TEXT), TEXT)
save("opaque-stream", opaque(MIXED, "-stream", "-indef"), MIXED)
save("mixed", signed(MIXED), MIXED)
save("alternative", signed(HTML), HTML)
save("forwarded", signed(FORWARDED), FORWARDED)
save("preamble", signed(TEXT, before=b"This is an S/MIME signed message\r\n\r\n", after=b"\r\n\r\n"), TEXT)
save("octet-stream", signed(TEXT, part=lambda s: b'Content-Type: application/octet-stream; name="smime.p7s"\r\n'
     b"Content-Transfer-Encoding: base64\r\n\r\n" + base64(s)), TEXT)
save("x-types", signed(TEXT, protocol=b'protocol="application/x-pkcs7-signature"; micalg=sha256; ',
     part=lambda s: b"Content-Type: application/x-pkcs7-signature\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64(s)), TEXT)
save("binary", signed(TEXT, part=lambda s: b"Content-Type: application/pkcs7-signature\r\nContent-Transfer-Encoding: binary\r\n\r\n" + s), TEXT)
save("wrapped", wrapped(signed(MIXED)), MIXED)
save("protected", signed(PROTECTED), PROTECTED)
save("boundary", signed(TEXT, boundary=b"\r\n \"=_a'b(c)+_,-./:=? d\" (a comment)", mark=b"=_a'b(c)+_,-./:=? d"), TEXT)
save("encrypted-gcm", encrypted(entity(signed(MIXED)), "-aes-256-gcm"), MIXED)
save("encrypted-cbc", encrypted(entity(signed(TEXT)), "-aes256"), TEXT)
save("encrypted-opaque", encrypted(entity(opaque(TEXT)), "-aes128"), TEXT)
save("encrypted-wrapped", wrapped(encrypted(entity(signed(TEXT)), "-aes256")), TEXT)
save("signed-encrypted-signed", signed(entity(encrypted(entity(signed(TEXT)), "-aes256"))), TEXT, ("sender", "sender"))
save("no-protocol", signed(TEXT, protocol=b""), TEXT)
save("header", signed(HTML, head=b"Received: by a.vn; Mon, 01 Jun 2026 08:00:00 +0700\r\n" + HEAD.replace(
    b"Subject: Seed", b"Subject: =?UTF-8?B?VsSDbiB0aMaw?= g\xe1\xbb\xadi").replace(
    b"From: vanthu", b"From: \"V\xc4\x83n th\xc6\xb0\" (clerk) <vanthu").replace(b"@tinhuy.vn\r\nTo", b"@tinhuy.vn>\r\nTo")), HTML)
assert len(expect) == 25, len(expect)
(here / "expect.json").write_text(json.dumps(expect, indent=1) + "\n")
