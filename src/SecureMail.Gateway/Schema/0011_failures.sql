-- expands only: nodes of the build before go on working on it
-- How many attempts in a row ended in an unexpected exception or with the process that made them. Work that a handler put back by itself starts again
-- from 0. attempts cannot serve for this, because it counts every try, also those that waited for a token.
ALTER TABLE gateway.work ADD COLUMN failures int NOT NULL DEFAULT 0 CHECK (failures >= 0);

-- Health asks each few seconds whether anything lies dead.
CREATE INDEX work_dead ON gateway.work (work_id) WHERE state = 'dead';
