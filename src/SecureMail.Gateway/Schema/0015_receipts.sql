-- Receipts are a sequence: arrived or held, then registered or returned. What comes in waits for a person, who takes it in (tiếp nhận) and so draws its arrival number.

ALTER TABLE gateway.transmission
  ADD COLUMN receipt_seq int NOT NULL DEFAULT 0 CHECK (receipt_seq >= 0),   -- of a receipt: which one of its dispatch, from 1. Of a dispatch: 0
  ADD COLUMN answer_seq int CHECK (answer_seq > 0),                         -- of a dispatch: the highest receipt that came; the rest is of that one
  ADD COLUMN answer_state text CHECK (answer_state IN ('arrived', 'held', 'registered', 'returned', 'destroyed')),
  ADD COLUMN answer_digest bytea CHECK (octet_length(answer_digest) = 32),  -- over what it says, without its time and its evidence
  ADD COLUMN arrival_number int CHECK (arrival_number > 0),
  ADD CHECK (answer_seq IS NULL OR kind = 'dispatch' AND answer_digest IS NOT NULL),
  ADD CHECK ((kind = 'receipt') = (receipt_seq > 0)) NOT VALID;
UPDATE gateway.transmission SET receipt_seq = 1 WHERE kind = 'receipt';
ALTER TABLE gateway.transmission DROP CONSTRAINT transmission_kind_dispatch_id_agency_id_recipient_code_key;
CREATE UNIQUE INDEX transmission_once ON gateway.transmission (kind, dispatch_id, agency_id, recipient_code, receipt_seq);
ALTER TABLE gateway.transmission DROP CONSTRAINT transmission_state_check;
ALTER TABLE gateway.transmission ADD CONSTRAINT transmission_state_check
  CHECK (state IN ('waiting', 'queued', 'sent', 'unknown', 'held', 'acknowledged', 'refused', 'failed'));
ALTER TABLE gateway.transmission ADD CHECK (state <> 'held' OR kind = 'dispatch' AND reason IS NOT NULL);

ALTER TABLE gateway.incoming
  ADD COLUMN registered_at timestamptz,
  ADD COLUMN receipt_seq int NOT NULL DEFAULT 0 CHECK (receipt_seq >= 0),    -- the receipts that fell due; 0: none
  ADD COLUMN receipt_entry bigint,                                           -- the entry that the last one proves
  ADD COLUMN receipt_digest bytea CHECK (octet_length(receipt_digest) = 32), -- SHA-256 of the last one that was signed
  ADD COLUMN receipt_prior bytea CHECK (octet_length(receipt_prior) = 32);   -- SHA-256 of the one before the last, as it was signed
-- Before, the gateway drew the number of what it let in.
UPDATE gateway.incoming SET registered_at = recorded_at WHERE arrival_number IS NOT NULL;
UPDATE gateway.incoming i SET receipt_seq = 1, receipt_entry = i.entry_id
WHERE EXISTS (SELECT FROM gateway.transmission t WHERE t.kind = 'receipt' AND t.dispatch_id = i.dispatch_id AND t.agency_id = i.agency_id)
  OR EXISTS (SELECT FROM gateway.work w WHERE w.kind = 'receipt' AND w.subject = i.incoming_id);
DO $$ DECLARE inbox text; BEGIN
  SELECT conname INTO STRICT inbox FROM pg_constraint
  WHERE conrelid = 'gateway.incoming'::regclass AND contype = 'c' AND pg_get_constraintdef(oid) LIKE '%arrival_number IS NOT NULL%';
  EXECUTE format('ALTER TABLE gateway.incoming DROP CONSTRAINT %I', inbox);
END $$;
ALTER TABLE gateway.incoming
  ADD CHECK ((place = 'inbox') <= (dispatch_id IS NOT NULL AND sender_id IS NOT NULL AND manifest_blob IS NOT NULL)),
  ADD CHECK ((registered_at IS NULL) = (arrival_number IS NULL));
