using System.Text;
using Dapper;
using Microsoft.Extensions.Logging.Abstractions;
using Npgsql;
using SecureMail.Exchange;
using SecureMail.Gateway.Retention;
using SecureMail.LedgerStore;
using SecureMail.Mail.Smtp.Client;
using SecureMail.Storage;
using Xunit.Abstractions;

namespace SecureMail.SystemTests.Gateway;

/// <summary>What is destroyed when its time is over, and what never is: each kind by its own term, shared octets with
/// the last, open business not at all.</summary>
[Collection("postgres")]
public sealed class RetentionTests(PostgresFixture postgres, ITestOutputHelper output)
{
    [Fact]
    public async Task Each_kind_goes_at_its_own_term_and_what_is_open_is_never_taken()
    {
        await using var pair = await TwoGateways.StartAsync(postgres);
        await pair.ListeningAsync();
        await TwoGateways.EventuallyAsync(() => Task.FromResult(pair.B.Node.Directory.Known), "the directory");
        var closed = (
            await pair.A.Node.SubmitAsync(TwoGateways.Submission(TwoGateways.AnHoa), CancellationToken.None)
        ).DispatchId;
        var open = (
            await pair.A.Node.SubmitAsync(TwoGateways.Submission(TwoGateways.AnHoa), CancellationToken.None)
        ).DispatchId;
        foreach (var id in new[] { closed, open })
        {
            await pair.A.OutgoingAsync(id, d => d.Recipients.All(r => r.State == "acknowledged"));
        }

        var first = await pair.B.IncomingAsync(m => m.DispatchId == closed);
        var replayed = await ReadAsync(await pair.B.Node.Incoming.OpenReceivedAsync(first.Id, CancellationToken.None));
        var duplicate = await SharedPair.DeliverAsync(pair, replayed);
        var aside = await SharedPair.DeliverAsync(
            pair, Encoding.ASCII.GetBytes("From: a@b.test\r\nSubject: x\r\n\r\nnobody signed this\r\n"));
        (duplicate.Disposition, aside.Disposition).ShouldBe(("duplicate", "quarantine"));
        await QuietAsync(pair.A);
        await QuietAsync(pair.B);
        // Of the second dispatch no receipt ever came.
        await ExecuteAsync(
            pair.A,
            $"UPDATE gateway.transmission SET state = 'sent', closed_at = NULL, receipt_event = NULL WHERE dispatch_id = '{open}'"
        );
        await AgeAsync(pair.A, 400);
        await AgeAsync(pair.B, 400);

        var (a, b) = (
            await SweepAsync(pair.A, new RetentionOptions()), await SweepAsync(pair.B, new RetentionOptions()));
        (a["composed"], a["receipts"], a["documents-out"]).ShouldBe((1, 0, 0));
        (b["duplicates"], b["quarantine"], b["receipts-sent"], b["documents-in"]).ShouldBe((1, 1, 2, 0));
        (await pair.A.Node.Outgoing.FindAsync(closed, CancellationToken.None))!.MessageBlob.ShouldBeNull();
        (await pair.A.Node.Outgoing.FindAsync(open, CancellationToken.None))!.MessageBlob.ShouldNotBeNull();
        foreach (var gone in new[] { duplicate.Id, aside.Id })
        {
            await Should.ThrowAsync<ContentErasedException>(() =>
                pair.B.Node.Incoming.OpenReceivedAsync(gone, CancellationToken.None));
        }

        (await ReadAsync(await pair.B.Node.Incoming.OpenDocumentAsync(first.Id, 1, CancellationToken.None))).ShouldBe(
            Encoding.UTF8.GetBytes("Nội dung công văn"));
        (
            await pair.B.ScalarAsync<long>(
                "SELECT count(*) FROM gateway.blob_chunk c JOIN gateway.blob b USING (blob_id) WHERE b.erased_at IS NOT NULL"
            )
        ).ShouldBe(0);
        (await SweepAsync(pair.B, new RetentionOptions())).Values.Sum().ShouldBe(0);

        // The receipt that was signed then is gone: the same dispatch once more is answered with one that says the
        // same.
        var again = await SharedPair.DeliverAsync(pair, replayed);
        again.Disposition.ShouldBe("duplicate");
        await QuietAsync(pair.B);
        (
            await pair.B.ScalarAsync<long>(
                "SELECT count(*) FROM gateway.transmission WHERE kind = 'receipt' AND state = 'sent' AND message_gone_at IS NULL"
            )
        ).ShouldBe(1);

        // A term for documents: the office's own decision.
        var documents = await SweepAsync(pair.B, new RetentionOptions { Documents = 365 });
        documents["documents-in"].ShouldBe(2);
        (await SweepAsync(pair.A, new RetentionOptions { Documents = 365 }))["documents-out"].ShouldBe(1);
        await Should.ThrowAsync<ContentErasedException>(() =>
            pair.B.Node.Incoming.OpenDocumentAsync(first.Id, 1, CancellationToken.None));
        var listed = (await pair.B.Node.Incoming.ListAsync(null, "inbox", 10, CancellationToken.None)).Single(m =>
            m.Id == first.Id);
        (listed.Card!.Subject, listed.ArrivalNumber).ShouldBe(
            ("V/v triệu tập hội nghị", first.ArrivalNumber));

        var sweeps = await pair.B.ScalarAsync<long>(
            "SELECT count(*) FROM gateway.sweep s JOIN ledger.entry e USING (entry_id) WHERE e.kind = 'retention.swept'"
        );
        foreach (var gateway in new[] { pair.A, pair.B })
        {
            (
                await LedgerVerifier.VerifyAsync(
                    gateway.Node.Database.Source, gateway.Node.Identity.Ledger.Verifier, [], CancellationToken.None)
            ).Problems.ShouldBeEmpty();
        }

        output.WriteLine(
            $"2 dispatches, 1 duplicate, 1 set aside, aged 400 days: {a.Values.Sum() + b.Values.Sum()} taken at their terms, the open one kept, {sweeps} sweeps of B in its ledger"
        );
    }

