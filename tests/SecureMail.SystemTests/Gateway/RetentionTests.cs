using System.Text;
using Dapper;
using Microsoft.Extensions.Logging.Abstractions;
using Npgsql;
using SecureMail.Exchange;
using SecureMail.Gateway.Retention;
using SecureMail.Gateway.Vocabulary;
using SecureMail.LedgerStore;
using SecureMail.Mail.Smtp.Client;
using SecureMail.Storage;
using Xunit.Abstractions;

namespace SecureMail.SystemTests.Gateway;

/// <summary>What is destroyed when its time is over, and what never is: each kind by its own term, shared octets with
/// the last, open business not at all.</summary>
public sealed class RetentionTests(PostgresFixture postgres, ITestOutputHelper output)
    : IClassFixture<PostgresFixture>
{
    // The gateway's own recurring sweep would take a share.
    private static readonly RetentionOptions Never = new()
    {
        Composed = null,
        Receipts = null,
        Quarantine = null,
        Duplicates = null,
        DeadWork = null,
        Alarms = null,
        Checkpoints = null,
    };

    private Task<TwoGateways> StartAsync() =>
        TwoGateways.StartAsync(postgres, a => a with { Retention = Never }, b => b with { Retention = Never });

    [Fact]
    public async Task Each_kind_goes_at_its_own_term_and_what_is_open_is_never_taken()
    {
        await using var pair = await StartAsync();
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
        var replayed = await Octets.ReadAsync(
            await pair.B.Node.Incoming.OpenReceivedAsync(first.Id, CancellationToken.None));
        var duplicate = await SharedPair.DeliverAsync(pair, replayed);
        var aside = await SharedPair.DeliverAsync(
            pair, Encoding.ASCII.GetBytes("From: a@b.test\r\nSubject: x\r\n\r\nnobody signed this\r\n"));
        (duplicate.Disposition, aside.Disposition).ShouldBe(("duplicate", "quarantine"));
        await pair.A.Probe.WaitUntilQuietAsync();
        await pair.B.Probe.WaitUntilQuietAsync();
        // Of the second dispatch no receipt ever came.
        await pair.A.Probe.Outgoing.ForgetReceiptsAsync(null, open);
        await AgeAsync(pair.A, 400);
        await AgeAsync(pair.B, 400);

        var (a, b) = (
            await pair.A.SweepAsync(new RetentionOptions()), await pair.B.SweepAsync(new RetentionOptions()));
        (a["composed"], a["receipts"], a["documents-out"]).ShouldBe((1, 0, 0));
        (b["duplicates"], b["quarantine"], b["receipts-sent"], b["documents-in"]).ShouldBe((1, 1, 2, 0));
        (await pair.A.Node.Outgoing.FindAsync(closed, CancellationToken.None))!.MessageBlob.ShouldBeNull();
        (await pair.A.Node.Outgoing.FindAsync(open, CancellationToken.None))!.MessageBlob.ShouldNotBeNull();
        foreach (var gone in new[] { duplicate.Id, aside.Id })
        {
            await Should.ThrowAsync<ContentErasedException>(() =>
                pair.B.Node.Incoming.OpenReceivedAsync(gone, CancellationToken.None));
        }

        (
            await Octets.ReadAsync(
                await pair.B.Node.Incoming.OpenDocumentAsync(first.Id, 1, CancellationToken.None))
        ).ShouldBe(
            Encoding.UTF8.GetBytes("Nội dung công văn"));
        (await pair.B.Probe.Content.ErasedChunksAsync()).ShouldBe(0);
        (await pair.B.SweepAsync(new RetentionOptions())).Values.Sum().ShouldBe(0);

        // The receipt that was signed then is gone: the same dispatch once more is answered with one that says the
        // same.
        var again = await SharedPair.DeliverAsync(pair, replayed);
        again.Disposition.ShouldBe("duplicate");
        await pair.B.Probe.WaitUntilQuietAsync();
        (await pair.B.Probe.Outgoing.KeptReceiptsAsync()).ShouldBe(1);

        // A term for documents: the office's own decision.
        var documents = await pair.B.SweepAsync(new RetentionOptions { Documents = 365 });
        documents["documents-in"].ShouldBe(2);
        (await pair.A.SweepAsync(new RetentionOptions { Documents = 365 }))["documents-out"].ShouldBe(1);
        await Should.ThrowAsync<ContentErasedException>(() =>
            pair.B.Node.Incoming.OpenDocumentAsync(first.Id, 1, CancellationToken.None));
        var listed = (await pair.B.Node.Incoming.ListAsync(null, "inbox", 10, CancellationToken.None)).Single(m =>
            m.Id == first.Id);
        (listed.Card!.Subject, listed.ArrivalNumber).ShouldBe(
            ("V/v triệu tập hội nghị", first.ArrivalNumber));

        var (_, sweeps) = await pair.B.Probe.Content.SweepsAsync();
        foreach (var gateway in new[] { pair.A, pair.B })
        {
            (
                await LedgerVerifier.VerifyAsync(
                    gateway.Node.Database.Source, gateway.Node.Identity.Ledger.Verifier, [], CancellationToken.None)
            ).Problems.ShouldBeEmpty();
        }

        output.WriteLine(
            $"2 dispatches, 1 duplicate, 1 set aside, aged 400 days: {a.Values.Sum() + b.Values.Sum()} taken "
                + $"at their terms, the open one kept, {sweeps} sweeps of B in its ledger"
        );
    }

    [Fact]
    public async Task Octets_that_came_for_two_agencies_go_with_the_last()
    {
        await using var pair = await StartAsync();
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

        await pair.B.Probe.WaitUntilQuietAsync();
        (await pair.B.Probe.Incoming.CountAsync(disposition: Disposition.Quarantine)).ShouldBe(2);
        await pair.B.Probe.Incoming.AgeAsync(TimeSpan.FromDays(181), SharedPair.AnHoaAddress);
        (await pair.B.SweepAsync(new RetentionOptions()))["quarantine"].ShouldBe(1);
        (await pair.B.Probe.Content.ChunksAsync()).ShouldBe(1);
        await pair.B.Probe.Incoming.AgeAsync(TimeSpan.FromDays(181), SharedPair.BinhMinhAddress);
        (await pair.B.SweepAsync(new RetentionOptions()))["quarantine"].ShouldBe(1);
        (await pair.B.Probe.Content.ChunksAsync()).ShouldBe(0);
        output.WriteLine("1 reception for 2 agencies: kept while one wants it, gone with the last");
    }

    [Fact]
    public async Task A_thousand_rows_go_in_bounded_batches_and_a_sweep_that_was_stopped_goes_on()
    {
        // Nobody serves: the gateway's own recurring sweep would take a share.
        await using var pair = await TwoGateways.StartAsync(postgres, run: false);
        const int Many = 1000;
        await pair.B.Probe.Incoming.AddDuplicatesAsync(Many, TimeSpan.FromDays(40));
        using var stop = new CancellationTokenSource();
        var sweeping = pair.B.Sweeper(new RetentionOptions()).RunAsync(stop.Token);
        await TwoGateways.UntilAsync(
            async () => (await pair.B.Probe.Content.SweepsAsync()).Batches > 0,
            "a first batch");
        await stop.CancelAsync();
        await Should.ThrowAsync<OperationCanceledException>(() => sweeping);
        var left = await pair.B.Probe.Content.ChunksAsync();
        var rest = (await pair.B.SweepAsync(new RetentionOptions()))["duplicates"];
        (await pair.B.Probe.Content.ChunksAsync()).ShouldBe(0);
        var (largest, total) = await pair.B.Probe.Content.SweptRowsAsync();
        largest.ShouldBeLessThanOrEqualTo(RetentionSweep.Batch);
        total.ShouldBe(Many);
        rest.ShouldBe(left);
        output.WriteLine(
            $"{Many} duplicates: stopped with {left} left, then {rest} more in batches of at most "
                + $"{RetentionSweep.Batch}"
        );
    }

    private static async Task AgeAsync(RunningGateway gateway, int days)
    {
        await gateway.Probe.Outgoing.AgeAsync(TimeSpan.FromDays(days));
        await gateway.Probe.Incoming.AgeAsync(TimeSpan.FromDays(days));
    }
}
