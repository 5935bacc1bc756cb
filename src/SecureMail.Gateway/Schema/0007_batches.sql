-- expands only: nodes of the build before go on working on it
-- Rows that can be done in one go: one dispatch to several agencies behind one gateway is one mail with several recipients.
-- NULL: by itself (an older node wrote the row). A node of the build before leases and does each row by itself, as ever.
ALTER TABLE gateway.work ADD COLUMN batch uuid;
CREATE INDEX work_batch ON gateway.work (kind, lane, batch) WHERE state = 'ready' AND awaits_entry IS NULL AND batch IS NOT NULL;
