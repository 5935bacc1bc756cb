-- expands only: nodes of the build before go on working on it
-- What a finding rests on, as canonical JSON: text, because its bytes are committed to. Findings of builds before have none.
ALTER TABLE gateway.finding
  ADD COLUMN basis text,
  ADD COLUMN entry_id bigint;              -- the entry of the ledger that commits to the finding

-- What a quarantined message waits for. Only its arrival validates the message again.
ALTER TABLE gateway.incoming
  ADD COLUMN awaits text CHECK (awaits IN ('newer-directory', 'newer-crl', 'ledger-proof', 'opening-key')),
  -- By what it was validated or enqueued last: the version of the directory, crl_id, the number of keys at hand. Of evidence: the size of the
  -- checkpoint that no proof joins yet. NULL: by nothing.
  ADD COLUMN awaits_mark bigint,
  ADD COLUMN signer bytea CHECK (octet_length(signer) = 32),   -- gateway.signer
  ADD CHECK (awaits IS NULL OR place = 'quarantine');
CREATE INDEX incoming_awaits ON gateway.incoming (awaits, incoming_id) WHERE awaits IS NOT NULL;
CREATE INDEX incoming_signer ON gateway.incoming (signer) WHERE signer IS NOT NULL;
UPDATE gateway.incoming SET awaits = 'newer-directory'
WHERE place = 'quarantine' AND reason IN ('SENDER_NOT_IN_DIRECTORY', 'SENDER_BINDING');

-- The CRLs as they came, one row for each that is later than all before it of its scope. A later one has a higher id.
CREATE TABLE gateway.crl (
  crl_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  sha256       bytea NOT NULL UNIQUE CHECK (octet_length(sha256) = 32),
  scope        bytea NOT NULL CHECK (octet_length(scope) = 32),
  this_update  timestamptz NOT NULL,
  arrived_at   timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX crl_latest ON gateway.crl (scope, this_update DESC);

-- The certificates that signed what lies in an inbox, to be looked up in each CRL that comes.
CREATE TABLE gateway.signer (
  signer         bytea PRIMARY KEY CHECK (octet_length(signer) = 32),   -- SHA-256 of the certificate
  certificate    bytea NOT NULL,
  revoked_since  timestamptz,                                           -- as a CRL says whose signature is verified later
  looked_up_in   bigint NOT NULL DEFAULT 0                              -- the highest crl_id that it was looked up in
);
CREATE INDEX signer_to_look_up ON gateway.signer (looked_up_in) WHERE revoked_since IS NULL;

ALTER TABLE gateway.work DROP CONSTRAINT work_kind_check;
ALTER TABLE gateway.work ADD CONSTRAINT work_kind_check
  CHECK (kind IN ('seal', 'send', 'judge', 'receipt', 'overdue', 'peer-alarms', 'lost-jobs', 'judge-again', 'awaited-arrivals'));

DO $$ BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'securemail_gateway') THEN
    GRANT SELECT, INSERT ON gateway.crl TO securemail_gateway;
    GRANT SELECT, INSERT, UPDATE ON gateway.signer TO securemail_gateway;
  END IF;
END $$;
