#!/usr/bin/env python3
"""What a dishonest gateway could do at worst: rewrites its whole ledger in its own database and signs every checkpoint anew with its own key.

Usage: rewrite_ledger.py SOCKET_DIR LEDGER_KEY.pem [-d DATABASE]   (superuser of the database; formats as docs/ledger.md gives them)
The first entry that carries a commitment gets another one; all hashes, nodes, checkpoints and signatures are then made to fit.
"""
import argparse, base64, hashlib, json, os, subprocess, tempfile

arguments = argparse.ArgumentParser(description="Rewrites a ledger")
arguments.add_argument("socket_dir")
arguments.add_argument("key")
arguments.add_argument("-d", "--database", default="securemail")
arguments = arguments.parse_args()
socket_dir, key = arguments.socket_dir, arguments.key
PSQL = ["psql", "-h", socket_dir, "-U", "postgres", "-d", arguments.database, "-v", "ON_ERROR_STOP=1", "-qAt"]

def query(sql):
    return [line.split("|") for line in subprocess.run(PSQL + ["-c", sql], check=True, capture_output=True, text=True).stdout.splitlines()]

def leaf(body): return hashlib.sha256(b"\0" + body).digest()
def node(left, right): return hashlib.sha256(b"\1" + left + right).digest()

def root(hashes):
    if len(hashes) == 1: return hashes[0]
    k = 1
    while k * 2 < len(hashes): k *= 2
    return node(root(hashes[:k]), root(hashes[k:]))

def sign(text):
    with tempfile.NamedTemporaryFile(delete=False) as f: f.write(text)
    try: return subprocess.run(["openssl", "pkeyutl", "-sign", "-inkey", key, "-rawin", "-in", f.name], check=True, capture_output=True).stdout
    finally: os.unlink(f.name)

entries = [(int(i), int(e), bytes.fromhex(b)) for i, e, b in query("SELECT l.idx, l.entry_id, encode(e.body, 'hex') FROM ledger.leaf l JOIN ledger.entry e USING (entry_id) ORDER BY l.idx")]
target = next(i for i, _, body in entries if b"dispatch.signed" in body)
renamed, rewritten = {}, []
for index, entry_id, body in entries:
    old = leaf(body)
    for was, now in renamed.items():
        body = body.replace(was, now)
    if index == target:
        start = body.index(b'"content":"sha256:') + len(b'"content":"sha256:')
        body = body[:start] + hashlib.sha256(b"another story").hexdigest().encode() + body[start + 64:]
    renamed[old.hex().encode()] = leaf(body).hex().encode()
    rewritten.append((index, entry_id, body))

hashes = [leaf(body) for _, _, body in rewritten]
# The peers' cosignatures are over what was: they would tell, so they go.
sql = ["BEGIN; SET LOCAL session_replication_role = replica; DELETE FROM ledger.cosignature;"]
for (index, entry_id, body), hash_ in zip(rewritten, hashes):
    prior = json.loads(body)["prior"]
    value = "NULL" if prior is None else f"'\\x{prior}'"
    sql.append(f"UPDATE ledger.entry SET body = '\\x{body.hex()}', leaf_hash = '\\x{hash_.hex()}', prior = {value} WHERE entry_id = {entry_id};")
    sql.append(f"UPDATE ledger.leaf SET hash = '\\x{hash_.hex()}' WHERE idx = {index};")
level, row = 1, hashes
while len(row) > 1:
    row = [node(row[i], row[i + 1]) for i in range(0, len(row) - 1, 2)]
    for i, hash_ in enumerate(row):
        sql.append(f"UPDATE ledger.node SET hash = '\\x{hash_.hex()}' WHERE level = {level} AND idx = {i};")
    level += 1
for size, note in query("SELECT size, encode(note, 'base64') FROM ledger.checkpoint ORDER BY size".replace("encode(note, 'base64')", "replace(encode(note, 'base64'), E'\\n', '')")):
    text, signature = base64.b64decode(note).decode().split("\n\n", 1)
    origin = text.split("\n")[0]
    _, name, blob = signature.splitlines()[0].split(" ")
    new_root = root(hashes[:int(size)])
    text = f"{origin}\n{size}\n{base64.b64encode(new_root).decode()}\n".encode()
    line = base64.b64encode(base64.b64decode(blob)[:4] + sign(text)).decode()
    new_note = text + f"\n\u2014 {name} {line}\n".encode()
    sql.append(f"UPDATE ledger.checkpoint SET root = '\\x{new_root.hex()}', note = '\\x{new_note.hex()}' WHERE size = {size};")
sql.append("COMMIT;")
subprocess.run(PSQL, input="\n".join(sql), check=True, text=True, stdout=subprocess.DEVNULL)
print(target)
