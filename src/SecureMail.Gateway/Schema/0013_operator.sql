-- expands only: nodes of the build before go on working on it
-- Who acts from the command line and the Unix socket until there are accounts: one random id for this gateway. Entries of the ledger name it as their actor.
CREATE TABLE gateway.operator (
  actor   uuid NOT NULL DEFAULT gen_random_uuid(),
  is_one  boolean PRIMARY KEY DEFAULT true CHECK (is_one)
);
INSERT INTO gateway.operator DEFAULT VALUES;

DO $$ BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'securemail_gateway') THEN
    GRANT SELECT ON gateway.operator TO securemail_gateway;
  END IF;
END $$;