    [Fact]
    public async Task Octets_that_came_for_two_agencies_go_with_the_last()
    {
        await using var pair = await TwoGateways.StartAsync(postgres);
        await pair.ListeningAsync();
        await TwoGateways.EventuallyAsync(() => Task.FromResult(pair.B.Node.Directory.Known), "the directory");
        await using (
            var client = await SmtpClient.ConnectAsync(
                new SmtpClientOptions
                {
                    Host = "127.0.0.1",
                    Port = pair.B.Port,
                    EhloName = "gateway-a.test",
                    RequireTls = true,
                    ClientCertificate = pair.A.Node.Identity.Tls,
                    PinServer = _ => true,
                },
                TimeProvider.System))
        {
            await client.SendAsync(
                null, [SharedPair.AnHoaAddress, SharedPair.BinhMinhAddress],
                new MemoryStream(Encoding.ASCII.GetBytes("From: a@b.test\r\n\r\nfor two\r\n")));
        }

        await QuietAsync(pair.B);
        (await pair.B.ScalarAsync<long>("SELECT count(*) FROM gateway.incoming WHERE place = 'quarantine'")).ShouldBe(
            2);
        await ExecuteAsync(
            pair.B,
            "UPDATE gateway.incoming SET recorded_at = recorded_at - interval '181 days' WHERE address LIKE 'vanthu@anhoa%'"
        );
        (await SweepAsync(pair.B, new RetentionOptions()))["quarantine"].ShouldBe(1);
        (await pair.B.ScalarAsync<long>("SELECT count(*) FROM gateway.blob_chunk")).ShouldBe(1);
        await ExecuteAsync(
            pair.B,
            "UPDATE gateway.incoming SET recorded_at = recorded_at - interval '181 days' WHERE address LIKE 'vanthu@binhminh%'"
        );
        (await SweepAsync(pair.B, new RetentionOptions()))["quarantine"].ShouldBe(1);
        (await pair.B.ScalarAsync<long>("SELECT count(*) FROM gateway.blob_chunk")).ShouldBe(0);
        output.WriteLine("1 reception for 2 agencies: kept while one wants it, gone with the last");
    }

