#!/usr/bin/env python3
"""Makes entries.json with Python's own JSON and SHA-256: an independent writing of the bytes docs/ledger.md gives."""
import hashlib, json

entries = [
    dict(v=1, time="2026-03-01T08:04:05.678Z", agency="0195536e-8f00-7000-8000-000000000001", kind="dispatch.accepted",
         object="0195536e-9a3c-7bd1-a7b0-6e1d2f3a4b5c", commitments={}, prior=None),
    dict(v=1, time="1999-12-31T23:59:59.000Z", agency="00000000-0000-0000-0000-000000000000", kind="a",
         object="x", commitments={"a": "sha256:" + "0" * 64}, prior="f" * 64),
    dict(v=1, time="2026-12-31T17:00:00.001Z", agency="ffffffff-ffff-ffff-ffff-ffffffffffff", kind="receipt-1.sent",
         object="<dispatch:1/2@a.example>", commitments={n: "sha256:" + hashlib.sha256(n.encode()).hexdigest() for n in ["z", "Z", "_", "-", ".", "0", "document.10", "document.2"]},
         prior=None),
    dict(v=2, time="2026-03-01T08:04:05.678Z", actor=None, grant=None, agency="0195536e-8f00-7000-8000-000000000001", kind="dispatch.signed",
         object="0195536e-9a3c-7bd1-a7b0-6e1d2f3a4b5c", commitments={"content": "sha256:" + "a" * 64}, prior="1" * 64),
    dict(v=2, time="2026-03-01T08:04:05.679Z", actor="6f0c1d8e-3b52-4a77-9c0e-2d1a5b7e9f04", grant=None, agency="00000000-0000-0000-0000-000000000000",
         kind="policy.route-forbidden", object="rule-3", commitments={}, prior=None),
    dict(v=2, time="2026-03-01T08:04:05.680Z", actor="ffffffff-ffff-4fff-bfff-ffffffffffff", grant="approval:0195536e-9a3c-7bd1-a7b0-6e1d2f3a4b5c",
         agency="0195536e-8f00-7000-8000-000000000001", kind="dispatch.erased", object="0195536e-9a3c-7bd1-a7b0-6e1d2f3a4b5c", commitments={}, prior="f" * 64),
    dict(v=2, time="2026-03-01T08:04:05.681Z", actor=None, grant="a", agency="0195536e-8f00-7000-8000-000000000001", kind="a", object="x", commitments={}, prior=None),
]
out = []
for e in entries:
    body = json.dumps(e, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    out.append(dict(body=body, leafHash=hashlib.sha256(b"\0" + body.encode()).hexdigest()))
print(json.dumps(out, indent=2))
