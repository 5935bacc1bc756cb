#!/usr/bin/env python3
"""A second reader of our own formats (docs/formats.md, docs/ledger.md): Python's standard library and openssl, nothing of SecureMail.

usage: read.py manifest|receipt|directory|evidence FILE [VKEY | PUBLISHER.pem]
Prints what it read as one JSON object. Exit 1 and one line: the file is not of the format, or does not verify.
evidence takes the sender's verifier key, receipt the recipient's, directory the publisher's certificate.
"""
import base64, hashlib, json, os, re, subprocess, sys, tempfile, unicodedata
from datetime import date, datetime

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
NAME = re.compile(r"[A-Za-z0-9_-]{1,60}")
EVENTS = ("ContentConsignment", "ContentConsignmentFailure", "RelayRejection")
CAPABILITY = re.compile(r"[A-Za-z0-9-]{1,64}")
CRITICAL = ("previous", "expires", "publishers", "threshold")
STATES = {"arrived": EVENTS[0], "registered": EVENTS[0], "held": EVENTS[1], "returned": EVENTS[2], "destroyed": EVENTS[2]}
ACTIONS = ("new", "recall", "update", "replace", "correct")


class Refused(Exception):
    pass


def need(condition, what):
    if not condition:
        raise Refused(what)


def once(pairs):
    need(len({name for name, _ in pairs}) == len(pairs), "a name comes twice")
    return dict(pairs)


def load(octets, largest, version=1, critical=()):
    need(len(octets) <= largest, "too large")
    value = json.loads(octets.decode("utf-8"), object_pairs_hook=once)
    need(isinstance(value, dict) and value.get("v") == version and not isinstance(value.get("v"), bool), "version")
    crit = value.get("crit")
    need(crit is None or 1 <= len(crit) <= 32 and all(name in critical for name in crit), "critical")
    return value


def b64(text, length=None):
    need(isinstance(text, str), "no base64")
    octets = base64.b64decode(text, validate=True)
    need(length is None or len(octets) == length, "length of octets")
    return octets


