-- expands only: nodes of the build before go on working on it
-- Lanes: the work of one kind that goes to one place. A lane has a share of the slots, and a back-off of its own.
-- Expanding only: a node of the build before knows none of this, leases rows without regard to lanes and writes rows that have none.

-- The gateway that a row's mail goes to. NULL: not known yet (an older node wrote the row); whoever leases it first fills it in.
ALTER TABLE gateway.work ADD COLUMN lane text;
CREATE INDEX work_lane ON gateway.work (kind, lane, run_at) WHERE state = 'ready' AND awaits_entry IS NULL;

-- What is known of a destination. No row: it never failed.
--   open (failures = 0) ──host unreachable──▶ backing off until not_before ──one probe──▶ open again, or backing off for longer
CREATE TABLE gateway.destination (
  lane             text PRIMARY KEY,
  failures         int NOT NULL DEFAULT 0 CHECK (failures >= 0),   -- in a row; those that began before the last one count once
  successes        int NOT NULL DEFAULT 0 CHECK (successes >= 0),  -- since the last failure, up to a small number: how far the lane is open again
  not_before       timestamptz,
  last_error       text,
  last_failure_at  timestamptz,
  last_success_at  timestamptz,
  CHECK ((failures = 0) = (not_before IS NULL)),
  CHECK (failures = 0 OR (last_error IS NOT NULL AND last_failure_at IS NOT NULL))
);

-- When the clerk was told that it is late; once.
ALTER TABLE gateway.transmission ADD COLUMN delayed_at timestamptz;
CREATE INDEX transmission_unsent ON gateway.transmission (queued_at) WHERE state IN ('queued', 'unknown');

-- What the clerk of an agency is told about what it sent, as RFC 3464 reports it. Appended, never changed; it goes with its transmission.
CREATE TABLE gateway.notice (
  notice_id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  raised_at        timestamptz NOT NULL DEFAULT now(),
  agency_id        uuid NOT NULL,
  transmission_id  uuid NOT NULL REFERENCES gateway.transmission ON DELETE CASCADE,
  action           text NOT NULL CHECK (action IN ('delayed', 'failed', 'overdue')),
  reason           text,
  remote           text,         -- the gateway it goes to
  diagnostic       text,         -- what that gateway last said, or what became of the connection
  retry_until      timestamptz,
  CHECK ((action = 'failed') <= (reason IS NOT NULL))
);
CREATE INDEX notice_of ON gateway.notice (transmission_id);
CREATE INDEX notice_listed ON gateway.notice (raised_at DESC);

DO $$ BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'securemail_gateway') THEN
    GRANT SELECT, INSERT ON gateway.destination, gateway.notice TO securemail_gateway;
    GRANT UPDATE ON gateway.destination TO securemail_gateway;
  END IF;
END $$;
