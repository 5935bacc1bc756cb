-- expands only: nodes of the build before go on working on it
-- What an agency's reader can do, by the latest message that it signed (RFC 8551 §2.5.2): object identifiers, the one preferred first. Only a later
-- signature replaces what stands here, so an old message that is sent again changes nothing.
CREATE TABLE gateway.capability (
  agency_id    uuid PRIMARY KEY,
  algorithms   text[] NOT NULL CHECK (cardinality(algorithms) <= 64),
  signed_at    timestamptz NOT NULL,
  certificate  bytea NOT NULL CHECK (octet_length(certificate) = 32),  -- SHA-256 of the signer's
  -- What stood here before the last change, for the comparison that is made under the row's lock. NULL: nothing, or the directory's word was the later.
  before       text[]
);

-- Which cipher a dispatch was encrypted with, and which of its readers stood in the way of the best. NULL: an older node composed it.
ALTER TABLE gateway.outgoing ADD COLUMN cipher text, ADD COLUMN cipher_limited_by uuid[];

DO $$ BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'securemail_gateway') THEN
    GRANT SELECT, INSERT, UPDATE ON gateway.capability TO securemail_gateway;
  END IF;
END $$;
