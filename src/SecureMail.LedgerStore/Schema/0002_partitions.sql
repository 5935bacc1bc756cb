-- expands only: nodes of the build before go on working on it
-- Entries in partitions of two million ids, so that no table and no index grows without end, and years of them can be
-- moved to other storage as files are. Nothing is copied: the table that was becomes the first partition. Name, columns, rights and the sequence's name stay as they were, for
-- nodes of the build before.

ALTER TABLE ledger.entry RENAME TO entry_first;
ALTER TABLE ledger.entry_first RENAME CONSTRAINT entry_pkey TO entry_first_pkey;
ALTER INDEX ledger.entry_object RENAME TO entry_first_object;

CREATE TABLE ledger.entry (LIKE ledger.entry_first INCLUDING CONSTRAINTS INCLUDING STORAGE) PARTITION BY RANGE (entry_id);
ALTER TABLE ledger.entry ADD PRIMARY KEY (entry_id);
CREATE INDEX entry_object ON ledger.entry (object, entry_id DESC);
-- What no partition was made for in time is taken all the same.
CREATE TABLE ledger.entry_default PARTITION OF ledger.entry DEFAULT;

-- PostgreSQL 15 has no identity columns in partitions: a sequence of the same name goes on where the other one stood.
DO $$
DECLARE
  span constant bigint := 2000000;
  next bigint;
BEGIN
  SELECT CASE WHEN is_called THEN last_value + 1 ELSE last_value END INTO next FROM ledger.entry_entry_id_seq;
  SELECT greatest(next, coalesce(max(entry_id), 0) + 1) INTO next FROM ledger.entry_first;
  ALTER TABLE ledger.entry_first ALTER COLUMN entry_id DROP IDENTITY;
  EXECUTE format('CREATE SEQUENCE ledger.entry_entry_id_seq AS bigint START %s OWNED BY ledger.entry.entry_id', next);
  ALTER TABLE ledger.entry ALTER COLUMN entry_id SET DEFAULT nextval('ledger.entry_entry_id_seq');
  EXECUTE format('ALTER TABLE ledger.entry ATTACH PARTITION ledger.entry_first FOR VALUES FROM (MINVALUE) TO (%s)', (next / span + 1) * span);
END
$$;

-- Makes the partitions of the next four million ids. Called by the gateway's recurring work, which may not make tables itself. What went into the default
-- partition meanwhile is put where it belongs. A lock that is not had in three seconds is for the next call: nobody shall queue up behind this one.
CREATE FUNCTION ledger.make_partitions() RETURNS int LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '3s' AS $$
DECLARE
  span constant bigint := 2000000;
  made int := 0;
  lower bigint;
  wanted bigint;
  name text;
BEGIN
  PERFORM pg_advisory_xact_lock(5932061857205641325);
  SELECT last_value + 2 * span INTO wanted FROM ledger.entry_entry_id_seq;
  LOOP
    SELECT max(substring(pg_get_expr(c.relpartbound, c.oid) FROM 'TO \(''(\d+)''\)')::bigint) INTO lower
      FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'ledger.entry'::regclass;
    EXIT WHEN lower > wanted;
    name := 'entry_' || lower;
    EXECUTE format('CREATE TABLE ledger.%I (LIKE ledger.entry INCLUDING ALL EXCLUDING DEFAULTS)', name);
    EXECUTE format('INSERT INTO ledger.%I SELECT * FROM ledger.entry_default WHERE entry_id >= %s AND entry_id < %s', name, lower, lower + span);
    EXECUTE format('DELETE FROM ledger.entry_default WHERE entry_id >= %s AND entry_id < %s', lower, lower + span);
    EXECUTE format('ALTER TABLE ledger.entry ATTACH PARTITION ledger.%I FOR VALUES FROM (%s) TO (%s)', name, lower, lower + span);
    made := made + 1;
  END LOOP;
  RETURN made;
END
$$;

-- Thins what grows with every checkpoint and proves nothing that a later one does not: of what is older, the last of each day is kept. A cosignature over a
-- larger tree covers the smaller; a verified checkpoint of a peer is joined to the next one. Kept always: the newest, the first seen of a peer, every
-- checkpoint that is cosigned, everything of a size with two roots (the evidence of a fork), and what waits for its proof.
CREATE FUNCTION ledger.thin(older interval, OUT checkpoints bigint, OUT cosignatures bigint, OUT peer_checkpoints bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '3s' SET timezone = 'UTC' AS $$
BEGIN
  IF older < interval '7 days' THEN
    RAISE EXCEPTION 'what is younger than seven days is not thinned';
  END IF;
  DELETE FROM ledger.cosignature WHERE (size, cosigner) IN (
    SELECT c.size, c.cosigner FROM ledger.cosignature c
    WHERE c.stated < now() - older AND EXISTS (
      SELECT FROM ledger.cosignature n WHERE n.cosigner = c.cosigner AND n.size > c.size AND n.stated::date = c.stated::date)
    LIMIT 10000);
  GET DIAGNOSTICS cosignatures = ROW_COUNT;
  DELETE FROM ledger.checkpoint WHERE size IN (
    SELECT c.size FROM ledger.checkpoint c
    WHERE c.time < now() - older AND NOT EXISTS (SELECT FROM ledger.cosignature k WHERE k.size = c.size)
      AND (SELECT n.time::date FROM ledger.checkpoint n WHERE n.size > c.size ORDER BY n.size LIMIT 1) = c.time::date
    LIMIT 10000);
  GET DIAGNOSTICS checkpoints = ROW_COUNT;
  DELETE FROM ledger.peer_checkpoint WHERE (origin, size, root) IN (
    SELECT p.origin, p.size, p.root FROM ledger.peer_checkpoint p
    WHERE p.state = 'verified' AND p.seen_at < now() - older
      AND (SELECT n.seen_at::date FROM ledger.peer_checkpoint n WHERE n.origin = p.origin AND n.state = 'verified' AND n.size > p.size ORDER BY n.size LIMIT 1) = p.seen_at::date
      AND EXISTS (SELECT FROM ledger.peer_checkpoint f WHERE f.origin = p.origin AND f.state = 'verified' AND f.size < p.size)
      AND NOT EXISTS (SELECT FROM ledger.peer_checkpoint f WHERE f.origin = p.origin AND f.size = p.size AND f.root <> p.root)
    LIMIT 10000);
  GET DIAGNOSTICS peer_checkpoints = ROW_COUNT;
END
$$;
CREATE INDEX cosignature_of ON ledger.cosignature (cosigner, size);
CREATE INDEX checkpoint_time ON ledger.checkpoint (time);

-- Emptied as fast as it is filled.
ALTER TABLE ledger.pending SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000);

REVOKE ALL ON FUNCTION ledger.make_partitions(), ledger.thin(interval) FROM PUBLIC;
DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'securemail_gateway') THEN
    REVOKE ALL ON ledger.entry_first FROM securemail_gateway;
    GRANT SELECT, INSERT ON ledger.entry TO securemail_gateway;
    GRANT USAGE ON SEQUENCE ledger.entry_entry_id_seq TO securemail_gateway;
    GRANT EXECUTE ON FUNCTION ledger.make_partitions(), ledger.thin(interval) TO securemail_gateway;
  END IF;
END
$$;
SELECT ledger.make_partitions();
