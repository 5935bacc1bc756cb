-- expands only: nodes of the build before go on working on it
-- Clocks that were wrong: what they did, and how spans of time are measured all the same.

-- Each step of the database's clock: what it would have shown, and what it showed. Appended, never changed.
CREATE TABLE gateway.clock_step (
  step_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  before_at  timestamptz NOT NULL,
  after_at   timestamptz NOT NULL,
  noted_by   text NOT NULL,
  CHECK (before_at <> after_at)
);

-- One row for each anomaly from its beginning to its end; of each clock one at a time, however often it jumps meanwhile.
CREATE TABLE gateway.clock_anomaly (
  anomaly_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  subject      text NOT NULL,              -- whose clock: node:<id>, database, peer:<gateway>
  kind         text NOT NULL CHECK (kind IN ('stepped', 'apart', 'peer')),
  seconds      double precision NOT NULL,  -- by how much, at its beginning
  began_at     timestamptz NOT NULL DEFAULT now(),
  began_entry  bigint NOT NULL,
  ended_at     timestamptz,
  ended_entry  bigint,
  CHECK ((ended_at IS NULL) = (ended_entry IS NULL))
);
CREATE UNIQUE INDEX clock_anomaly_open ON gateway.clock_anomaly (subject) WHERE ended_at IS NULL;

-- The time before which a row must have been written to be of that age. What the clock has leapt over has not passed: it is not counted, so nothing is
-- overdue, given up or swept because of a leap. A leap that was taken back counts for nothing. In doubt a row is taken to be younger, never older.
CREATE FUNCTION gateway.cutoff(age interval) RETURNS timestamptz LANGUAGE sql STABLE AS $$
  SELECT now() - age - greatest(interval '0', coalesce((SELECT sum(after_at - before_at) FROM gateway.clock_step WHERE greatest(before_at, after_at) > now() - age), interval '0'))
$$;
REVOKE ALL ON FUNCTION gateway.cutoff(interval) FROM PUBLIC;

-- A step of the database's clock, noted once by whoever sees it first; the times that lie ahead of it (leases, retries, back-offs) go with
-- it, so that what was to wait ten more seconds waits ten more seconds. Answers false when it was noted already.
CREATE FUNCTION gateway.note_step(before_at timestamptz, after_at timestamptz, noted_by text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
  delta interval := note_step.after_at - note_step.before_at;
BEGIN
  PERFORM pg_advisory_xact_lock(5932061857205641328);
  IF EXISTS (SELECT FROM gateway.clock_step s WHERE abs(extract(epoch FROM s.after_at - note_step.after_at)) < 10 AND abs(extract(epoch FROM (s.after_at - s.before_at) - delta)) < 5) THEN
    RETURN false;
  END IF;
  INSERT INTO gateway.clock_step (before_at, after_at, noted_by) VALUES (note_step.before_at, note_step.after_at, note_step.noted_by);
  IF delta > interval '0' THEN
    -- Written before the leap: it lies before its end.
    UPDATE gateway.work SET lease_until = lease_until + delta WHERE state = 'leased' AND lease_until < note_step.after_at;
    -- The step is noted up to a look after it happened: what lies at the end of what was leapt over may be due now, by the clock that is. Early costs one try, late costs the leap.
    UPDATE gateway.work SET run_at = run_at + delta WHERE state = 'ready' AND run_at > note_step.before_at AND run_at < note_step.after_at - interval '1 minute';
    UPDATE gateway.destination SET not_before = not_before + delta WHERE not_before > note_step.before_at AND not_before < note_step.after_at - interval '1 minute';
  ELSE
    -- No lease is longer than a minute: what ends later was written before the clock went back.
    UPDATE gateway.work SET lease_until = greatest(now(), lease_until + delta) WHERE state = 'leased' AND lease_until > now() + interval '1 minute';
    -- What was due stays due. A retry that was put off since then comes early: that costs one try.
    UPDATE gateway.work SET run_at = greatest(now(), run_at + delta) WHERE state = 'ready' AND run_at > now();
    UPDATE gateway.destination SET not_before = greatest(now(), not_before + delta) WHERE not_before > now();
    UPDATE gateway.destination SET last_failure_at = last_failure_at + delta WHERE last_failure_at > now();
  END IF;
  RETURN true;
END
$$;
REVOKE ALL ON FUNCTION gateway.note_step(timestamptz, timestamptz, text) FROM PUBLIC;

DO $$ BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'securemail_gateway') THEN
    GRANT SELECT, INSERT ON gateway.clock_step, gateway.clock_anomaly TO securemail_gateway;
    GRANT UPDATE (ended_at, ended_entry) ON gateway.clock_anomaly TO securemail_gateway;
    GRANT EXECUTE ON FUNCTION gateway.cutoff(interval), gateway.note_step(timestamptz, timestamptz, text) TO securemail_gateway;
  END IF;
END $$;
