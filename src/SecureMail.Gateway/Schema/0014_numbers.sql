-- A number is a value in a series: 36-HD/VPTW, 036-HD/VPTW and 36-hd/vptw are one. A series is that of one body, one type of document and one period: a year,
-- or a term of the committee. Body and type are written in capitals (NFC) without blanks.

-- How a body of an agency numbers. Without a row: per type and calendar year of Vietnam.
CREATE TABLE gateway.numbering (
  agency_id  uuid NOT NULL,
  body       text NOT NULL,
  terms      date[] NOT NULL,      -- the days on which a term begins, rising; empty: per year
  one_series boolean NOT NULL,     -- all types share one series, as those of a congress
  entry_id   bigint NOT NULL,
  PRIMARY KEY (agency_id, body)
);

CREATE TABLE gateway.number_series (
  agency_id  uuid NOT NULL,
  body       text NOT NULL,
  type       text NOT NULL,        -- empty: one series for all types
  period     text NOT NULL,        -- a year (2026), or the day on which a term began (2025-10-16)
  last       bigint NOT NULL CHECK (last >= 0),
  PRIMARY KEY (agency_id, body, type, period)
);

ALTER TABLE gateway.outgoing
  ADD COLUMN number_body text, ADD COLUMN number_type text, ADD COLUMN number_period text, ADD COLUMN number_value bigint;
WITH read AS (
  SELECT dispatch_id, regexp_match(number_text, '^([0-9]+)([-/])(.*)$') AS part FROM gateway.outgoing),
written AS (
  SELECT dispatch_id, part[1]::bigint AS value, CASE part[2] WHEN '-' THEN '/' ELSE '-' END AS between,
    upper(normalize(replace(part[3], ' ', ''), NFC) COLLATE "und-x-icu") AS notation
  FROM read)
UPDATE gateway.outgoing o
SET number_value = w.value, number_period = o.number_year::text,
  number_type = CASE WHEN strpos(w.notation, w.between) = 0 THEN '' ELSE split_part(w.notation, w.between, 1) END,
  number_body = substr(w.notation, strpos(w.notation, w.between) + 1)
FROM written w WHERE w.dispatch_id = o.dispatch_id;
-- 36-HD/VPTW and 036-HD/VPTW were two numbers before: the later ones keep what is printed, and stand in a series of their own.
WITH twice AS (
  SELECT dispatch_id, row_number() OVER (
    PARTITION BY agency_id, number_body, number_type, number_period, number_value ORDER BY accepted_at, dispatch_id) AS n
  FROM gateway.outgoing)
UPDATE gateway.outgoing o SET number_period = o.number_period || '#' || t.n FROM twice t WHERE t.dispatch_id = o.dispatch_id AND t.n > 1;
ALTER TABLE gateway.outgoing
  ALTER COLUMN number_body SET NOT NULL, ALTER COLUMN number_type SET NOT NULL, ALTER COLUMN number_period SET NOT NULL, ALTER COLUMN number_value SET NOT NULL,
  DROP COLUMN number_year;
CREATE UNIQUE INDEX outgoing_number ON gateway.outgoing (agency_id, number_body, number_type, number_period, number_value);
-- Each series goes on behind its highest number, but for what nobody drew.
INSERT INTO gateway.number_series (agency_id, body, type, period, last)
SELECT agency_id, number_body, number_type, number_period, max(number_value) FROM gateway.outgoing
WHERE number_period !~ '#' AND number_value < 1000000 GROUP BY agency_id, number_body, number_type, number_period;
DELETE FROM gateway.register WHERE direction = 'outgoing';

-- Numbers that were drawn and not issued (hủy số), with the reason that a person gave.
CREATE TABLE gateway.cancelled_number (
  agency_id     uuid NOT NULL,
  body          text NOT NULL,
  type          text NOT NULL,
  period        text NOT NULL,
  value         bigint NOT NULL,
  text          text NOT NULL,     -- as printed
  dispatch_id   uuid,              -- the refused dispatch that has it; NULL: it was given on paper, or to nothing
  reason        text NOT NULL,
  cancelled_at  timestamptz NOT NULL,
  entry_id      bigint NOT NULL,
  PRIMARY KEY (agency_id, body, type, period, value)
);

DO $$ BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'securemail_gateway') THEN
    GRANT SELECT, INSERT, UPDATE ON gateway.numbering, gateway.number_series TO securemail_gateway;
    GRANT SELECT, INSERT ON gateway.cancelled_number TO securemail_gateway;
  END IF;
END $$;
