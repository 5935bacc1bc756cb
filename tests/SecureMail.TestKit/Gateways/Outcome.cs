using SecureMail.Gateway.Vocabulary;
using SecureMail.Ledger;
using SecureMail.LedgerStore;

namespace SecureMail.TestKit;

/// <summary>What must hold when everything has calmed down, whatever failed before: each accepted dispatch once in each
/// inbox, acknowledged, in both ledgers; nothing left over.</summary>
internal static class Outcome
{
    /// <summary>The dispatch lies in the inbox of each addressee exactly once, and its sender has each
    /// receipt.</summary>
    /// <param name="validations">How often it was validated with another result.</param>
    public static async Task DeliveredOnceAsync(
        RunningGateway sender, IReadOnlyDictionary<string, RunningGateway> recipients, Guid dispatch,
        int validations = 1)
    {
        await sender.OutgoingAsync(dispatch, d =>
            d.State == "queued"
            && d.Recipients.Count(r => recipients.ContainsKey(r.Code) && r.State == "acknowledged") == recipients.Count
        );
        foreach (var (code, gateway) in recipients)
        {
            var agency = await AgencyAsync(gateway, code);
            var came = await gateway.Probe.Incoming.DispositionsAsync(dispatch, agency, MessageKind.Dispatch);
            came.Where(d => d.Key != Disposition.Duplicate)
                .ShouldBe([KeyValuePair.Create(Disposition.Inbox, 1L)], $"{dispatch} at {code}");
            var message = (await gateway.Probe.Incoming.InInboxAsync(dispatch, agency)).ShouldHaveSingleItem();
            (await gateway.Probe.Ledger.EntriesOfAsync(EntryKind.MessageValidated, message)).ShouldBe(validations);
        }

        (await sender.Probe.Ledger.EntriesOfAsync(EntryKind.DispatchAccepted, dispatch)).ShouldBe(1);
        (await sender.Probe.Ledger.EntriesOfAsync(EntryKind.DispatchSigned, dispatch)).ShouldBe(1);
        var transmissions = await sender.Probe.Outgoing.TransmissionsOfAsync(dispatch);
        (await sender.Probe.Ledger.EntriesOfAsync(EntryKind.DispatchAcknowledged, [.. transmissions])).ShouldBe(
            recipients.Count);
    }

    /// <summary>Nothing is under way any more, nothing lies about, registers have no gaps, and the ledgers hold, also
    /// against what the peers have kept of them.</summary>
    public static async Task NothingLeftAsync(params IReadOnlyList<RunningGateway> gateways)
    {
        foreach (var gateway in gateways)
        {
            await gateway.Probe.WaitUntilQuietAsync();
            (await gateway.Probe.Content.OrphansAsync()).ShouldBe(0, "contents that no row names");
            (await gateway.Probe.Content.OrphanChunksAsync()).ShouldBe(0);
            (await gateway.Probe.Outgoing.OrphanPrefixesAsync()).ShouldBe(
                0, "lists of recipients of messages that are gone, or that nobody gets");
            (await gateway.Probe.Incoming.ArrivalGapsAsync()).ShouldBeEmpty("arrival numbers with gaps");
            (await gateway.Probe.Ledger.PeerAlarmsAsync()).ShouldBe(0, "alarms about peers' ledgers");
            var report = await LedgerVerifier.VerifyAsync(
                gateway.Node.Database.Source, gateway.Node.Identity.Ledger.Verifier,
                await HeldAsync(gateways.Where(g => g != gateway), gateway), CancellationToken.None);
            report.Problems.ShouldBeEmpty();
        }
    }

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
}
