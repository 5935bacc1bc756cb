#!/bin/sh
# Makes the vectors of this folder anew (new keys, so every file changes): the same content signed and encrypted by every
# peer at hand. Needs openssl, gpgsm, libnss3-tools, gnutls-bin, libbcmail-java and a JDK.
set -eu
cd "$(dirname "$0")"
here=$PWD
peer="$here/../../../SecureMail.SystemTests/Cms/Peer.java"
work=$(mktemp -d)
export NAME=nobody
trap 'GNUPGHOME="$work/gnupg" gpgconf --kill all; rm -rf "$work"' EXIT
cp ../content.txt "$work/content"
cd "$work"
cat > x.cnf <<'CNF'
[req]
distinguished_name = dn
prompt = no
[dn]
CN = unused
[root]
basicConstraints = critical,CA:true
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[leaf]
basicConstraints = critical,CA:false
keyUsage = critical,digitalSignature,nonRepudiation,keyEncipherment
extendedKeyUsage = emailProtection
subjectAltName = email:$ENV::NAME@a.vn
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
CNF
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout root.key -out root.pem -subj "/CN=Peers Root" -days 36500 -config x.cnf -extensions root 2>/dev/null
key() { # name, kind and its options
  name=$1; shift
  export NAME="$name"
  openssl req -new -newkey "$@" -nodes -config x.cnf -keyout "$name.key" -out "$name.csr" -subj "/CN=Peers $name" 2>/dev/null
  openssl x509 -req -in "$name.csr" -CA root.pem -CAkey root.key -CAcreateserial -days 36000 -extfile x.cnf -extensions leaf -out "$name.pem" 2>/dev/null
  openssl x509 -in "$name.pem" -outform DER -out "$name.crt"
  openssl pkcs8 -topk8 -nocrypt -in "$name.key" -outform DER -out "$name.pk8"
  openssl pkcs12 -export -inkey "$name.key" -in "$name.pem" -certfile root.pem -name "$name" -passout pass:abc -certpbe PBE-SHA1-3DES -keypbe PBE-SHA1-3DES -macalg sha1 -out "$name.p12"
}
key rsa rsa:2048; key p256 ec -pkeyopt ec_paramgen_curve:P-256; key p384 ec -pkeyopt ec_paramgen_curve:P-384; key ed ed25519
key psskey rsa-pss -pkeyopt rsa_keygen_bits:2048 -pkeyopt rsa_pss_keygen_md:sha256 -pkeyopt rsa_pss_keygen_mgf1_md:sha256 -pkeyopt rsa_pss_keygen_saltlen:32
: > index.txt; echo 01 > crlnumber
cat > ca.cnf <<'CNF'
[ca]
default_ca = d
[d]
database = index.txt
crlnumber = crlnumber
default_md = sha256
default_crl_days = 36000
CNF
openssl ca -config ca.cnf -gencrl -cert root.pem -keyfile root.key -out root.crl 2>/dev/null
cp root.pem root.crl "$here"; cp rsa.pem "$here/recipient.pem"; openssl rsa -in rsa.key -out "$here/recipient.key" 2>/dev/null; chmod 644 "$here/recipient.key"

openssl cms -sign -cades -binary -nodetach -in content -outform DER -out "$here/openssl-three.der" -signer rsa.pem -inkey rsa.key -signer p256.pem -inkey p256.key -signer p384.pem -inkey p384.key
openssl cms -sign -binary -in content -outform DER -out "$here/openssl-psskey.der" -md sha256 -signer psskey.pem -inkey psskey.key -keyopt rsa_pss_saltlen:32
openssl cms -sign -binary -in content -outform DER -out "$here/openssl-pss-mask.der" -md sha256 -signer rsa.pem -inkey rsa.key -keyopt rsa_padding_mode:pss -keyopt rsa_pss_saltlen:0 -keyopt rsa_mgf1_md:sha512

export GNUPGHOME="$work/gnupg"
mkdir -m 700 gnupg
printf 'disable-crl-checks\ndisable-policy-checks\npinentry-mode loopback\nbatch\nyes\n' > gnupg/gpgsm.conf
echo allow-loopback-pinentry > gnupg/gpg-agent.conf
openssl x509 -in root.pem -noout -fingerprint -sha1 | sed 's/.*=//; s/$/ S relax/' > gnupg/trustlist.txt
gpg_sm() { echo abc | gpgsm --passphrase-fd 0 "$@" 2>/dev/null; }
gpg_sm --import rsa.p12
gpg_sm --local-user rsa@a.vn --output "$here/gpgsm.ber" --sign content
gpg_sm --armor --digest-algo SHA512 --local-user rsa@a.vn --output "$here/gpgsm.pem" --detach-sign content
gpg_sm --cipher-algo AES256 --recipient rsa@a.vn --output "$here/gpgsm-enveloped.der" --encrypt content

mkdir nss
certutil -N -d sql:nss --empty-password
certutil -A -d sql:nss -n root -t CT,CT,CT -i root.pem
for name in rsa p384; do pk12util -i "$name.p12" -d sql:nss -W abc -K "" >/dev/null; done
cmsutil -S -d sql:nss -N rsa -G -P -H SHA256 -i content -o "$here/nss-rsa.ber"
cmsutil -S -T -d sql:nss -N p384 -G -H SHA384 -i content -o "$here/nss-p384.ber"
cmsutil -E -d sql:nss -r rsa@a.vn -i content -o "$here/nss-enveloped.ber"

gnutls() { certtool "$@" --infile content 2>/dev/null; }
gnutls --p7-sign --p7-time --load-certificate rsa.pem --load-privkey rsa.key --outfile "$here/gnutls-rsa.pem"
gnutls --p7-detached-sign --p7-time --outder --load-certificate ed.pem --load-privkey ed.key --outfile "$here/gnutls-ed25519.der"
gnutls --p7-detached-sign --outder --load-certificate ed.pem --load-privkey ed.key --outfile "$here/gnutls-ed25519-no-attributes.der"

cat > jobs <<'JOBS'
sign bc-rsa.der detached content SHA256withRSA rsa
sign bc-pss.der attached content SHA384withRSAandMGF1 rsa
sign bc-ed25519.der attached content Ed25519 ed
sign bc-three.der detached content SHA512withRSA rsa SHA256withECDSA p256 Ed25519 ed
encrypt bc-cbc.ber AES256_CBC pkcs1 content rsa
encrypt bc-gcm.ber AES256_GCM SHA-256 content rsa
JOBS
java -cp /usr/share/java/bcprov.jar:/usr/share/java/bcutil.jar:/usr/share/java/bcpkix.jar:/usr/share/java/bcmail.jar "$peer"
cp bc-* "$here"
