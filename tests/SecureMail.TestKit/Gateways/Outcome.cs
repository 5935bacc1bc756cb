using Npgsql;
using SecureMail.Ledger;
using SecureMail.LedgerStore;

namespace SecureMail.TestKit;

/// <summary>What must hold when everything has calmed down, whatever failed before: each accepted dispatch once in each
/// inbox, acknowledged, in both ledgers; nothing left over.</summary>
internal static class Outcome
{
    /// <summary>The dispatch lies in the inbox of each addressee exactly once, and its sender has each
    /// receipt.</summary>
    public static async Task DeliveredOnceAsync(
        RunningGateway sender, IReadOnlyDictionary<string, RunningGateway> recipients, Guid dispatch)
    {
        await sender.OutgoingAsync(dispatch, d =>
            d.State == "queued"
            && d.Recipients.Count(r => recipients.ContainsKey(r.Code) && r.State == "acknowledged") == recipients.Count
        );
        foreach (var (code, gateway) in recipients)
        {
            var places = await ListAsync(
                gateway.Owner,
                $"""
                SELECT place || ' ' || count(*) FROM gateway.incoming
                WHERE kind = 'dispatch' AND dispatch_id = '{dispatch}' AND agency_id = '{await AgencyAsync(
                    gateway,
                    code
                )}' AND place <> 'duplicate' GROUP BY place
                """
            );
            places.ShouldBe(["inbox 1"], $"{dispatch} at {code}");
            (
                await EntriesAsync(
                    gateway,
                    "message.judged",
                    $"SELECT incoming_id::text FROM gateway.incoming WHERE dispatch_id = '{dispatch}' AND place = 'inbox' AND agency_id = '{await AgencyAsync(gateway, code)}'"
                )
            ).ShouldBe(1);
        }

        (await EntriesAsync(sender, "dispatch.accepted", $"SELECT '{dispatch}'")).ShouldBe(1);
        (await EntriesAsync(sender, "dispatch.signed", $"SELECT '{dispatch}'")).ShouldBe(1);
        (
            await EntriesAsync(
                sender,
                "dispatch.acknowledged",
                $"SELECT transmission_id::text FROM gateway.transmission WHERE kind = 'dispatch' AND dispatch_id = '{dispatch}'"
            )
        ).ShouldBe(recipients.Count);
    }

    /// <summary>Nothing is under way any more, nothing lies about, registers have no gaps, and the ledgers hold, also
    /// against what the peers have kept of them.</summary>
    public static async Task NothingLeftAsync(params IReadOnlyList<RunningGateway> gateways)
    {
        foreach (var gateway in gateways)
        {
            await TwoGateways.EventuallyAsync(
                async () =>
                    await gateway.ScalarAsync<long>(
                        "SELECT (SELECT count(*) FROM gateway.work WHERE period IS NULL) + (SELECT count(*) FROM ledger.pending)") == 0
                        ? ""
                        : null,
                $"{gateway.Node.Name} to have nothing to do: {string.Join(", ", await ListAsync(gateway.Owner, "SELECT kind || ' ' || state || ' ' || coalesce(last_error, '') FROM gateway.work WHERE period IS NULL"))}"
            );
            (await gateway.ScalarAsync<long>(OrphanBlobs)).ShouldBe(0, "blobs that no row names");
            (
                await gateway.ScalarAsync<long>(
                    "SELECT count(*) FROM gateway.blob_chunk c WHERE NOT EXISTS (SELECT FROM gateway.blob b WHERE b.blob_id = c.blob_id)"
                )
            ).ShouldBe(0);
            (await gateway.ScalarAsync<long>(OrphanHeads)).ShouldBe(
                0, "heads of messages that are gone, or that nobody gets");
            (
                await ListAsync(
                    gateway.Owner,
                    """
                    SELECT r.agency_id::text FROM gateway.register r WHERE r.direction = 'incoming'
                      AND r.last <> (SELECT count(*) FROM gateway.incoming i WHERE i.agency_id = r.agency_id AND i.arrival_year = r.year AND i.arrival_number IS NOT NULL)
                    """
                )
            ).ShouldBeEmpty("arrival numbers with gaps");
            (await gateway.ScalarAsync<long>("SELECT count(*) FROM ledger.alarm")).ShouldBe(0, "ledger alarms");
            var report = await LedgerVerifier.VerifyAsync(
                gateway.Node.Database.Source, gateway.Node.Identity.Ledger.Verifier,
                await HeldAsync(gateways.Where(g => g != gateway), gateway), CancellationToken.None);
            report.Problems.ShouldBeEmpty();
        }
    }

    // A blob is named by the row it belongs to; one that is not was left by a transaction that should not have been
    // committed.
    private const string OrphanBlobs = """
        SELECT count(*) FROM gateway.blob b WHERE erased_at IS NULL AND NOT EXISTS (
          SELECT FROM gateway.outgoing WHERE b.blob_id IN (manifest_blob, message_blob) UNION ALL SELECT FROM gateway.outgoing_document WHERE blob_id = b.blob_id
          UNION ALL SELECT FROM gateway.transmission WHERE message_blob = b.blob_id UNION ALL SELECT FROM gateway.received WHERE blob_id = b.blob_id
          UNION ALL SELECT FROM gateway.incoming WHERE manifest_blob = b.blob_id UNION ALL SELECT FROM gateway.incoming_document WHERE blob_id = b.blob_id)
        """;

    private const string OrphanHeads = """
        SELECT count(*) FROM gateway.message_head h JOIN gateway.blob b ON b.blob_id = h.message_blob WHERE b.erased_at IS NOT NULL OR NOT EXISTS (
          SELECT FROM gateway.transmission t WHERE t.message_blob = h.message_blob AND t.head_gateway = h.gateway)
        """;

    private static async Task<List<Checkpoint>> HeldAsync(IEnumerable<RunningGateway> peers, RunningGateway of)
    {
        List<Checkpoint> held = [];
        foreach (var peer in peers)
        {
            using var written = new MemoryStream();
            await using var connection = await peer.Node.Database.Source.OpenConnectionAsync();
            await LedgerExporter.WriteSeenAsync(connection, of.Node.Name, written, CancellationToken.None);
            written.Position = 0;
            held.AddRange(await LedgerExport.ReadSeenAsync(written, CancellationToken.None));
        }

        return held;
    }

    private static async Task<Guid> AgencyAsync(RunningGateway gateway, string code) =>
        (await gateway.Node.Directory.CurrentAsync(CancellationToken.None)).FindEverByCode(code)!.Id;

    private static async Task<long> EntriesAsync(RunningGateway gateway, string kind, string objects) =>
        await gateway.ScalarAsync<long>(
            $"SELECT count(*) FROM ledger.entry WHERE kind = '{kind}' AND object IN ({objects})");

    public static async Task<List<string>> ListAsync(string owner, string sql)
    {
        await using var connection = new NpgsqlConnection(owner);
        await connection.OpenAsync();
        await using var command = new NpgsqlCommand(sql, connection);
        await using var reader = await command.ExecuteReaderAsync();
        List<string> rows = [];
        while (await reader.ReadAsync())
        {
            rows.Add(reader.GetString(0));
        }

        return rows;
    }
}
