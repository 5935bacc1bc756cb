-- expands only: nodes of the build before go on working on it
-- One dispatch to many gateways is encrypted once; each gateway gets a head of its own before the one ciphertext, with its own agencies' recipients and nobody else's.
-- The blob stays the whole message, its head for everybody: what a node of the build before writes and sends is that, as ever.

-- What a gateway's copy begins with; the blob's octets from cut on follow it. Ciphertext and public fields, so not sealed. Gone when the blob's octets go.
CREATE TABLE gateway.message_head (
  message_blob  uuid NOT NULL REFERENCES gateway.blob ON DELETE CASCADE,
  gateway       text NOT NULL,
  cut           bigint NOT NULL CHECK (cut > 0),
  head          bytea NOT NULL,
  PRIMARY KEY (message_blob, gateway)
);
ALTER TABLE gateway.message_head ALTER COLUMN head SET STORAGE EXTERNAL;

-- Which of its message's heads has this recipient. It stays that one when the agency moves to another gateway. NULL: only the whole message has it (a dispatch to
-- one gateway, a receipt, a row of a node of the build before).
ALTER TABLE gateway.transmission ADD COLUMN head_gateway text;

DO $$ BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'securemail_gateway') THEN
    GRANT SELECT, INSERT, DELETE ON gateway.message_head TO securemail_gateway;
  END IF;
END $$;
