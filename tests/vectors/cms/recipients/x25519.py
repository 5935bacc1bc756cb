"""AuthEnvelopedData for an X25519 certificate, written apart from the program under test: RFC 8418, RFC 5083, RFC 9709."""
import os
import sys
from cryptography import x509
from cryptography.hazmat.primitives import hashes, keywrap, serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.x963kdf import X963KDF

certificate = x509.load_pem_x509_certificate(open(sys.argv[1], "rb").read())
content = open(sys.argv[2], "rb").read()
folder = sys.argv[3]


def tlv(tag, *parts):
    body = b"".join(parts)
    if len(body) < 128:
        return bytes([tag, len(body)]) + body
    size = (len(body).bit_length() + 7) // 8
    return bytes([tag, 0x80 | size]) + len(body).to_bytes(size, "big") + body


def oid(text):
    first, second, *rest = [int(n) for n in text.split(".")]
    out = b""
    for number in [first * 40 + second, *rest]:
        octets = [number & 0x7F]
        while number := number >> 7:
            octets.insert(0, 0x80 | number & 0x7F)
        out += bytes(octets)
    return tlv(0x06, out)


def integer(n):
    return tlv(0x02, n.to_bytes(n.bit_length() // 8 + 1, "big"))


def write(name, scheme, derive, ukm=None, wrap_null=False, bound=False):
    ephemeral = X25519PrivateKey.generate()
    secret = ephemeral.exchange(certificate.public_key())
    point = ephemeral.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    wrap = tlv(0x30, oid("2.16.840.1.101.3.4.1.45"), b"\x05\x00" if wrap_null else b"")
    shared = tlv(0x30, wrap, tlv(0xA0, tlv(0x04, ukm)) if ukm else b"", tlv(0xA2, tlv(0x04, (256).to_bytes(4, "big"))))
    key = os.urandom(32)
    wrapped = keywrap.aes_key_wrap(derive(secret, shared, ukm), key)
    rid = tlv(0x30, certificate.issuer.public_bytes(), integer(certificate.serial_number))
    recipient = tlv(
        0xA1,
        integer(3),
        tlv(0xA0, tlv(0xA1, tlv(0x30, oid("1.3.101.110")), tlv(0x03, b"\x00" + point))),
        tlv(0xA1, tlv(0x04, ukm)) if ukm else b"",
        tlv(0x30, oid(scheme), wrap),
        tlv(0x30, tlv(0x30, rid, tlv(0x04, wrapped))),
    )
    nonce = os.urandom(12)
    algorithm = tlv(0x30, oid("2.16.840.1.101.3.4.1.46"), tlv(0x30, tlv(0x04, nonce), integer(16)))
    if bound:
        key = HKDF(hashes.SHA256(), 32, b"The Cryptographic Message Syntax", algorithm).derive(key)
        algorithm = tlv(0x30, oid("1.2.840.113549.1.9.16.3.31"), algorithm)
    sealed = AESGCM(key).encrypt(nonce, content, None)
    info = tlv(0x30, oid("1.2.840.113549.1.7.1"), algorithm, tlv(0x80, sealed[:-16]))
    enveloped = tlv(0x30, integer(0), tlv(0x31, recipient), info, tlv(0x04, sealed[-16:]))
    with open(os.path.join(folder, name), "wb") as file:
        file.write(tlv(0x30, oid("1.2.840.113549.1.9.16.1.23"), tlv(0xA0, enveloped)))


def hkdf(algorithm, salted=True):
    return lambda secret, shared, ukm: HKDF(algorithm, 32, ukm if salted else None, shared).derive(secret)


def x963(algorithm):
    return lambda secret, shared, ukm: X963KDF(algorithm, 32, shared).derive(secret)


write("x25519-hkdf-sha256.der", "1.2.840.113549.1.9.16.3.19", hkdf(hashes.SHA256()))
write("x25519-hkdf-sha384.der", "1.2.840.113549.1.9.16.3.20", hkdf(hashes.SHA384()))
write("x25519-hkdf-sha512.der", "1.2.840.113549.1.9.16.3.21", hkdf(hashes.SHA512()), wrap_null=True)
write("x25519-ukm-salt.der", "1.2.840.113549.1.9.16.3.19", hkdf(hashes.SHA256()), ukm=os.urandom(32))
write("x25519-ukm-no-salt.der", "1.2.840.113549.1.9.16.3.19", hkdf(hashes.SHA256(), salted=False), ukm=os.urandom(32))
write("x25519-sha256kdf.der", "1.3.132.1.11.1", x963(hashes.SHA256()), ukm=os.urandom(16))
write("x25519-bound-key.der", "1.2.840.113549.1.9.16.3.19", hkdf(hashes.SHA256()), bound=True)
