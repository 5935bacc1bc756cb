-- expands only: nodes of the build before go on working on it
-- Timers that mail depends on, as rows of work that fall due again and again; and the jobs that a person starts, with their progress.

-- NULL: work that ends. Else the row is a timer, on the gateway itself: done, it falls due again after so long. Each kind of timer has one row.
ALTER TABLE gateway.work ADD COLUMN period interval;
ALTER TABLE gateway.work ADD CONSTRAINT work_period_check CHECK (period > interval '0');
ALTER TABLE gateway.work DROP CONSTRAINT work_kind_check;
ALTER TABLE gateway.work ADD CONSTRAINT work_kind_check CHECK (kind IN ('seal', 'send', 'judge', 'receipt', 'overdue', 'peer-alarms', 'lost-jobs'));

-- What runs in the background beside the mail. A row is the guard of its job: whoever is told to do it, however often, does it while it holds the lease.
--   requested ──lease──▶ running ──▶ done | failed
--       ▲                  │ stopped, lease run out
--       └──────────────────┘ a recurring job has one row and begins again from any end
CREATE TABLE gateway.job (
  job_id        uuid PRIMARY KEY,
  kind          text NOT NULL CHECK (kind IN ('retention', 'storage-rotation', 'ledger-verification', 'ledger-export', 'base-backup')),
  state         text NOT NULL DEFAULT 'requested' CHECK (state IN ('requested', 'running', 'done', 'failed')),
  argument      text,                -- of storage-rotation: the name of the key
  requested_at  timestamptz NOT NULL DEFAULT now(),
  requested_by  uuid,                -- the person; NULL: the gateway itself, or the command line
  started_at    timestamptz,
  ended_at      timestamptz,
  runs          int NOT NULL DEFAULT 0 CHECK (runs >= 0),
  done          bigint NOT NULL DEFAULT 0 CHECK (done >= 0),
  total         bigint CHECK (total >= 0),
  result        jsonb,
  reason        text,
  lease_owner   text,
  lease_until   timestamptz,
  CHECK ((state = 'running') = (lease_owner IS NOT NULL AND lease_until IS NOT NULL)),
  CHECK ((state IN ('done', 'failed')) = (ended_at IS NOT NULL)),
  CHECK ((state = 'done') <= (started_at IS NOT NULL AND result IS NOT NULL)),
  CHECK ((state = 'failed') = (reason IS NOT NULL))
);
-- Asked for twice, a job is done once: of each kind and argument one is not at its end.
CREATE UNIQUE INDEX job_open ON gateway.job (kind, coalesce(argument, '')) WHERE state IN ('requested', 'running');
CREATE INDEX job_newest ON gateway.job (requested_at DESC);

-- As before, with the leases of jobs.
CREATE OR REPLACE FUNCTION gateway.note_step(before_at timestamptz, after_at timestamptz, noted_by text) RETURNS boolean LANGUAGE plpgsql AS $$
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
    UPDATE gateway.job SET lease_until = lease_until + delta WHERE state = 'running' AND lease_until < note_step.after_at;
    -- The step is noted up to a look after it happened: what lies at the end of what was leapt over may be due now, by the clock that is. Early costs one try, late costs the leap.
    UPDATE gateway.work SET run_at = run_at + delta WHERE state = 'ready' AND run_at > note_step.before_at AND run_at < note_step.after_at - interval '1 minute';
    UPDATE gateway.destination SET not_before = not_before + delta WHERE not_before > note_step.before_at AND not_before < note_step.after_at - interval '1 minute';
  ELSE
    -- No lease is longer than a minute: what ends later was written before the clock went back.
    UPDATE gateway.work SET lease_until = greatest(now(), lease_until + delta) WHERE state = 'leased' AND lease_until > now() + interval '1 minute';
    UPDATE gateway.job SET lease_until = greatest(now(), lease_until + delta) WHERE state = 'running' AND lease_until > now() + interval '1 minute';
    -- What was due stays due. A retry that was put off since then comes early: that costs one try.
    UPDATE gateway.work SET run_at = greatest(now(), run_at + delta) WHERE state = 'ready' AND run_at > now();
    UPDATE gateway.destination SET not_before = greatest(now(), not_before + delta) WHERE not_before > now();
    UPDATE gateway.destination SET last_failure_at = last_failure_at + delta WHERE last_failure_at > now();
  END IF;
  RETURN true;
END
$$;

DO $$ BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'securemail_gateway') THEN
    GRANT SELECT, INSERT, UPDATE, DELETE ON gateway.job TO securemail_gateway;
  END IF;
END $$;
