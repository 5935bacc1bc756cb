-- When a person asked for the work again. One act frees many rows; it permits one try of what was latched (a refused PIN), not one for each row.
ALTER TABLE gateway.work DROP COLUMN acted;
ALTER TABLE gateway.work ADD COLUMN acted_at timestamptz;
