-- Versions that changed who may sign the next one. Each is signed by those whom the one before named, so the column is no secret and no proof: it saves reading the others.
ALTER TABLE gateway.directory ADD COLUMN sets_publishers boolean NOT NULL DEFAULT false;
