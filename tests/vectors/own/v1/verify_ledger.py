#!/usr/bin/env python3
"""Verifies an exported ledger (docs/ledger.md) with nothing of SecureMail: Python's standard library and openssl.

usage: verify_ledger.py EXPORT VKEY      VKEY: the log's verifier key, from the directory, not from the export
exit 0: all verifies; 1: it does not, and the output says where
"""
import base64, hashlib, json, os, subprocess, sys, tempfile


def fail(text):
    print(text)
    sys.exit(1)


def b64(text):
    return base64.b64decode(text, validate=True)


def parse_vkey(vkey):
    name, key_id, material = vkey.split("+", 2)
    material = b64(material)
    if len(material) != 33 or hashlib.sha256(name.encode() + b"\n" + material).hexdigest()[:8] != key_id:
        fail("not a verifier key: " + vkey)
    return name, bytes.fromhex(key_id), material[0], material[1:]


def ed25519(public, message, signature):
    """RFC 8032 by openssl; the public key as SubjectPublicKeyInfo (RFC 8410)."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [os.path.join(folder, n) for n in ("key", "message", "signature")]
        for path, data in zip(paths, (bytes.fromhex("302a300506032b6570032100") + public, message, signature)):
            with open(path, "wb") as f:
                f.write(data)
        return subprocess.run(["openssl", "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", paths[0], "-rawin",
                               "-in", paths[1], "-sigfile", paths[2]], capture_output=True).returncode == 0


def signature_by(lines, name, key_id):
    """The signature of the line "— name base64(key id || signature)" of that key."""
    for line in lines:
        dash, who, value = line.split(" ")
        if dash == "\u2014" and who == name and b64(value)[:4] == key_id:
            return b64(value)[4:]
    fail("no signature by " + name)


def main(path, vkey):
    name, key_id, kind, public = parse_vkey(vkey)
    if kind != 1:
        fail("not a log's key")
    peaks, size, covered, checkpoints, cosignatures = [], 0, 0, {}, 0  # peaks: (level, hash), left to right
    for text in open(path, encoding="utf-8"):
        if not text.strip():
            continue
        line = json.loads(text)
        if line["type"] == "entry":
            if line["index"] != size:
                fail(f"entry {size} is missing")
            body = b64(line["body"])
            entry = json.loads(body) if body[:1] == b"{" else fail(f"entry {size} is not JSON")
            if json.dumps(entry, sort_keys=True, separators=(",", ":")).encode() != body:
                print(f"entry {size} is not canonical JSON")
            node = (0, hashlib.sha256(b"\0" + body).digest())
            while peaks and peaks[-1][0] == node[0]:
                node = (node[0] + 1, hashlib.sha256(b"\1" + peaks.pop()[1] + node[1]).digest())
            peaks.append(node)
            size += 1
        elif line["type"] == "checkpoint":
            body, _, signatures = line["note"].rpartition("\n\n")
            body += "\n"
            origin, count, root = body.splitlines()
            computed = peaks[-1][1] if peaks else b""
            for _, left in reversed(peaks[:-1]):
                computed = hashlib.sha256(b"\1" + left + computed).digest()
            if origin != name or int(count) != size or b64(root) != computed:
                fail(f"checkpoint {count}: the entries {covered} to {size - 1} are not what was signed")
            if not ed25519(public, body.encode(), signature_by(signatures.splitlines(), name, key_id)):
                fail(f"checkpoint {count}: the signature is false")
            checkpoints[size], covered = body, size
        elif line["type"] == "cosignature":
            who, who_id, kind, key = parse_vkey(line["vkey"])
            value = signature_by([line["line"].rstrip("\n")], who, who_id)
            time = int.from_bytes(value[:8], "big")
            message = f"cosignature/v1\ntime {time}\n{checkpoints[line['size']]}"
            if kind != 4 or not ed25519(key, message.encode(), value[8:]):
                fail(f"cosignature of {who} over checkpoint {line['size']}: the signature is false")
            cosignatures += 1
    if covered != size:
        fail(f"entries {covered} to {size - 1} are covered by no checkpoint")
    print(f"{size} entries, {len(checkpoints)} checkpoints, {cosignatures} cosignatures: all verify")


if __name__ == "__main__":
    main(*sys.argv[1:3])
