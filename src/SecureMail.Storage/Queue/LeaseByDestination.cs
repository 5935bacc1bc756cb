namespace SecureMail.Storage.Queue;

/// <summary>How much of a node one destination may take.</summary>
/// <param name="PerDestination">Rows of one destination at once on this node.</param>
/// <param name="Probes">Probes of all destinations that back off, together. However many destinations hang, the other
/// slots stay for those that answer.</param>
public sealed record DestinationLimits(int PerDestination, int Probes);

/// <summary>
/// Which rows of a kind that has destinations may be leased now. An open destination gives rows up to its share of this
/// node. A destination that backs off gives one row, when its time has come and no node is at it. A row without a
/// destination is taken as it comes, and its handler says where it goes.
/// </summary>
/// <remarks>
/// This is one statement, so that it sees one moment. By the index on (kind, lane, run_at) it touches only the first
/// rows of each destination, so that ten thousand rows behind a dead destination cost nothing.
/// </remarks>
internal static class LeaseByDestination
{
    /// <summary>The statement's beginning: rows to lease as <c>pick(work_id)</c>. Takes @kind, @owner and @lease. The
    /// limits are literals, because with parameters the planner does not use the partial index.</summary>
    public static string Pick(int most, DestinationLimits limits) =>
        $"""
        WITH RECURSIVE lanes AS (
          -- PostgreSQL has no skip scan: each step finds the next destination by one descent of the index.
          (
            SELECT lane FROM gateway.work
            WHERE kind = @kind AND state = '{WorkState.Ready}' AND awaits_entry IS NULL AND lane IS NOT NULL
            ORDER BY lane LIMIT 1
          )
          UNION ALL
          SELECT (
            SELECT w.lane FROM gateway.work w
            WHERE w.kind = @kind AND w.state = '{WorkState.Ready}' AND w.awaits_entry IS NULL AND w.lane > l.lane
            ORDER BY w.lane LIMIT 1)
          FROM lanes l WHERE l.lane IS NOT NULL
        ), under_way AS (
          -- A batch is one piece of work, however many rows it has.
          SELECT lane,
            count(DISTINCT coalesce(batch::text, work_id::text)) FILTER (WHERE lease_owner = @owner) AS here
          FROM gateway.work
          WHERE state = '{WorkState.Leased}' AND kind = @kind AND lane IS NOT NULL
          GROUP BY lane
        ), candidate AS (
          -- After a failure a destination may have one row more than it has had successes.
          SELECT l.lane, coalesce(d.failures, 0) > 0 AS probe,
            least({limits.PerDestination}, coalesce(d.successes + 1, {limits.PerDestination}))
              - coalesce(u.here, 0) AS share
          FROM lanes l LEFT JOIN gateway.destination d USING (lane) LEFT JOIN under_way u USING (lane)
          WHERE l.lane IS NOT NULL
            AND (coalesce(d.failures, 0) = 0 OR (d.not_before <= now() AND u.lane IS NULL))
            AND EXISTS (
              SELECT FROM gateway.work w
              WHERE w.kind = @kind AND w.lane = l.lane AND w.state = '{WorkState.Ready}'
                AND w.awaits_entry IS NULL AND w.run_at <= now())
        ), claimed AS (
          -- The probe is claimed on the destination's row, so that of two nodes one has it. If the node dies, the probe
          -- is due again when the claim ends.
          UPDATE gateway.destination SET not_before = now() + @lease
          WHERE lane IN (
            SELECT d.lane FROM gateway.destination d JOIN candidate c USING (lane)
            WHERE c.probe AND d.not_before <= now()
            ORDER BY d.not_before
            LIMIT (
              SELECT greatest(0, least({most}, {limits.Probes} - count(*)))
              FROM under_way u JOIN gateway.destination f USING (lane)
              WHERE f.failures > 0 AND u.here > 0)
            FOR UPDATE OF d SKIP LOCKED)
          RETURNING lane
        ), open AS (
          SELECT lane, 1 AS share, true AS probe FROM claimed
          UNION ALL SELECT lane, share, false FROM candidate WHERE NOT probe AND share > 0
        ), unknown AS MATERIALIZED (
          SELECT work_id, run_at FROM gateway.work
          WHERE kind = @kind AND state = '{WorkState.Ready}' AND awaits_entry IS NULL AND lane IS NULL
            AND run_at <= now()
          ORDER BY run_at LIMIT {most} FOR UPDATE SKIP LOCKED
        ), known AS MATERIALIZED (
          SELECT w.work_id, w.run_at, o.probe,
            row_number() OVER (PARTITION BY o.lane ORDER BY w.run_at) <= o.share AS within
          FROM open o CROSS JOIN LATERAL (
            SELECT work_id, run_at FROM gateway.work
            WHERE kind = @kind AND lane = o.lane AND state = '{WorkState.Ready}' AND awaits_entry IS NULL
              AND run_at <= now()
            ORDER BY run_at LIMIT {limits.PerDestination} FOR UPDATE SKIP LOCKED) w
        ), pick AS MATERIALIZED (
          SELECT work_id FROM (
            SELECT work_id, run_at, probe FROM known WHERE within
            UNION ALL SELECT work_id, run_at, false FROM unknown) due
          ORDER BY probe DESC, run_at LIMIT {most}
        )
        """;
}
