#!/bin/sh
# Makes the vectors of this folder anew (new keys, so every file changes): signatures by keys that cannot be used for
# verification here or are weak, and damaged values of keys that can be used. All are attached, over content.txt, under root.pem.
set -eu
cd "$(dirname "$0")"
here=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
printf 'Kinh gui: Van phong Dang uy xa B\r\nNoi dung cong van.\r\n' > content.txt
cd "$work"
openssl req -new -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout root.key -subj "/CN=OpenSSL Root" -days 36500 \
  -addext basicConstraints=critical,CA:true -addext keyUsage=critical,keyCertSign,cRLSign -out "$here/root.pem" 2>/dev/null
printf 'basicConstraints=critical,CA:false\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=emailProtection\nsubjectKeyIdentifier=hash\n' > leaf.ext
serial=4096
sign() { # name, the rest for openssl cms; NAME.key is there
  name=$1; shift
  serial=$((serial + 1))
  openssl pkey -in "$name.key" -pubout -out "$name.pub"
  openssl req -new -key root.key -subj "/CN=OpenSSL $name" |
    openssl x509 -req -CA "$here/root.pem" -CAkey root.key -set_serial "$serial" -days 36000 -extfile leaf.ext -force_pubkey "$name.pub" -out "$name.pem" 2>/dev/null
  openssl cms -sign -binary -nodetach -outform DER -md sha256 -signer "$name.pem" -inkey "$name.key" -in "$here/content.txt" -out "$here/$name.der" "$@"
}
ec() { openssl genpkey -algorithm EC -pkeyopt "ec_paramgen_curve:$2" -pkeyopt "ec_param_enc:${3:-named_curve}" -out "$1.key"; }
ec brainpool brainpoolP256r1; sign brainpool
ec secp256k1 secp256k1; sign secp256k1
ec p224 P-224; sign p224
ec explicit P-256 explicit; sign explicit
ec explicit-no-attributes P-256 explicit; sign explicit-no-attributes -noattr
openssl genpkey -genparam -algorithm DSA -pkeyopt dsa_paramgen_bits:2048 -out dsa.param 2>/dev/null
openssl genpkey -paramfile dsa.param -out dsa.key; sign dsa
# FIPS 186-5 §5.1: an exponent below 2^256; libcrypto computes nothing with one of more than 64 bits beside 4096 bits.
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:4096 -pkeyopt rsa_keygen_pubexp:36893488147419103363 -out rsa-long-exponent.key 2>/dev/null; sign rsa-long-exponent
ec p256 P-256; sign p256
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa.key 2>/dev/null; sign rsa
cd "$here"
python3 - <<'PY'
# The value of a signature is the last element of a SignedData without unsigned attributes.
import json
def der(tag, body):
    n = len(body)
    return bytes([tag]) + (bytes([n]) if n < 128 else bytes([0x80 | (n.bit_length() + 7) // 8]) + n.to_bytes((n.bit_length() + 7) // 8, 'big')) + body
def parse(b):
    n, at = b[1], 2
    if n & 0x80:
        at = 2 + (n & 0x7f); n = int.from_bytes(b[2:at], 'big')
    return b[0], b[at:at + n], b[at + n:]
def replace_last(b, change, depth):
    tag, body, rest = parse(b)
    if depth == 0:
        return der(tag, change(body)) + rest
    parts = []
    while body:
        _, _, after = parse(body); parts.append(body[:len(body) - len(after)]); body = after
    parts[-1] = replace_last(parts[-1], change, depth - 1)
    return der(tag, b''.join(parts)) + rest
def write(source, name, change): open(name, 'wb').write(replace_last(open(source, 'rb').read(), change, 5))
write('p256.der', 'p256-value-short.der', lambda v: v[:-1])
write('p256.der', 'p256-value-no-sequence.der', lambda v: b'\x04' + v[1:])
write('p256.der', 'p256-value-empty.der', lambda v: b'')
write('dsa.der', 'dsa-value-changed.der', lambda v: v[:-1] + bytes([v[-1] ^ 1]))
write('dsa.der', 'dsa-value-short.der', lambda v: v[:-1])
write('rsa.der', 'rsa-value-short.der', lambda v: v[:-1])
write('rsa.der', 'rsa-value-long.der', lambda v: v + b'\0')
unknown = ('algorithm-unknown', 'INDETERMINATE', 'CRYPTO_CONSTRAINTS_FAILURE', 'untrusted')
weak = ('algorithm-weak', 'INDETERMINATE', 'CRYPTO_CONSTRAINTS_FAILURE', 'untrusted')
wrong = ('signature-wrong', 'TOTAL-FAILED', 'SIG_CRYPTO_FAILURE', 'invalid')
good = ('valid-revocation-not-checked', 'TOTAL-PASSED', None, 'valid')
rows = [(n, unknown) for n in ('brainpool', 'secp256k1', 'p224', 'explicit', 'explicit-no-attributes', 'rsa-long-exponent')]
rows += [('dsa', weak)]
rows += [(n, wrong) for n in ('p256-value-short', 'p256-value-no-sequence', 'p256-value-empty', 'dsa-value-changed', 'dsa-value-short', 'rsa-value-short', 'rsa-value-long')]
rows += [('p256', good), ('rsa', good)]
cases = [dict(zip(('file', 'reason', 'indication', 'subIndication', 'verdict'), (n + '.der', *e))) for n, e in rows]
open('cases.json', 'w').write('[\n' + ',\n'.join('  ' + json.dumps(c) for c in cases) + '\n]\n')
PY