def text(value, longest, least=0, nullable=False):
    """Lengths are counted in UTF-16 units."""
    if nullable and value is None:
        return None
    need(isinstance(value, str) and least <= len(value.encode("utf-16-le")) // 2 <= longest, "length of a text")
    return value


def line(value, longest, least=0, nullable=False):
    value = text(value, longest, least, nullable)
    need(value is None or not re.search(r"[\x00-\x1f\x7f-\x9f]", value), "control character")
    return value


def number(value, least, most, nullable=False):
    if nullable and value is None:
        return None
    need(isinstance(value, int) and not isinstance(value, bool) and least <= value <= most, "number out of bounds")
    return value


def uuid(value, nullable=False):
    if nullable and value is None:
        return None
    need(isinstance(value, str) and UUID.fullmatch(value) and value.strip("0-") != "", "UUID")
    return value


def time(value, nullable=False):
    if nullable and value is None:
        return None
    moment = datetime.fromisoformat(value)
    need(moment.tzinfo is not None, "time without a zone")
    return int(moment.timestamp())


def day(value):
    return value if value is None else date.fromisoformat(value).isoformat()


def party(value):
    return {"id": uuid(value["id"]), "code": text(value["code"], 30, 1), "name": text(value["name"], 200, 1),
            "attention": line(value.get("attention"), 200, 1, nullable=True)}


def document(value):
    name = line(value["name"], 255, 1)
    need(not re.search(r"[/\\]", name) and name not in (".", ".."), "name of a document")
    media = line(value["mediaType"], 127, 1)
    need(re.match(r"[!#-'*+.0-9A-Z^-z|~-]+/[!#-'*+.0-9A-Z^-z|~-]+", media), "media type")
    need(value.get("role") in (None, "main", "attachment") and value.get("copy") in (None, "sao-y", "sao-luc", "trich-sao"), "role or copy")
    return {"name": name, "mediaType": media, "length": number(value["length"], 0, 2**63 - 1), "sha256": b64(value["sha256"], 32).hex(),
            "role": value.get("role"), "copy": value.get("copy")}


def manifest(octets):
    value = load(octets, 2 * 1024 * 1024, critical=("action", "relatesTo", "series", "deliverAt", "approvals"))
    fields = value["fields"]
    parts = re.fullmatch(r"([0-9]{1,11})[-/](.{1,30})", line(fields["number"], 42, 1))
    need(parts, "number and notation")
    need(fields.get("secrecy") in (None, "MẬT", "TỐI MẬT", "TUYỆT MẬT"), "secrecy")
    recipients = [party(p) for p in value["recipients"]]
    documents = [document(d) for d in value["documents"]]
    need(1 <= len(recipients) <= 20_000 and len({p["id"] for p in recipients}) == len(recipients), "recipients")
    need(1 <= len(documents) <= 500 and len({d["name"] for d in documents}) == len(documents), "documents")
    signer = fields.get("signerInfo")
    action, related, series = value.get("action", "new"), value.get("relatesTo"), value.get("series")
    need(action in ACTIONS and (related is None or 1 <= len(related) <= 16) and (action == "new" or related), "action")
    need(value.get("deliverAt") is None or fields["priority"] == 4, "deliverAt")
    if series:
        between = "/" if "-" in fields["number"][len(parts[1]):len(parts[1]) + 1] else "-"
        kind, slash, body = re.sub(" ", "", unicodedata.normalize("NFC", parts[2])).upper().partition(between)
        kind, body = (kind, body) if slash else ("", kind)
        need(series["body"] == body and series["type"] in ("", kind) and re.fullmatch(r"\d{4}(-\d\d-\d\d)?", series["period"]), "series")
    return {
        "action": action,
        "relatesTo": related and [f"{uuid(r['dispatchId'])} {r['number'] or ''}".strip() for r in related],
        "series": series and f"{series['body']}|{series['type']}|{series['period']}",
        "deliverAt": time(value.get("deliverAt"), nullable=True),
        "approvals": [f"{hashlib.sha256(b64(a['certificate'])).hexdigest()} {text(a['capacity'], 20, 1)} {b64(a['digest'], 32).hex()} {time(a['time'])}"
                      for a in value.get("approvals") or []],
        "dispatchId": uuid(value["dispatchId"]),
        "issued": time(value["issued"]),
        "sender": party(value["sender"]),
        "recipients": recipients,
        "number": fields["number"],
        "subject": line(fields["subject"], 500, 1),
        "typeName": text(fields.get("typeName"), 100, nullable=True),
        "issuedDate": day(fields.get("issuedDate")),
        "dueDate": day(fields.get("dueDate")),
        "language": text(fields.get("language"), 30, nullable=True),
        "pageAmount": number(fields.get("pageAmount"), 0, 999, nullable=True),
        "issuedAmount": number(fields.get("issuedAmount"), 0, 999, nullable=True),
        "description": text(fields.get("description"), 500, nullable=True),
        "signer": signer and f"{text(signer['position'], 100)}|{text(signer['fullName'], 50)}",
        "priority": number(fields["priority"], 0, 4),
        "secrecy": fields.get("secrecy"),
        "documents": documents,
        "salt": b64(value["salt"], 32).hex(),
    }


def receipt(octets, vkey):
    value = load(octets, 256 * 1024)
    reason = value["reason"]
    need(value["event"] in EVENTS and NAME.fullmatch(value["verdict"]), "event or verdict")
    if reason is not None:
        need(NAME.fullmatch(reason["code"]), "code of the reason")
        text(reason["vi"], 1000), text(reason["en"], 1000)
    state = value.get("state")
    need(state is None or STATES.get(state) == value["event"] and (state == "registered") == (value["arrivalNumber"] is not None), "state")
    return {
        "dispatchId": uuid(value["dispatchId"]),
        "sender": uuid(value["sender"]),
        "recipient": uuid(value["recipient"]),
        "event": value["event"],
        "digest": b64(value["digest"], 32).hex(),
        "verdict": value["verdict"],
        "arrivalNumber": number(value["arrivalNumber"], 1, 2**31 - 1, nullable=True),
        "seq": number(value.get("seq"), 1, 10_000, nullable=True),
        "prior": value.get("prior") and b64(value["prior"], 32).hex(),
        "state": state,
        "time": time(value["time"]),
        "reason": reason and f"{reason['code']}|{reason['vi']}|{reason['en']}",
        "ledger": evidence_object(b64(value["ledger"]), vkey),
    }


def openssl(*arguments, stdin=None):
    return subprocess.run(["openssl", *arguments], input=stdin, capture_output=True)


def directory(path, publisher):
    # The time of the check is the certificate's concern; what is read here is the format.
    made = openssl("cms", "-verify", "-binary", "-inform", "DER", "-in", path, "-certfile", publisher, "-CAfile", publisher,
                   "-nointern", "-purpose", "any", "-partial_chain", "-no_check_time")
    need(made.returncode == 0, "the publisher did not sign it")
    value = load(made.stdout, 256 * 1024 * 1024, 2, CRITICAL)
    agencies, gateways = [], []
    for g in value["gateways"]:
        name = text(g["name"], 255, 1)
        ledgers = [{"number": number(l["number"], 1, 2**31 - 1), "key": l["key"], "reason": l["reason"], **span(l)} for l in g["ledgers"]]
        need(ledgers and [l["to"] is None for l in ledgers] == [False] * (len(ledgers) - 1) + [True], "the last ledger is open")
        need(all(vkey_of(l["key"])[2] == 1 and vkey_of(l["key"])[0] in
                 ([name] if l["number"] == 1 else []) + [f"{name}/ledger/{l['number']}"] for l in ledgers), "key of a ledger")
        cosigners = [{"key": c["key"], **span(c)} for c in g["cosigners"]]
        need(cosigners and all(vkey_of(c["key"])[2] == 4 for c in cosigners), "key of cosignatures")
        gateways.append({"name": name, "host": text(g["host"], 255, 1), "port": number(g["port"], 1, 65535), "ledgers": ledgers,
                         "cosigners": cosigners, "tlsKeys": [{"sha256": b64(k["sha256"], 32).hex(), **span(k)} for k in g["tlsKeys"]]})
    for a in value["agencies"]:
        names = [{"code": text(n["code"], 30, 1), "name": text(n["name"], 200, 1), "address": text(n["address"], 254, 3), **span(n)}
                 for n in a["names"]]
        served = [{"name": g["name"], **span(g)} for g in a["gateways"]]
        need(names and served and all(g["name"] in [h["name"] for h in gateways] for g in served), "names or gateways of an agency")
        capabilities = a.get("capabilities")
        need(capabilities is None or 1 <= len(capabilities) <= 64 and all(CAPABILITY.fullmatch(c) for c in capabilities), "capabilities")
        certificates = []
        for c in a["certificates"]:
            need(re.fullmatch("[a-z]{1,20}", c["use"]), "use of a certificate")
            der = b64(c["der"])
            need(openssl("x509", "-inform", "DER", "-noout", stdin=der).returncode == 0, "a certificate that nobody reads")
            certificates.append({"use": c["use"], "sha256": hashlib.sha256(der).hexdigest(), **span(c)})
        need(len({c["sha256"] for c in certificates}) == len(certificates), "one use a certificate")
        agencies.append({"id": uuid(a["id"]), "parent": uuid(a["parent"], nullable=True), "successor": uuid(a["successor"], nullable=True),
                         "validFrom": time(a["validFrom"]), "validTo": time(a["validTo"], nullable=True), "gateways": served,
                         "names": names, "certificates": certificates, "capabilities": capabilities})
    publishers = [hashlib.sha256(b64(p)).hexdigest() for p in value["publishers"]]
    previous = value["previous"]
    return {"version": number(value["version"], 1, 2**63 - 1), "issued": time(value["issued"]), "expires": time(value["expires"], nullable=True),
            "previous": previous and f"{previous['version']} {b64(previous['sha256'], 32).hex()}", "publishers": publishers,
            "threshold": number(value["threshold"], 1, max(len(publishers), 1)), "agencies": agencies, "gateways": gateways}


def span(value):
    """From when, until when, and from when withdrawn."""
    dated = {"from": time(value["from"]), "to": time(value["to"], nullable=True), "revokedAt": time(value.get("revokedAt"), nullable=True)}
    need(dated["to"] is None or dated["to"] > dated["from"], "order of times")
    return dated


def vkey_of(vkey):
    name, key_id, material = vkey.split("+", 2)
    octets = b64(material, 33)
    need(hashlib.sha256(name.encode() + b"\n" + octets).hexdigest()[:8] == key_id, "verifier key")
    return name, bytes.fromhex(key_id), octets[0], octets[1:]


def ed25519(public, message, signature):
    with tempfile.TemporaryDirectory() as folder:
        paths = [os.path.join(folder, n) for n in ("key", "message", "signature")]
        for path, data in zip(paths, (bytes.fromhex("302a300506032b6570032100") + public, message, signature)):
            with open(path, "wb") as file:
                file.write(data)
        return openssl("pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", paths[0], "-rawin", "-in", paths[1],
                       "-sigfile", paths[2]).returncode == 0


def checkpoint(note, vkey):
    """Size and root of a signed note, after its signature by the log was verified (docs/ledger.md, section 3)."""
    name, key_id, kind, public = vkey_of(vkey)
    body, gap, signatures = note.rpartition("\n\n")
    need(gap and kind == 1, "note")
    body += "\n"
    origin, size, root = body.splitlines()
    need(origin == name, "another log")
    ours = [b64(l.split(" ")[2]) for l in signatures.splitlines() if l.startswith(f"\u2014 {name} ")]
    ours = [s[4:] for s in ours if s[:4] == key_id]
    need(ours and all(ed25519(public, body.encode(), s) for s in ours), "signature of the checkpoint")
    return int(size), b64(root, 32)


def root_from(leaf, index, size, proof):
    """RFC 9162, section 2.1.3.2."""
    need(0 <= index < size, "index")
    fn, sn, node = index, size - 1, leaf
    for p in proof:
        need(sn != 0, "proof too long")
        if fn & 1 or fn == sn:
            node = hashlib.sha256(b"\1" + p + node).digest()
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            node = hashlib.sha256(b"\1" + node + p).digest()
        fn, sn = fn >> 1, sn >> 1
    need(sn == 0, "proof too short")
    return node


def evidence_object(octets, vkey):
    value = load(octets, 96 * 1024)
    entry = b64(value["entry"])
    content = json.loads(entry)
    need(json.dumps(content, sort_keys=True, separators=(",", ":")).encode() == entry, "the entry is not canonical")
    size, root = checkpoint(value["checkpoint"], vkey)
    proof = [b64(h, 32) for h in value["inclusion"]]
    need(root_from(hashlib.sha256(b"\0" + entry).digest(), value["index"], size, proof) == root, "the entry is not in the ledger")
    need(len(value["consistency"]) <= 32 and len(value["cosignatures"]) <= 16, "too many")
    return {"kind": content["kind"], "object": content["object"], "commitments": content["commitments"], "index": value["index"], "size": size,
            "consistency": {n: [b64(h, 32).hex() for h in hashes] for n, hashes in value["consistency"].items()},
            "cosignatures": [f"{c['size']} {c['line'].rstrip()}" for c in value["cosignatures"]]}


def evidence(octets, vkey):
    name, _, folded = octets.decode("ascii").partition(":")
    need(name == "SecureMail-Ledger", "another field")
    return evidence_object(b64(re.sub(r"\s", "", folded)), vkey)


def main(kind, path, *keys):
    with open(path, "rb") as file:
        octets = file.read()
    try:
        read = (manifest(octets) if kind == "manifest" else receipt(octets, *keys) if kind == "receipt"
                else directory(path, *keys) if kind == "directory" else evidence(octets, *keys))
    except (Refused, KeyError, ValueError, TypeError, AttributeError) as e:
        print(f"{kind}: {e}", file=sys.stderr)
        sys.exit(1)
    json.dump(read, sys.stdout, ensure_ascii=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
