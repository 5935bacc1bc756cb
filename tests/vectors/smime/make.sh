#!/bin/bash
# Makes the S/MIME vectors with openssl: NAME.eml and its line in expect.txt (NAME VERDICT ENCRYPTED CODE). Judged at 2030-01-01.
# The keys are made for these vectors and serve nothing else.
set -euo pipefail
cd "$(dirname "$0")"
rm -f ./*.eml ./*.pem expect.txt
ext() { printf 'basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature,keyEncipherment\nextendedKeyUsage=emailProtection\nsubjectAltName=email:%s\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n' "$1"; }
openssl req -x509 -newkey rsa:2048 -nodes -keyout root.key -out root.pem -days 36500 -subj "/CN=Vector Root" -addext keyUsage=critical,keyCertSign,cRLSign 2>/dev/null
leaf() { # NAME EMAIL KEYTYPE
  openssl req -new -newkey $3 -nodes -keyout "$1.key" -out "$1.csr" -subj "/CN=$1" 2>/dev/null
  openssl x509 -req -in "$1.csr" -CA root.pem -CAkey root.key -CAcreateserial -days 36000 -out "$1.pem" -extfile <(ext "$2") 2>/dev/null
}
leaf sender vanthu@tinhuy.vn rsa:2048
leaf ec vanthu@tinhuy.vn "ec -pkeyopt ec_paramgen_curve:P-256"
leaf other nguoikhac@huyen.vn rsa:2048
leaf recipient xa@huyen.vn rsa:2048
printf 'Cong van so 36\n\nNoi dung.  \n' > content.txt
FROM="-from vanthu@tinhuy.vn -to xa@huyen.vn -subject Vector"
expect() { echo "$*" >> expect.txt; }
sign() { openssl cms -sign -text -in content.txt "$@"; }

sign -signer sender.pem -inkey sender.key $FROM -out signed.eml;                                    expect signed valid false valid-revocation-not-checked
sign -signer sender.pem -inkey sender.key -crlfeol $FROM -out signed-crlf.eml;                      expect signed-crlf valid false valid-revocation-not-checked
sign -signer ec.pem -inkey ec.key -md sha384 $FROM -out signed-ecdsa.eml;                           expect signed-ecdsa valid false valid-revocation-not-checked
sign -signer sender.pem -keyopt rsa_padding_mode:pss -inkey sender.key $FROM -out signed-pss.eml;   expect signed-pss valid false valid-revocation-not-checked
sign -signer sender.pem -inkey sender.key -noattr $FROM -out signed-noattr.eml;                     expect signed-noattr valid false valid-revocation-not-checked
sign -signer sender.pem -inkey sender.key -nodetach $FROM -out opaque.eml;                          expect opaque valid false valid-revocation-not-checked
sign -signer sender.pem -inkey sender.key -signer ec.pem -inkey ec.key $FROM -out two-signers.eml;  expect two-signers valid false valid-revocation-not-checked
sign -signer sender.pem -inkey sender.key -md sha1 $FROM -out signed-sha1.eml;                      expect signed-sha1 untrusted false algorithm-weak
sign -signer sender.pem -inkey sender.key -nocerts $FROM -out signed-nocerts.eml;                   expect signed-nocerts untrusted false signer-certificate-missing
sign -signer other.pem -inkey other.key $FROM -out wrong-sender.eml;                                expect wrong-sender wrong-sender false valid-revocation-not-checked
sed 's/Noi dung/Noi dunh/' signed.eml > altered.eml;                                                expect altered invalid false content-changed
sign -signer sender.pem -inkey sender.key -out inner.tmp
openssl cms -encrypt -aes-256-gcm -in inner.tmp $FROM -out encrypted-gcm.eml recipient.pem;         expect encrypted-gcm valid true valid-revocation-not-checked
openssl cms -encrypt -aes256 -in inner.tmp $FROM -out encrypted-cbc.eml recipient.pem;              expect encrypted-cbc valid true valid-revocation-not-checked
openssl cms -encrypt -aes256 -in inner.tmp $FROM -out encrypted-oaep.eml -recip recipient.pem -keyopt rsa_padding_mode:oaep; expect encrypted-oaep valid true valid-revocation-not-checked
openssl cms -encrypt -aes256 -in inner.tmp $FROM -out not-for-us.eml other.pem;                     expect not-for-us indeterminate true no-key
openssl cms -encrypt -des3 -in inner.tmp $FROM -out triple-des.eml recipient.pem;                   expect triple-des valid true valid-revocation-not-checked
openssl cms -encrypt -aes-256-gcm -in content.txt $FROM -out encrypted-unsigned.eml recipient.pem
{ printf 'From: vanthu@tinhuy.vn\nSubject: Vector\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=w\n\n--w\n\nUnsigned.\n--w\n'; cat inner.tmp; printf '\n--w--\n'; } > beside-unsigned.eml; expect beside-unsigned partial false valid-revocation-not-checked
rm -f ./*.csr ./*.srl ./*.tmp content.txt root.key sender.key ec.key other.key encrypted-unsigned.eml
mv recipient.key recipient-key.pem
