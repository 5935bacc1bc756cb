#!/bin/sh
# Makes the vectors of this folder anew (new keys, so every file changes): DSA keys, certificates and signatures by OpenSSL, with their outcome
# in cases.json. Numbers are big-endian hexadecimal.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
printf 'Kinh gui: Van phong Dang uy xa B\r\n' > "$work/content"
key() { # name, bits of p, bits of q
  openssl genpkey -genparam -algorithm DSA -pkeyopt "dsa_paramgen_bits:$2" -pkeyopt "dsa_paramgen_q_bits:$3" -out "$work/$1.param" 2>/dev/null
  openssl genpkey -paramfile "$work/$1.param" -out "$work/$1.key"
}
key 1024-160 1024 160; key 2048-224 2048 224; key 2048-256 2048 256; key 3072-256 3072 256; key 4096-256 4096 256
for n in 1024-160 2048-224 2048-256 3072-256 4096-256; do
  openssl pkey -in "$work/$n.key" -pubout -outform DER -out "$work/$n.pub"
  for h in sha1 sha256 sha512; do
    openssl dgst "-$h" -sign "$work/$n.key" -out "$work/$n.$h.sig" "$work/content"
  done
done
python3 - "$work" <<'PY'
import hashlib, json, sys
work = sys.argv[1]
content = open(work + '/content', 'rb').read()
def parse(b):
    n, at = b[1], 2
    if n & 0x80:
        at = 2 + (n & 0x7f); n = int.from_bytes(b[2:at], 'big')
    return b[0], b[at:at + n], b[at + n:]
def items(b):
    found = []
    while b:
        t, v, b = parse(b); found.append((t, v))
    return found
def numbers(spki):
    algorithm, bits = items(parse(spki)[1])
    p, q, g = (v for _, v in items(items(algorithm[1])[1][1]))
    return [int.from_bytes(v, 'big') for v in (p, q, g, parse(bits[1][1:])[1])]
def der(v):
    b = v.to_bytes(v.bit_length() // 8 + 1, 'big')
    return b'\2' + bytes([len(b)]) + b
def value(r, s):
    body = der(r) + der(s)
    return b'\x30' + bytes([len(body)]) + body
def hexa(v): return v.to_bytes((v.bit_length() + 7) // 8, 'big').hex()
cases = []
def case(why, key, valid, digest, signature):
    p, q, g, y = key
    cases.append({'why': why, 'key': valid is not None, 'valid': bool(valid), 'p': hexa(p), 'q': hexa(q), 'g': hexa(g), 'y': hexa(y), 'hash': digest.hex(), 'signature': signature.hex()})
for n in ('1024-160', '2048-224', '2048-256', '3072-256'):
    key = numbers(open(f'{work}/{n}.pub', 'rb').read())
    for h in ('sha1', 'sha256', 'sha512'):
        digest = hashlib.new(h, content).digest()
        signature = open(f'{work}/{n}.{h}.sig', 'rb').read()
        case(f'{n} with {h}', key, True, digest, signature)
    case(f'{n}: another hash', key, False, bytes([digest[0] ^ 1]) + digest[1:], signature)
p, q, g, y = key = numbers(open(work + '/2048-256.pub', 'rb').read())
digest = hashlib.sha256(content).digest()
signature = open(work + '/2048-256.sha256.sig', 'rb').read()
r, s = (int.from_bytes(v, 'big') for _, v in items(parse(signature)[1]))
case('r + q', key, False, digest, value(r + q, s))
case('s + q', key, False, digest, value(r, s + q))
case('r = 0', key, False, digest, value(0, s))
case('s = 0', key, False, digest, value(r, 0))
case('r = s = 0', key, False, digest, value(0, 0))
case('r = q', key, False, digest, value(q, s))
case('r and s the other way round', key, False, digest, value(s, r))
case('an octet behind', key, False, digest, signature + b'\0')
case('cut short', key, False, digest, signature[:-1])
case('no octets', key, False, digest, b'')
case('no sequence', key, False, digest, signature[2:])
case('r with a zero before it', key, False, digest, b'\x30' + bytes([signature[1] + 1]) + b'\2' + bytes([signature[3] + 1]) + b'\0' + signature[4:])
case('r of many octets', key, False, digest, value(r + (q << 300), s))
# Keys that are none.
case('p of 4096 bits', numbers(open(work + '/4096-256.pub', 'rb').read()), None, digest, signature)
case('p even', (p + 1, q, g, y), None, digest, signature)
case('p of 480 bits', (p >> 1568 | 1, q, g, y), None, digest, signature)
case('q of 255 bits', (p, q >> 1 | 1, g, y), None, digest, signature)
case('q of 512 bits', (p, q * q, g, y), None, digest, signature)
case('g = 1', (p, q, 1, y), None, digest, signature)
case('g = p', (p, q, p, y), None, digest, signature)
case('y = 0', (p, q, g, 0), None, digest, signature)
case('y = 1', (p, q, g, 1), None, digest, signature)
case('y = p - 1', (p, q, g, p - 1), None, digest, signature)
case('y of another order than q', (p, q, g, (y + 1) % p), None, digest, signature)
open('cases.json', 'w').write('[\n' + ',\n'.join('  ' + json.dumps(c) for c in cases) + '\n]\n')
PY
