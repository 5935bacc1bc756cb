#!/bin/sh
# Makes the vectors of this folder anew (new keys, so every file changes): every kind of recipient that `openssl cms`
# writes, and X25519, which OpenSSL 3.0 has no CMS for, by x25519.py over python3-cryptography.
set -eu
cd "$(dirname "$0")"
here=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
printf 'Kinh gui: Van phong Dang uy xa B\r\nNoi dung cong van mat.\r\n' > content.txt
cd "$work"
openssl req -new -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -subj "/CN=OpenSSL Root" -days 36500 -out ca.pem 2>/dev/null
serial=4096
leaf() { # name, usage, what genpkey takes
  name=$1; usage=$2; shift 2
  openssl genpkey "$@" -out "$name.key" 2>/dev/null
  openssl pkey -in "$name.key" -pubout -out "$name.pub"
  printf 'basicConstraints=critical,CA:false\nkeyUsage=critical,%s\nsubjectKeyIdentifier=hash\n' "$usage" > "$name.ext"
  serial=$((serial + 1))
  # The request is another key's: X25519 cannot sign one.
  openssl req -new -key ca.key -subj "/CN=OpenSSL $name" |
    openssl x509 -req -CA ca.pem -CAkey ca.key -set_serial "$serial" -days 36000 -extfile "$name.ext" -force_pubkey "$name.pub" -out "$name.pem" 2>/dev/null
  case $name in other) ;; *) cp "$name.pem" "$name.key" "$here"; chmod 644 "$here/$name.key" ;; esac
}
leaf rsa keyEncipherment -algorithm RSA -pkeyopt rsa_keygen_bits:2048
leaf p256 keyAgreement -algorithm EC -pkeyopt ec_paramgen_curve:P-256
leaf p384 keyAgreement -algorithm EC -pkeyopt ec_paramgen_curve:P-384
leaf p521 keyAgreement -algorithm EC -pkeyopt ec_paramgen_curve:P-521
leaf x25519 keyAgreement -algorithm X25519
leaf other keyEncipherment -algorithm RSA -pkeyopt rsa_keygen_bits:2048

