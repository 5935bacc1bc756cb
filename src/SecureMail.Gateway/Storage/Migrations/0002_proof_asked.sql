-- From which size of its ledger the sender was asked to prove consistency when its session began: 0 when nothing of it had been seen, NULL when it did
-- not ask (HELO). A message whose checkpoint is joined to less than this is kept aside.
ALTER TABLE gateway.received ADD COLUMN proof_asked bigint CHECK (proof_asked >= 0);
