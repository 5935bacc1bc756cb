#!/usr/bin/env python3
"""Makes cases.json: Ed25519 signatures (RFC 8032) at the edges, each with its outcome. The arithmetic is that of RFC 8032
section 6. The seed is fixed, so the file comes out the same each time."""
import hashlib, json, os

p = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
d = -121665 * pow(121666, p - 2, p) % p
I = pow(2, (p - 1) // 4, p)


def recover(y, sign):
    x2 = (y * y - 1) * pow(d * y * y + 1, p - 2, p) % p
    x = pow(x2, (p + 3) // 8, p)
    if (x * x - x2) % p:
        x = x * I % p
    assert (x * x - x2) % p == 0
    return p - x if x and x & 1 != sign else x


def add(a, b):
    (x1, y1), (x2, y2) = a, b
    t = d * x1 * x2 * y1 * y2 % p
    return ((x1 * y2 + x2 * y1) * pow(1 + t, p - 2, p) % p, (y1 * y2 + x1 * x2) * pow(1 - t, p - 2, p) % p)


def mul(k, a):
    r = (0, 1)
    while k:
        if k & 1:
            r = add(r, a)
        a = add(a, a)
        k >>= 1
    return r


def enc(a):
    return (a[1] | (a[0] & 1) << 255).to_bytes(32, 'little')


def num(b):
    return int.from_bytes(b, 'little')


def h(*parts):
    return num(hashlib.sha512(b''.join(parts)).digest()) % L


by = 4 * pow(5, p - 2, p) % p
B = (recover(by, 0), by)
seed = bytes(range(32))
wide = hashlib.sha512(seed).digest()
a = num(wide[:32]) & (2**254 - 8) | 2**254
A = enc(mul(a, B))
message = b'checkpoint'


def sign(m, r=None, R=None, key=None):
    r = h(wide[32:], m) if r is None else r
    R = enc(mul(r, B)) if R is None else R
    return R + ((r + h(R, key or A, m) * a) % L).to_bytes(32, 'little')


good = sign(message)
cases = []


def case(why, valid, key=A, m=message, s=good):
    cases.append({'why': why, 'valid': valid, 'publicKey': key.hex(), 'message': m.hex(), 'signature': s.hex()})


case('a signature as it should be', True)
case('over no octets', True, m=b'', s=sign(b''))
case('over another message', False, m=b'checkpoinT')
case('by another key', False, key=enc(mul(a + 1, B)))
case('S + L', False, s=good[:32] + (num(good[32:]) + L).to_bytes(32, 'little'))
case('S + 2 L', False, s=good[:32] + (num(good[32:]) + 2 * L).to_bytes(32, 'little'))
case('S = L', False, s=good[:32] + L.to_bytes(32, 'little'))
case('the highest bit of S', False, s=good[:63] + bytes([good[63] | 0x80]))
case('S of all ones', False, s=good[:32] + b'\xff' * 32)
case('all zeros', False, s=bytes(64))
case('63 octets', False, s=good[:63])
case('65 octets', False, s=good + b'\0')
case('no octets', False, s=b'')
case('the sign of R', False, s=good[:31] + bytes([good[31] ^ 0x80]) + good[32:])
case('R and S the other way round', False, s=good[32:] + good[:32])
case('a key of 31 octets', False, key=A[:31])
case('a key of 33 octets', False, key=A + b'\0')
case('the sign of the key', False, key=A[:31] + bytes([A[31] ^ 0x80]))
y = 2
while True:  # an y that is on no point
    x2 = (y * y - 1) * pow(d * y * y + 1, p - 2, p) % p
    if pow(x2, (p - 1) // 2, p) == p - 1:
        break
    y += 1
case('a key that is no point', False, key=y.to_bytes(32, 'little'))
case('R that is no point', False, s=y.to_bytes(32, 'little') + good[32:])

# The points of low order. Under each of them the signature (R = S B, S) verifies by the equation of RFC 8032 section
# 5.1.7 for a message whose hash is a multiple of the order: without any secret.
order8 = None
y = 3
while order8 is None:
    x2 = (y * y - 1) * pow(d * y * y + 1, p - 2, p) % p
    if pow(x2, (p - 1) // 2, p) in (0, 1):
        t = mul(L, (recover(y, 0), y))
        if mul(4, t) != (0, 1):
            order8 = t
    y += 1
s = 12345
R = enc(mul(s, B))
low = [enc(mul(i, order8)) for i in range(8)]
odd = [((1 if i == 0 else p - 1) | 1 << 255).to_bytes(32, 'little') for i in (0, 1)]  # x = 0 with its sign set
odd += [(y | sign << 255).to_bytes(32, 'little') for y in (p, p + 1) for sign in (0, 1)]  # y not below p
for key, why in [(k, 'a key of low order') for k in low] + [(k, 'a key of low order in another encoding') for k in odd]:
    i = 0
    while h(R, key, b'low %d' % i) % 8:
        i += 1
    case(why, False, key=key, m=b'low %d' % i, s=R + s.to_bytes(32, 'little'))

# R of low order, in its encoding and in another.
for R in (b'\1' + bytes(31), (p + 1).to_bytes(32, 'little')):
    case('R = 1' if R[0] == 1 else 'R = 1 written as p + 1', False, s=sign(message, 0, R))
# Points outside the group of B, although their order is not low. The owner of a key can make such signatures. RFC 8032 section 5.1.7 lets a verifier
# multiply its equation by eight, or not. The first accepts them, the second refuses them: one evidence would have two outcomes.
for i in range(8):
    R = enc(add(mul(7 + i, B), order8))
    case('R outside the group', False, m=b'mixed %d' % i, s=sign(b'mixed %d' % i, 7 + i, R))
mixed = enc(add(mul(a, B), order8))
for i in range(8):
    case('a key outside the group', False, key=mixed, m=b'mixed %d' % i, s=sign(b'mixed %d' % i, 7 + i, key=mixed))

with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), 'cases.json'), 'w') as f:
    f.write('[\n' + ',\n'.join('  ' + json.dumps(c) for c in cases) + '\n]\n')