    [Fact]
    public async Task A_thousand_rows_go_in_bounded_batches_and_a_sweep_that_was_stopped_goes_on()
    {
        // Nobody serves: the gateway's own recurring sweep would take a share.
        await using var pair = await TwoGateways.StartAsync(postgres, run: false);
        const int Many = 1000;
        await ExecuteAsync(
            pair.B,
            $"""
            WITH b AS (INSERT INTO gateway.blob (blob_id, length, sha256, storage_key, wrapped_key) SELECT gen_random_uuid(), 10, sha256('x'), 'k', 'wrapped' FROM generate_series(1, {Many}) RETURNING blob_id),
            c AS (INSERT INTO gateway.blob_chunk (blob_id, n, octets) SELECT blob_id, 0, 'sealed' FROM b),
            r AS (INSERT INTO gateway.received (received_id, peer, envelope_from, blob_id, received_at) SELECT gen_random_uuid(), 'p', '', blob_id, now() - interval '40 days' FROM b RETURNING received_id)
            INSERT INTO gateway.incoming (incoming_id, received_id, agency_id, address, state, kind, place, verdict, entry_id, recorded_at)
            SELECT gen_random_uuid(), received_id, gen_random_uuid(), '', 'recorded', 'dispatch', 'duplicate', 'valid', 1, now() - interval '40 days' FROM r
            """
        );
        using var stop = new CancellationTokenSource();
        var sweeping = Sweeper(pair.B, new RetentionOptions()).RunAsync(stop.Token);
        await TwoGateways.EventuallyAsync(
            async () => await pair.B.ScalarAsync<long>("SELECT count(*) FROM gateway.sweep") > 0 ? "swept" : null,
            "a first batch");
        await stop.CancelAsync();
        await Should.ThrowAsync<OperationCanceledException>(() => sweeping);
        var left = await pair.B.ScalarAsync<long>("SELECT count(*) FROM gateway.blob_chunk");
        var rest = (await SweepAsync(pair.B, new RetentionOptions()))["duplicates"];
        (await pair.B.ScalarAsync<long>("SELECT count(*) FROM gateway.blob_chunk")).ShouldBe(0);
        (await pair.B.ScalarAsync<long>("SELECT max(rows) FROM gateway.sweep")).ShouldBeLessThanOrEqualTo(
            RetentionSweep.Batch);
        (await pair.B.ScalarAsync<decimal>("SELECT sum(rows) FROM gateway.sweep")).ShouldBe(Many);
        rest.ShouldBe(left);
        output.WriteLine(
            $"{Many} duplicates: stopped with {left} left, then {rest} more in batches of at most {RetentionSweep.Batch}"
        );
    }

    internal static RetentionSweep Sweeper(RunningGateway gateway, RetentionOptions options) =>
        new(gateway.Node.Database, options, TimeProvider.System, NullLogger<RetentionSweep>.Instance);

    internal static Task<IReadOnlyDictionary<string, long>> SweepAsync(
        RunningGateway gateway, RetentionOptions options) => Sweeper(gateway, options).RunAsync(CancellationToken.None);

    /// <summary>Waits until nothing is to be done and everything is covered.</summary>
    internal static Task QuietAsync(RunningGateway gateway) =>
        TwoGateways.EventuallyAsync(
            async () =>
                await gateway.ScalarAsync<long>(
                    "SELECT (SELECT count(*) FROM gateway.work WHERE period IS NULL) + (SELECT count(*) FROM ledger.pending) + (SELECT count(*) FROM gateway.incoming WHERE state = 'received')"
                ) == 0
                    ? "quiet"
                    : null,
            "a quiet gateway");

    private static Task AgeAsync(RunningGateway gateway, int days) =>
        ExecuteAsync(
            gateway,
            $"""
            UPDATE gateway.outgoing SET accepted_at = accepted_at - interval '{days} days', queued_at = queued_at - interval '{days} days';
            UPDATE gateway.transmission SET queued_at = queued_at - interval '{days} days', closed_at = closed_at - interval '{days} days';
            UPDATE gateway.incoming SET recorded_at = recorded_at - interval '{days} days';
            """
        );

    internal static async Task ExecuteAsync(RunningGateway gateway, string sql)
    {
        await using var connection = new NpgsqlConnection(gateway.Owner);
        await connection.ExecuteAsync(sql);
    }

    internal static async Task<byte[]> ReadAsync(Stream stream)
    {
        await using (stream)
        {
            using var all = new MemoryStream();
            await stream.CopyToAsync(all);
            return all.ToArray();
        }
    }
}
