-- expands only: nodes of the build before go on working on it
-- A gateway that was restored from a backup: closed until its peers have shown that nothing of its ledger is missing.
CREATE TABLE gateway.restoration (
  restoration_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  restored_at     timestamptz NOT NULL,
  ledger_size     bigint NOT NULL CHECK (ledger_size >= 0),
  mail_since      timestamptz NOT NULL,   -- from when on peers are asked to send again
  state           text NOT NULL CHECK (state IN ('asking', 'proven')),
  proven_at       timestamptz,
  entry_id        bigint,
  CHECK ((state = 'proven') = (proven_at IS NOT NULL AND entry_id IS NOT NULL))
);
CREATE UNIQUE INDEX restoration_open ON gateway.restoration (state) WHERE state = 'asking';

-- What each peer of the directory answered. consistent: our tree has the root that it holds. ahead: it holds more than we have. fork: another root.
-- excused: an operator goes on without it, which stands in the ledger.
CREATE TABLE gateway.restoration_peer (
  restoration_id  bigint NOT NULL REFERENCES gateway.restoration,
  peer            text NOT NULL,
  state           text NOT NULL CHECK (state IN ('waiting', 'consistent', 'ahead', 'fork', 'excused')),
  held_size       bigint CHECK (held_size >= 0),
  held_note       bytea,
  missing_since   timestamptz,            -- when the peer first saw something that we do not have
  problem         text,
  asked_at        timestamptz,
  resend_asked_at timestamptz,
  resend_count    int,
  PRIMARY KEY (restoration_id, peer)
);

-- What a restored peer asked us to send again; each time once.
CREATE TABLE gateway.resend_request (
  peer        text NOT NULL,
  since       timestamptz NOT NULL,
  asked_at    timestamptz NOT NULL DEFAULT now(),
  count       int NOT NULL CHECK (count >= 0),
  PRIMARY KEY (peer, since)
);

-- Sent again because the recipient's gateway lost it; the state it has reached stays what it is.
ALTER TABLE gateway.transmission ADD COLUMN resend_at timestamptz;

DO $$ BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'securemail_gateway') THEN
    GRANT SELECT, INSERT, UPDATE ON gateway.restoration, gateway.restoration_peer, gateway.resend_request TO securemail_gateway;
  END IF;
END $$;
