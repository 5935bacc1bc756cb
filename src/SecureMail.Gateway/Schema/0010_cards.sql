-- expands only: nodes of the build before go on working on it
-- A card is what a register lists of a dispatch (number, subject, parties), encrypted in the row: SecureMail.Storage's CardCipher. NULL: a node of an
-- older build wrote the row, or the content is erased; the register then reads the manifest.
ALTER TABLE gateway.outgoing ADD COLUMN card bytea, ADD COLUMN card_key text, ADD CHECK ((card IS NULL) = (card_key IS NULL));
ALTER TABLE gateway.incoming ADD COLUMN card bytea, ADD COLUMN card_key text, ADD CHECK ((card IS NULL) = (card_key IS NULL));

-- The card goes with the content, whichever build erases it.
CREATE FUNCTION gateway.erase_card() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.card := NULL;
  NEW.card_key := NULL;
  RETURN NEW;
END $$;
CREATE TRIGGER card_erased BEFORE UPDATE OF erased_at ON gateway.outgoing
  FOR EACH ROW WHEN (NEW.erased_at IS NOT NULL) EXECUTE FUNCTION gateway.erase_card();
CREATE TRIGGER card_erased BEFORE UPDATE OF erased_at ON gateway.incoming
  FOR EACH ROW WHEN (NEW.erased_at IS NOT NULL) EXECUTE FUNCTION gateway.erase_card();

-- Rotation of the storage key looks for cards under an older key.
CREATE INDEX outgoing_card_key ON gateway.outgoing (card_key) WHERE card_key IS NOT NULL;
CREATE INDEX incoming_card_key ON gateway.incoming (card_key) WHERE card_key IS NOT NULL;
