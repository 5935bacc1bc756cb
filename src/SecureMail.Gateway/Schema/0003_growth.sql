-- expands only: nodes of the build before go on working on it
-- Growth: what is kept for how long, what was destroyed and why, and a year of octets in a table of its own. Columns are added and tables keep their names:
-- nodes of the build before go on working.

-- In the order in which the flows take them: a node at work waits, and seldom meets this in a circle.
LOCK TABLE gateway.blob_chunk, gateway.blob, gateway.received, gateway.outgoing, gateway.transmission, gateway.incoming, gateway.work IN ACCESS EXCLUSIVE MODE;

-- A blob whose key was destroyed is a tombstone: the row stays for those that point to it, its wrapped key is empty and its octets are gone.
ALTER TABLE gateway.blob ADD COLUMN erased_at timestamptz;
ALTER TABLE gateway.outgoing ADD COLUMN message_gone_at timestamptz, ADD COLUMN documents_gone_at timestamptz, ADD COLUMN erased_at timestamptz;
ALTER TABLE gateway.transmission ADD COLUMN message_gone_at timestamptz;
ALTER TABLE gateway.incoming ADD COLUMN mail_gone_at timestamptz, ADD COLUMN erased_at timestamptz;

-- One row for each batch that retention destroyed; its entry in the ledger commits to the counts.
CREATE TABLE gateway.sweep (
  sweep_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  swept_at  timestamptz NOT NULL,
  kind      text NOT NULL,
  rows      bigint NOT NULL CHECK (rows >= 0),
  blobs     bigint NOT NULL CHECK (blobs >= 0),
  octets    bigint NOT NULL CHECK (octets >= 0),
  entry_id  bigint NOT NULL
);
-- Erasures that a person ordered, with the reason given. Appended, never changed.
CREATE TABLE gateway.erasure (
  erasure_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  erased_at   timestamptz NOT NULL,
  subject     uuid NOT NULL,
  direction   text NOT NULL CHECK (direction IN ('outgoing', 'incoming')),
  reason      text NOT NULL CHECK (length(reason) BETWEEN 1 AND 1000),
  ordered_by  text NOT NULL,
  entry_id    bigint NOT NULL,
  UNIQUE (direction, subject)
);

-- The lists of the console, newest first, and the story of a dispatch: sequential scans after a year without these.
CREATE INDEX outgoing_newest ON gateway.outgoing (accepted_at, dispatch_id);
CREATE INDEX incoming_by_agency ON gateway.incoming (agency_id, incoming_id);
CREATE INDEX incoming_by_place ON gateway.incoming (place, incoming_id);
CREATE INDEX incoming_dispatch ON gateway.incoming (dispatch_id);
CREATE INDEX incoming_received ON gateway.incoming (received_id);
CREATE INDEX transmission_dispatch ON gateway.transmission (dispatch_id);
-- What retention still has to look at, oldest first. A row leaves the index when its octets went.
CREATE INDEX outgoing_message_kept ON gateway.outgoing (queued_at) WHERE state = 'queued' AND message_gone_at IS NULL;
CREATE INDEX transmission_receipt_kept ON gateway.transmission (queued_at) WHERE kind = 'receipt' AND message_gone_at IS NULL;
CREATE INDEX incoming_mail_kept ON gateway.incoming (place, recorded_at) WHERE state = 'recorded' AND mail_gone_at IS NULL;

-- Octets in partitions of a year: blob ids are UUIDv7 (RFC 9562 §5.7), so their order is the order of time. Within its year what is destroyed makes room
-- for what comes; a year of which nothing is left is dropped. Not by month: what is kept a month and what is kept for ever come mixed, and the holes
-- of a closed partition are never filled again.
CREATE FUNCTION gateway.uuid_at(at timestamptz) RETURNS uuid LANGUAGE sql IMMUTABLE AS
  $$ SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid $$;
REVOKE ALL ON FUNCTION gateway.uuid_at(timestamptz) FROM PUBLIC;

