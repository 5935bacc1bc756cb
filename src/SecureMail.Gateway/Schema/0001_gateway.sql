-- The gateway's own tables. Every row that belongs to an agency carries its id; states are CHECKed so that an impossible row cannot be written.
-- No subject, body or document stands here in clear: they are sealed blobs.

-- Octets, in sealed pieces of 256 KiB; the parent is written last, in the same transaction, so a blob is whole or absent.
CREATE TABLE gateway.blob (
  blob_id      uuid PRIMARY KEY,
  length       bigint NOT NULL CHECK (length >= 0),
  sha256       bytea NOT NULL CHECK (octet_length(sha256) = 32),
  storage_key  text NOT NULL,
  wrapped_key  bytea NOT NULL,
  created_at   timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE gateway.blob_chunk (
  blob_id  uuid NOT NULL REFERENCES gateway.blob ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
  n        int NOT NULL CHECK (n >= 0),
  octets   bytea NOT NULL,
  PRIMARY KEY (blob_id, n)
);
ALTER TABLE gateway.blob_chunk ALTER COLUMN octets SET STORAGE EXTERNAL;

-- The directory as its publisher signed it. Versions only rise.
CREATE TABLE gateway.directory (
  version      bigint PRIMARY KEY CHECK (version > 0),
  document     bytea NOT NULL,
  sha256       bytea NOT NULL CHECK (octet_length(sha256) = 32),
  imported_at  timestamptz NOT NULL DEFAULT now()
);

-- What is to be done. A row is the permission to do one thing to one subject; it goes when the thing is done.
--   ready ──lease──▶ leased ──done──▶ (row deleted)
--     ▲                │ retry, snooze, lease run out
--     └────────────────┘ held: a person must act first · dead: given up · a row that awaits an entry is ready only once a checkpoint covers it
CREATE TABLE gateway.work (
  work_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  kind          text NOT NULL CHECK (kind IN ('seal', 'send', 'judge', 'receipt')),
  subject       uuid NOT NULL,
  state         text NOT NULL DEFAULT 'ready' CHECK (state IN ('ready', 'leased', 'held', 'dead')),
  run_at        timestamptz NOT NULL DEFAULT now(),
  attempts      int NOT NULL DEFAULT 0,
  awaits_entry  bigint,
  lease_owner   text,
  lease_until   timestamptz,
  -- When a person asked for it again. One act frees many rows; it permits one try of what was latched (a refused PIN), not one for each row.
  acted_at      timestamptz,
  last_error    text,
  created_at    timestamptz NOT NULL DEFAULT now(),
  UNIQUE (kind, subject),
  CHECK ((state = 'leased') = (lease_owner IS NOT NULL AND lease_until IS NOT NULL)),
  CHECK (awaits_entry IS NULL OR state = 'ready')
);
CREATE INDEX work_ready ON gateway.work (kind, run_at) WHERE state = 'ready' AND awaits_entry IS NULL;
CREATE INDEX work_leased ON gateway.work (lease_until) WHERE state = 'leased';
CREATE INDEX work_awaits ON gateway.work (awaits_entry) WHERE awaits_entry IS NOT NULL;

-- Numbers of the two registers: gapless, from 01 each year (of Vietnam's calendar), per agency.
CREATE TABLE gateway.register (
  agency_id  uuid NOT NULL,
  direction  text NOT NULL CHECK (direction IN ('outgoing', 'incoming')),
  year       int NOT NULL CHECK (year BETWEEN 2000 AND 2999),
  last       int NOT NULL CHECK (last > 0),
  PRIMARY KEY (agency_id, direction, year)
);

CREATE TABLE gateway.outgoing (
  dispatch_id     uuid PRIMARY KEY,
  agency_id       uuid NOT NULL,
  state           text NOT NULL CHECK (state IN ('accepted', 'awaiting-signature', 'queued', 'refused')),
  reason          text,
  number_year     int NOT NULL,
  number_text     text NOT NULL,
  manifest_blob   uuid NOT NULL REFERENCES gateway.blob,
  message_blob    uuid REFERENCES gateway.blob,
  accepted_entry  bigint NOT NULL,
  signed_entry    bigint,
  signed_digest   bytea CHECK (octet_length(signed_digest) = 32),
  accepted_at     timestamptz NOT NULL,
  queued_at       timestamptz,
  UNIQUE (agency_id, number_year, number_text),
  CHECK ((state = 'queued') = (message_blob IS NOT NULL)),
  CHECK ((state = 'queued') = (signed_entry IS NOT NULL AND signed_digest IS NOT NULL AND queued_at IS NOT NULL)),
  CHECK ((state IN ('refused', 'awaiting-signature')) = (reason IS NOT NULL))
);
CREATE INDEX outgoing_listed ON gateway.outgoing (agency_id, accepted_at DESC);
CREATE TABLE gateway.outgoing_document (
  dispatch_id  uuid NOT NULL REFERENCES gateway.outgoing,
  n            int NOT NULL CHECK (n > 0),
  blob_id      uuid NOT NULL REFERENCES gateway.blob,
  PRIMARY KEY (dispatch_id, n)
);

-- One row for each thing that leaves to one recipient: a dispatch to an addressee, or a receipt to the sender.
--   waiting ──▶ queued ──▶ sent | unknown ──▶ acknowledged | refused      failed: given up, or this recipient can never get it
CREATE TABLE gateway.transmission (
  transmission_id  uuid PRIMARY KEY,
  kind             text NOT NULL CHECK (kind IN ('dispatch', 'receipt')),
  dispatch_id      uuid NOT NULL,
  agency_id        uuid NOT NULL,
  recipient_id     uuid,
  recipient_code   text NOT NULL,
  state            text NOT NULL CHECK (state IN ('waiting', 'queued', 'sent', 'unknown', 'acknowledged', 'refused', 'failed')),
  reason           text,
  message_blob     uuid REFERENCES gateway.blob,
  entry_id         bigint,
  queued_at        timestamptz,
  first_sent_at    timestamptz,
  closed_at        timestamptz,
  overdue_at       timestamptz,
  receipt_event    text,
  created_at       timestamptz NOT NULL DEFAULT now(),
  UNIQUE (kind, dispatch_id, agency_id, recipient_code),
  CHECK (state IN ('waiting', 'failed') OR (message_blob IS NOT NULL AND entry_id IS NOT NULL AND queued_at IS NOT NULL)),
  CHECK (recipient_id IS NOT NULL OR state = 'failed'),
  CHECK ((state IN ('failed', 'refused')) <= (reason IS NOT NULL)),
  CHECK ((state IN ('acknowledged', 'refused', 'failed')) = (closed_at IS NOT NULL)),
  CHECK (state <> 'acknowledged' OR kind = 'dispatch')
);
CREATE INDEX transmission_open ON gateway.transmission (first_sent_at) WHERE kind = 'dispatch' AND state IN ('sent', 'unknown') AND overdue_at IS NULL;

-- Octets as they came, and for whom. Written before the answer 250.
CREATE TABLE gateway.received (
  received_id    uuid PRIMARY KEY,
  peer           text NOT NULL,
  envelope_from  text NOT NULL,
  blob_id        uuid NOT NULL REFERENCES gateway.blob,
  salt           bytea CHECK (octet_length(salt) = 32),
  received_at    timestamptz NOT NULL,
  -- From which size of its ledger the sender was asked to prove consistency when its session began: 0 when nothing of it had been seen, NULL when it
  -- did not ask (HELO). A message whose checkpoint is joined to less than this is kept aside.
  proof_asked    bigint CHECK (proof_asked >= 0)
);
CREATE TABLE gateway.incoming (
  incoming_id     uuid PRIMARY KEY,
  received_id     uuid NOT NULL REFERENCES gateway.received,
  agency_id       uuid NOT NULL,
  address         text NOT NULL,
  state           text NOT NULL CHECK (state IN ('received', 'recorded')),
  kind            text CHECK (kind IN ('dispatch', 'receipt', 'other')),
  place           text CHECK (place IN ('inbox', 'quarantine', 'returned', 'duplicate', 'matched')),
  verdict         text,
  reason          text,
  sender_id       uuid,
  dispatch_id     uuid,
  signed_digest   bytea CHECK (octet_length(signed_digest) = 32),
  arrival_year    int,
  arrival_number  int,
  manifest_blob   uuid REFERENCES gateway.blob,
  entry_id        bigint,
  recorded_at     timestamptz,
  UNIQUE (agency_id, arrival_year, arrival_number),
  CHECK ((state = 'recorded') = (kind IS NOT NULL AND place IS NOT NULL AND verdict IS NOT NULL AND entry_id IS NOT NULL AND recorded_at IS NOT NULL)),
  CHECK ((place = 'inbox') <= (arrival_number IS NOT NULL AND dispatch_id IS NOT NULL AND sender_id IS NOT NULL AND manifest_blob IS NOT NULL)),
  CHECK ((arrival_year IS NULL) = (arrival_number IS NULL))
);
CREATE INDEX incoming_listed ON gateway.incoming (agency_id, recorded_at DESC);
CREATE TABLE gateway.incoming_document (
  incoming_id  uuid NOT NULL REFERENCES gateway.incoming,
  n            int NOT NULL CHECK (n > 0),
  blob_id      uuid NOT NULL REFERENCES gateway.blob,
  PRIMARY KEY (incoming_id, n)
);

-- Findings are appended, never changed: judging again adds a row.
CREATE TABLE gateway.finding (
  finding_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  incoming_id  uuid NOT NULL REFERENCES gateway.incoming,
  judged_at    timestamptz NOT NULL,
  verdict      text NOT NULL,
  findings     jsonb NOT NULL
);
CREATE INDEX finding_of ON gateway.finding (incoming_id);

-- What was seen of whom: the same dispatch again is a duplicate, the same id with another digest is an alarm.
CREATE TABLE gateway.seen (
  recipient_id  uuid NOT NULL,
  sender_id     uuid NOT NULL,
  dispatch_id   uuid NOT NULL,
  digest        bytea NOT NULL CHECK (octet_length(digest) = 32),
  incoming_id   uuid NOT NULL REFERENCES gateway.incoming,  -- the one that came first
  PRIMARY KEY (recipient_id, sender_id, dispatch_id)
);

-- What a person must look at. Appended, never changed.
CREATE TABLE gateway.alarm (
  alarm_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  raised_at    timestamptz NOT NULL,
  kind         text NOT NULL,
  subject      text NOT NULL,
  detail       text NOT NULL,
  entry_id     bigint
);

-- Who may not send to whom; the empty table permits every agency of the directory. Null stands for any.
CREATE TABLE gateway.route_rule (
  rule_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  sender_id     uuid,
  recipient_id  uuid,
  reason        text NOT NULL
);

-- An agency's explicit decision to send and take marked documents (độ mật); its entry in the ledger says who decided.
CREATE TABLE gateway.secrecy_permission (
  agency_id  uuid PRIMARY KEY,
  highest    text NOT NULL CHECK (highest IN ('MẬT', 'TỐI MẬT', 'TUYỆT MẬT')),
  entry_id   bigint NOT NULL
);

DO $$ BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'securemail_gateway') THEN
    GRANT USAGE ON SCHEMA gateway TO securemail_gateway;
    GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA gateway TO securemail_gateway;
    GRANT UPDATE, DELETE ON gateway.work, gateway.register, gateway.transmission, gateway.blob, gateway.blob_chunk TO securemail_gateway;
    GRANT UPDATE ON gateway.outgoing, gateway.incoming TO securemail_gateway;
    GRANT DELETE ON gateway.route_rule, gateway.secrecy_permission, gateway.outgoing_document TO securemail_gateway;
  END IF;
END $$;