encrypt() { # output, cipher, more
  out=$1; cipher=$2; shift 2
  openssl cms -encrypt -binary -in "$here/content.txt" -outform DER -out "$here/$out" "$cipher" "$@"
}
encrypt rsa-pkcs1.der -aes-256-gcm -recip rsa.pem
encrypt rsa-pkcs1-keyid.der -aes-128-gcm -keyid -recip rsa.pem
encrypt rsa-oaep-sha1.der -aes-256-gcm -recip rsa.pem -keyopt rsa_padding_mode:oaep
encrypt rsa-oaep-sha256.der -aes-256-cbc -recip rsa.pem -keyopt rsa_padding_mode:oaep -keyopt rsa_oaep_md:sha256 -keyopt rsa_mgf1_md:sha256
encrypt rsa-oaep-sha384.der -aes-256-gcm -recip rsa.pem -keyopt rsa_padding_mode:oaep -keyopt rsa_oaep_md:sha384 -keyopt rsa_mgf1_md:sha384
encrypt rsa-oaep-two-hashes.der -aes-256-gcm -recip rsa.pem -keyopt rsa_padding_mode:oaep -keyopt rsa_oaep_md:sha256 -keyopt rsa_mgf1_md:sha1
encrypt rsa-oaep-label.der -aes-256-gcm -recip rsa.pem -keyopt rsa_padding_mode:oaep -keyopt rsa_oaep_md:sha256 -keyopt rsa_mgf1_md:sha256 -keyopt rsa_oaep_label:616263
encrypt rsa-oaep-sha224-mgf1-sha1.der -aes-256-gcm -recip rsa.pem -keyopt rsa_padding_mode:oaep -keyopt rsa_oaep_md:sha224 -keyopt rsa_mgf1_md:sha1
encrypt rsa-oaep-sha224.der -aes-256-gcm -recip rsa.pem -keyopt rsa_padding_mode:oaep -keyopt rsa_oaep_md:sha224 -keyopt rsa_mgf1_md:sha224
encrypt rsa-oaep-sha1-mgf1-sha256.der -aes-256-gcm -recip rsa.pem -keyopt rsa_padding_mode:oaep -keyopt rsa_oaep_md:sha1 -keyopt rsa_mgf1_md:sha256
encrypt rsa-oaep-sha512-mgf1-sha384.der -aes-256-cbc -recip rsa.pem -keyopt rsa_padding_mode:oaep -keyopt rsa_oaep_md:sha512 -keyopt rsa_mgf1_md:sha384
encrypt rsa-oaep-sha512.der -aes-256-gcm -recip rsa.pem -keyopt rsa_padding_mode:oaep -keyopt rsa_oaep_md:sha512 -keyopt rsa_mgf1_md:sha512
encrypt rsa-oaep-sha384-mgf1-sha1-label.der -aes-256-gcm -recip rsa.pem -keyopt rsa_padding_mode:oaep -keyopt rsa_oaep_md:sha384 -keyopt rsa_mgf1_md:sha1 -keyopt rsa_oaep_label:00c3a100
encrypt rsa-oaep-other-label.der -aes-256-gcm -recip rsa.pem -keyopt rsa_padding_mode:oaep -keyopt rsa_oaep_label:616263
encrypt p256-sha1kdf.der -aes-256-gcm -recip p256.pem
encrypt p256-sha256kdf.der -aes-256-gcm -recip p256.pem -keyopt ecdh_kdf_md:sha256
encrypt p256-keyid.der -aes-256-gcm -keyid -recip p256.pem -keyopt ecdh_kdf_md:sha256
encrypt p256-cofactor.der -aes-128-cbc -recip p256.pem -keyopt ecdh_kdf_md:sha256 -keyopt ecdh_cofactor_mode:1
encrypt p256-wrap128.der -aes-256-gcm -aes128-wrap -recip p256.pem -keyopt ecdh_kdf_md:sha256
encrypt p256-wrap192.der -aes-192-gcm -aes192-wrap -recip p256.pem -keyopt ecdh_kdf_md:sha256
encrypt p256-wrap256.der -aes-256-gcm -aes256-wrap -recip p256.pem -keyopt ecdh_kdf_md:sha256
encrypt p256-wrap-des3.der -aes-256-gcm -des3-wrap -recip p256.pem -keyopt ecdh_kdf_md:sha256
encrypt p384-sha384kdf.der -aes-256-gcm -recip p384.pem -keyopt ecdh_kdf_md:sha384
encrypt p521-sha512kdf.der -aes-256-gcm -recip p521.pem -keyopt ecdh_kdf_md:sha512
encrypt password-only.der -aes-256-cbc -pwri_password mat-khau
encrypt shared-key-only.der -aes-256-cbc -secretkey 000102030405060708090A0B0C0D0E0F -secretkeyid 7465
encrypt mixed.der -aes-256-cbc -pwri_password mat-khau -secretkey 000102030405060708090A0B0C0D0E0F -secretkeyid 7465 -recip other.pem -recip p384.pem -keyopt ecdh_kdf_md:sha384 -recip p256.pem -recip rsa.pem
encrypt mixed-stream.ber -aes-256-gcm -stream -recip p256.pem -keyopt ecdh_kdf_md:sha256 -recip rsa.pem
encrypt des3.der -des3 -recip rsa.pem
encrypt rc2.der -rc2-cbc -provider default -provider legacy -recip rsa.pem
encrypt des.der -des-cbc -provider default -provider legacy -recip rsa.pem
python3 "$here/x25519.py" x25519.pem "$here/content.txt" "$here"
cd "$here"
python3 reencode.py
# The parameters name another label than the key was wrapped with.
python3 -c 'p="rsa-oaep-other-label.der"; d=open(p,"rb").read(); open(p,"wb").write(d.replace(b"abc",b"abd"))'