SET CONSTRAINTS ALL IMMEDIATE;
ALTER TABLE gateway.blob_chunk RENAME TO blob_chunk_first;
ALTER TABLE gateway.blob_chunk_first RENAME CONSTRAINT blob_chunk_pkey TO blob_chunk_first_pkey;
CREATE TABLE gateway.blob_chunk (LIKE gateway.blob_chunk_first INCLUDING CONSTRAINTS INCLUDING STORAGE) PARTITION BY RANGE (blob_id);
ALTER TABLE gateway.blob_chunk ADD PRIMARY KEY (blob_id, n);
ALTER TABLE gateway.blob_chunk ADD FOREIGN KEY (blob_id) REFERENCES gateway.blob ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED;
CREATE TABLE gateway.blob_chunk_default PARTITION OF gateway.blob_chunk DEFAULT;
DO $$
DECLARE
  bound uuid := gateway.uuid_at(date_trunc('year', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' + interval '1 year');
BEGIN
  -- Written by a clock that was years ahead: few or none.
  INSERT INTO gateway.blob_chunk_default SELECT * FROM gateway.blob_chunk_first WHERE blob_id >= bound;
  SET CONSTRAINTS ALL IMMEDIATE;
  DELETE FROM gateway.blob_chunk_first WHERE blob_id >= bound;
  EXECUTE format('ALTER TABLE gateway.blob_chunk ATTACH PARTITION gateway.blob_chunk_first FOR VALUES FROM (MINVALUE) TO (%L)', bound);
END
$$;

-- Space that retention frees is found again soon, not when a fifth of the table is dead.
ALTER TABLE gateway.blob_chunk_first SET (autovacuum_vacuum_scale_factor = 0.01, toast.autovacuum_vacuum_scale_factor = 0.01);
ALTER TABLE gateway.blob SET (autovacuum_vacuum_scale_factor = 0.02);
ALTER TABLE gateway.work SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000);

-- Makes the partitions of this year and the next; answers how many. As ledger.make_partitions: for the recurring work, which may make no tables itself.
CREATE FUNCTION gateway.make_partitions() RETURNS int LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '3s' AS $$
DECLARE
  made int := 0;
  year int := extract(year FROM now() AT TIME ZONE 'UTC');
  low uuid;
  high uuid;
  name text;
BEGIN
  PERFORM pg_advisory_xact_lock(5932061857205641326);
  FOR y IN year .. year + 1 LOOP
    name := 'blob_chunk_' || y;
    low := gateway.uuid_at(make_timestamptz(y, 1, 1, 0, 0, 0, 'UTC'));
    high := gateway.uuid_at(make_timestamptz(y + 1, 1, 1, 0, 0, 0, 'UTC'));
    -- The year of the migration lies in the first partition.
    CONTINUE WHEN to_regclass('gateway.' || name) IS NOT NULL OR EXISTS (
      SELECT FROM pg_class c WHERE c.oid = to_regclass('gateway.blob_chunk_first') AND low < substring(pg_get_expr(c.relpartbound, c.oid) FROM 'TO \(''([0-9a-f-]+)''\)')::uuid);
    EXECUTE format('CREATE TABLE gateway.%I (LIKE gateway.blob_chunk INCLUDING ALL) WITH (autovacuum_vacuum_scale_factor = 0.01, toast.autovacuum_vacuum_scale_factor = 0.01)', name);
    EXECUTE format('INSERT INTO gateway.%I SELECT * FROM gateway.blob_chunk_default WHERE blob_id >= %L AND blob_id < %L', name, low, high);
    EXECUTE format('DELETE FROM gateway.blob_chunk_default WHERE blob_id >= %L AND blob_id < %L', low, high);
    EXECUTE format('ALTER TABLE gateway.blob_chunk ATTACH PARTITION gateway.%I FOR VALUES FROM (%L) TO (%L)', name, low, high);
    made := made + 1;
  END LOOP;
  RETURN made;
END
$$;

-- Drops years of which no octets are left; never the default, never a year that still goes on. Answers how many.
CREATE FUNCTION gateway.drop_empty_partitions() RETURNS int LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '3s' AS $$
DECLARE
  dropped int := 0;
  part record;
  full_one boolean;
BEGIN
  PERFORM pg_advisory_xact_lock(5932061857205641326);
  FOR part IN
    SELECT c.oid::regclass AS name FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'gateway.blob_chunk'::regclass
      AND substring(pg_get_expr(c.relpartbound, c.oid) FROM 'TO \(''([0-9a-f-]+)''\)')::uuid <= gateway.uuid_at(date_trunc('year', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC')
  LOOP
    -- Looked at without a lock first: a year that is full, which is the rule, is passed over at once.
    EXECUTE format('SELECT EXISTS (SELECT FROM %s)', part.name) INTO full_one;
    CONTINUE WHEN full_one;
    EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', part.name);
    EXECUTE format('SELECT EXISTS (SELECT FROM %s)', part.name) INTO full_one;
    CONTINUE WHEN full_one;
    EXECUTE format('DROP TABLE %s', part.name);
    dropped := dropped + 1;
  END LOOP;
  RETURN dropped;
END
$$;

REVOKE ALL ON FUNCTION gateway.make_partitions(), gateway.drop_empty_partitions() FROM PUBLIC;
DO $$ BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'securemail_gateway') THEN
    GRANT SELECT, INSERT, UPDATE, DELETE ON gateway.blob_chunk TO securemail_gateway;
    REVOKE ALL ON gateway.blob_chunk_first FROM securemail_gateway;
    GRANT SELECT, INSERT ON gateway.sweep, gateway.erasure TO securemail_gateway;
    GRANT UPDATE (salt) ON gateway.received TO securemail_gateway;
    GRANT DELETE ON gateway.alarm TO securemail_gateway;
    GRANT EXECUTE ON FUNCTION gateway.make_partitions(), gateway.drop_empty_partitions() TO securemail_gateway;
  END IF;
END $$;
SELECT gateway.make_partitions();
