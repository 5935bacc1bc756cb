#!/bin/sh
# Makes the vectors of this folder anew (new keys, so every file changes): certificates by OpenSSL under an authority with a DSA key, and one with a
# DSA key under an authority with an EC key. cases.json says what must come of their paths.
set -eu
cd "$(dirname "$0")"
here=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
openssl genpkey -genparam -algorithm DSA -pkeyopt dsa_paramgen_bits:2048 -pkeyopt dsa_paramgen_q_bits:256 -out param 2>/dev/null
openssl genpkey -paramfile param -out dsa.key
openssl genpkey -paramfile param -out other.key
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out ec.key
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa.key 2>/dev/null
root() { # name, key, digest
  openssl req -new -x509 -key "$2.key" "-$3" -subj "/CN=$1" -days 36500 -addext basicConstraints=critical,CA:true \
    -addext keyUsage=critical,keyCertSign,cRLSign -out "$here/$1.pem"
}
root root-dsa dsa sha256; root root-ec ec sha256
# The other key under the name of the first.
openssl req -new -x509 -key other.key -sha256 -subj /CN=root-dsa -days 36500 -addext basicConstraints=critical,CA:true \
  -addext keyUsage=critical,keyCertSign,cRLSign -out "$here/root-other.pem"
printf 'basicConstraints=critical,CA:false\nkeyUsage=critical,digitalSignature\n' > leaf.ext
leaf() { # name, key, root, key of the root, digest
  openssl req -new -key "$2.key" -subj "/CN=$1" |
    openssl x509 -req -CA "$here/$3.pem" -CAkey "$4.key" "-$5" -set_serial 4097 -days 36000 -extfile leaf.ext -out "$here/$1.pem" 2>/dev/null
}
leaf rsa-under-dsa rsa root-dsa dsa sha256
leaf rsa-under-dsa-sha1 rsa root-dsa dsa sha1
leaf dsa-under-ec other root-ec ec sha256
cat > "$here/cases.json" <<'JSON'
[
  {"certificate": "rsa-under-dsa.pem", "anchor": "root-dsa.pem", "reason": "path-algorithm-weak"},
  {"certificate": "rsa-under-dsa-sha1.pem", "anchor": "root-dsa.pem", "reason": "path-algorithm-weak"},
  {"certificate": "rsa-under-dsa.pem", "anchor": "root-other.pem", "reason": "path-signature-wrong"},
  {"certificate": "dsa-under-ec.pem", "anchor": "root-ec.pem", "reason": "path-algorithm-weak"}
]
JSON
