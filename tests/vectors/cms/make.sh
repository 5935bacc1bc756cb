#!/bin/sh
# Makes the vectors of this folder anew (new keys, so every file changes).
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
printf 'Kinh gui: Van phong Dang uy xa B\r\nNoi dung cong van.\r\n' > content.txt
printf 'Kinh gui: Van phong Dang uy xa B\r\nNoi dung da sua.\r\n' > other.txt

cat > "$work/ca.cnf" <<'CNF'
[ca]
default_ca = d
[d]
database = index.txt
serial = serial
crlnumber = crlnumber
default_md = sha256
new_certs_dir = .
policy = p
default_days = 36000
default_crl_days = 36000
unique_subject = no
[p]
CN = supplied
[v3root]
basicConstraints = critical,CA:true
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[v3ca]
basicConstraints = critical,CA:true,pathlen:0
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[v3leaf]
basicConstraints = critical,CA:false
keyUsage = critical,digitalSignature,nonRepudiation,keyEncipherment
extendedKeyUsage = emailProtection
subjectAltName = email:vanthu@a.vn
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
CNF
here=$PWD
cd "$work"
: > index.txt; echo 1000 > serial; echo 01 > crlnumber
key() { openssl genpkey -algorithm "$1" -pkeyopt "$2" -out "$3.key" 2>/dev/null; }
key EC ec_paramgen_curve:P-256 root
openssl req -new -x509 -key root.key -subj "/CN=OpenSSL Root" -days 36500 -addext basicConstraints=critical,CA:true -addext keyUsage=critical,keyCertSign,cRLSign -out root.pem
issue() { # name extensions issuer
  openssl req -new -key "$1.key" -subj "/CN=OpenSSL $1" -out "$1.csr"
  openssl ca -batch -notext -config ca.cnf -extensions "$2" -cert "$3.pem" -keyfile "$3.key" -in "$1.csr" -out "$1.pem" 2>/dev/null
}
key EC ec_paramgen_curve:P-256 ca; issue ca v3ca root
key RSA rsa_keygen_bits:2048 rsa; issue rsa v3leaf ca
key EC ec_paramgen_curve:P-256 p256; issue p256 v3leaf ca
key EC ec_paramgen_curve:P-384 p384; issue p384 v3leaf ca
key RSA rsa_keygen_bits:2048 recipient; issue recipient v3leaf ca
key RSA rsa_keygen_bits:2048 revoked; issue revoked v3leaf ca
openssl ca -config ca.cnf -cert ca.pem -keyfile ca.key -revoke revoked.pem 2>/dev/null
openssl ca -config ca.cnf -gencrl -cert ca.pem -keyfile ca.key -out ca.crl 2>/dev/null
: > index.txt
openssl ca -config ca.cnf -gencrl -cert root.pem -keyfile root.key -out root.crl 2>/dev/null
cp root.pem ca.pem recipient.pem recipient.key root.crl ca.crl "$here"
chmod 644 "$here/recipient.key"

sign() { # output, form, more
  out=$1; form=$2; shift 2
  openssl cms -sign -binary -in "$here/content.txt" -certfile ca.pem -outform "$form" -out "$here/$out" "$@"
}
sign detached-rsa.der DER -signer rsa.pem -inkey rsa.key
sign attached-rsa.pem PEM -nodetach -signer rsa.pem -inkey rsa.key
sign attached-rsa-sha512.der DER -nodetach -md sha512 -signer rsa.pem -inkey rsa.key
sign attached-pss-longest-salt.der DER -nodetach -signer rsa.pem -inkey rsa.key -keyopt rsa_padding_mode:pss -keyopt rsa_pss_saltlen:-2
sign attached-pss-sha384.der DER -nodetach -md sha384 -signer rsa.pem -inkey rsa.key -keyopt rsa_padding_mode:pss -keyopt rsa_pss_saltlen:-1
sign attached-p256.der DER -nodetach -signer p256.pem -inkey p256.key
sign detached-p384.der DER -md sha384 -signer p384.pem -inkey p384.key
sign attached-stream.ber DER -nodetach -stream -signer rsa.pem -inkey rsa.key
sign attached-keyid.der DER -nodetach -keyid -signer rsa.pem -inkey rsa.key
sign attached-no-attributes.der DER -nodetach -noattr -signer rsa.pem -inkey rsa.key
sign attached-cades.der DER -nodetach -cades -signer rsa.pem -inkey rsa.key
sign attached-two-signers.der DER -nodetach -signer rsa.pem -inkey rsa.key -signer p256.pem -inkey p256.key
sign attached-sha1.der DER -nodetach -md sha1 -signer rsa.pem -inkey rsa.key
sign attached-revoked.der DER -nodetach -signer revoked.pem -inkey revoked.key
sign detached-no-certificates.der DER -nocerts -signer rsa.pem -inkey rsa.key
encrypt() { # output, form, cipher, more
  out=$1; form=$2; cipher=$3; shift 3
  openssl cms -encrypt -binary -in "$here/content.txt" -outform "$form" -out "$here/$out" "$cipher" "$@"
}
encrypt enveloped-cbc256.der DER -aes-256-cbc -recip recipient.pem
encrypt enveloped-cbc128.pem PEM -aes-128-cbc -recip recipient.pem
encrypt enveloped-cbc192-stream.ber DER -aes-192-cbc -stream -recip recipient.pem
encrypt enveloped-gcm256.der DER -aes-256-gcm -recip recipient.pem
encrypt enveloped-gcm128-stream.ber DER -aes-128-gcm -stream -recip recipient.pem
encrypt enveloped-oaep-sha1.der DER -aes-256-gcm -recip recipient.pem -keyopt rsa_padding_mode:oaep
encrypt enveloped-oaep-sha256.der DER -aes-256-gcm -recip recipient.pem -keyopt rsa_padding_mode:oaep -keyopt rsa_oaep_md:sha256
encrypt enveloped-keyid.der DER -aes-256-gcm -keyid -recip recipient.pem
encrypt enveloped-two-recipients.der DER -aes-256-gcm -recip rsa.pem -recip recipient.pem
encrypt enveloped-others.der DER -aes-256-gcm -recip rsa.pem
encrypt enveloped-key-agreement.der DER -aes-256-cbc -recip p256.pem -recip recipient.pem
encrypt enveloped-des3.der DER -des3 -recip recipient.pem
# The last octet of a GCM object is its tag's; of a CBC object, its last block's.
change() { # from, to
  size=$(wc -c < "$here/$1")
  last=$(tail -c 1 "$here/$1" | od -An -tu1 | tr -d ' ')
  head -c $((size - 1)) "$here/$1" > "$here/$2"
  printf "\\$(printf %03o $((255 - last)))" >> "$here/$2"
}
change enveloped-gcm256.der enveloped-gcm256-changed-tag.der
change attached-rsa-sha512.der attached-changed-value.der
