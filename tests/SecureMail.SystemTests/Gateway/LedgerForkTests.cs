using System.Text;
using System.Text.Json;
using Npgsql;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Ledger;
using SecureMail.LedgerStore;
using SecureMail.Storage;

namespace SecureMail.SystemTests.Gateway;

/// <summary>What two gateways hold of each other's ledgers: honest traffic is joined whatever overtakes it, and a
/// rewritten past does not pass.</summary>
public sealed class LedgerForkTests(PostgresFixture postgres) : IClassFixture<PostgresFixture>
{
    [Fact]
    public async Task A_rewritten_ledger_is_exposed_by_its_next_message()
    {
        await using var pair = await TwoGateways.StartAsync(postgres);
        await ExchangeAsync(pair, TwoGateways.AnHoa);
        await RewriteAsync(pair);
        (await ProblemsAsync(pair.A, [])).ShouldBeEmpty("rewritten well, it looks whole to itself");

        var answer = await pair.A.Node.SubmitAsync(TwoGateways.Submission(TwoGateways.AnHoa), CancellationToken.None);
        var message = await pair.B.IncomingAsync(m => m.DispatchId == answer.DispatchId && m.State == "recorded");
        (message.Verdict, message.Disposition, message.Reason, message.ArrivalNumber).ShouldBe(
            ("valid", "quarantine", "LEDGER_FORK", null));
        (await pair.B.Node.Ledger.AlarmsAsync(CancellationToken.None)).ShouldContain(a =>
            a.Kind == "fork" && a.Subject == "gateway-a.test");
        (await pair.B.Probe.Outgoing.TransmissionsAsync(dispatch: answer.DispatchId)).ShouldBe(0, "no receipt");

        // What B holds of A, given to A's own auditor.
        (await ProblemsAsync(pair.A, await SeenAsync(pair.B, "gateway-a.test"))).ShouldNotBeEmpty();
        (await RunAsync(pair, pair.A, 1, "ledger", "verify", "--seen", await SeenFileAsync(pair))).ShouldNotBeEmpty();
    }

    [Fact]
    public async Task A_rewritten_ledger_that_keeps_silent_about_its_past_does_not_pass()
    {
        await using var pair = await TwoGateways.StartAsync(postgres);
        await ExchangeAsync(pair, TwoGateways.AnHoa);
        var first = (await SeenAsync(pair.B, "gateway-a.test")).Max(c => c.Size);
        await ExchangeAsync(pair, TwoGateways.AnHoa);
        await RewriteAsync(pair);

        var silent = new TestDispatch(pair);
        var (mail, manifest) = await silent.ComposeAsync();
        var entry = await silent.CommitAsync(mail, manifest);
        var message = await SharedPair.DeliverAsync(
            pair, TestMail.WithField(await TestMail.EvidenceAsync(pair.A, entry, asker: null), mail.Message));
        (message.Verdict, message.Disposition, message.Reason).ShouldBe(("valid", "quarantine", "LEDGER_EVIDENCE"));
        first.ShouldBeGreaterThan(0);
    }

    [Fact]
    public async Task A_proof_from_an_older_size_than_was_asked_for_does_not_pass()
    {
        await using var pair = await TwoGateways.StartAsync(postgres);
        await ExchangeAsync(pair, TwoGateways.AnHoa);
        var older = (await SeenAsync(pair.B, "gateway-a.test")).Max(c => c.Size);
        await ExchangeAsync(pair, TwoGateways.AnHoa);

        var dispatch = new TestDispatch(pair);
        var (mail, manifest) = await dispatch.ComposeAsync();
        var entry = await dispatch.CommitAsync(mail, manifest);
        await TestMail.EvidenceAsync(pair.A, entry, asker: null);
        await using var connection = await pair.A.Node.Database.Source.OpenConnectionAsync();
        var evidence = await EvidenceBuilder.BuildAsync(connection, entry, [older], [], CancellationToken.None);
        evidence.Consistency.Keys.ShouldBe([older]);
        (await SharedPair.DeliverAsync(pair, TestMail.WithField(evidence, mail.Message))).Reason.ShouldBe(
            "LEDGER_EVIDENCE");

        // An honest message is what it always was.
        await ExchangeAsync(pair, TwoGateways.AnHoa);
    }

    [Fact]
    public async Task Fifty_dispatches_at_once_all_arrive_and_both_ledgers_stay_joined()
    {
        await using var pair = await TwoGateways.StartAsync(postgres);
        var answers = await Task.WhenAll(
            Enumerable
                .Range(0, 50)
                .Select(_ =>
                    pair.A.Node.SubmitAsync(
                        TwoGateways.Submission(TwoGateways.AnHoa, TwoGateways.BinhMinh), CancellationToken.None)));
        answers.Select(a => a.Number).Distinct().Count().ShouldBe(50);
        await TwoGateways.UntilAsync(
            async () => await pair.A.Probe.Outgoing.TransmissionsAsync([TransmissionState.Acknowledged]) == 100,
            "100 receipts");
        (await pair.B.Probe.Incoming.DispositionsAsync()).ShouldBe(
            new Dictionary<string, long> { [Disposition.Inbox] = 100 });
        (await pair.A.Probe.Incoming.DispositionsAsync()).Keys.ShouldBe([Disposition.Matched]);

        await ExchangeAsync(pair, TwoGateways.AnHoa);
        foreach (var (gateway, peer) in new[] { (pair.A, pair.B), (pair.B, pair.A) })
        {
            (await gateway.Probe.Ledger.UnprovenAsync()).ShouldBe(0, gateway.Node.Name);
            (await gateway.Probe.Ledger.PeerAlarmsAsync()).ShouldBe(0);
            (await gateway.Probe.Ledger.CosignaturesAsync()).ShouldBeGreaterThan(0);
            // Its own tree, its peer's cosignatures over it, and every checkpoint that the peer ever saw of it.
            (await ProblemsAsync(gateway, await SeenAsync(peer, gateway.Node.Name))).ShouldBeEmpty();
        }
    }

    [Fact]
    public async Task Each_gateway_holds_the_others_cosignatures()
    {
        await using var pair = await TwoGateways.StartAsync(postgres);
        await ExchangeAsync(pair, TwoGateways.AnHoa);
        // A's cosignature over B's ledger rides on A's next dispatch.
        await ExchangeAsync(pair, TwoGateways.AnHoa);
        (await RunAsync(pair, pair.A, 0, "ledger", "head", "--all")).ShouldContain("— gateway-b.test ");
        (await RunAsync(pair, pair.B, 0, "ledger", "head", "--all")).ShouldContain("— gateway-a.test ");
    }

    private static async Task ExchangeAsync(TwoGateways pair, params string[] recipients)
    {
        var answer = await pair.A.Node.SubmitAsync(TwoGateways.Submission(recipients), CancellationToken.None);
        await pair.A.OutgoingAsync(answer.DispatchId, d => d.Recipients.All(r => r.State == "acknowledged"));
    }

    /// <summary>What the demo shows: all of A's ledger made anew in its database and signed with its own key.</summary>
    private async Task RewriteAsync(TwoGateways pair)
    {
        // What is under way must not append while the script works.
        await pair.A.Probe.WaitUntilQuietAsync();
        var database = new NpgsqlConnectionStringBuilder(pair.A.Owner).Database!;
        await SoftHsm.RunAsync(
            "python3", Path.Combine(Repository.Root, "scripts", "demo.d", "rewrite_ledger.py"),
            postgres.Cluster.SocketDirectory, Path.Combine(pair.Folder, "a", "keys", "ledger.key"), "-d", database);
    }

    private static async Task<IReadOnlyList<LedgerProblem>> ProblemsAsync(
        RunningGateway gateway, IReadOnlyList<Checkpoint> seen) =>
        (
            await LedgerVerifier.VerifyAsync(
                gateway.Node.Database.Source, gateway.Node.Identity.Ledger.Verifier, seen, CancellationToken.None)
        ).Problems;

    private static Task<List<Checkpoint>> SeenAsync(RunningGateway watcher, string peer) =>
        watcher.Probe.Ledger.SeenOfAsync(peer);

    private static async Task<string> SeenFileAsync(TwoGateways pair)
    {
        var file = Path.Combine(pair.Folder, "seen.jsonl");
        await File.WriteAllTextAsync(file, await RunAsync(pair, pair.B, 0, "ledger", "seen", "gateway-a.test"));
        return file;
    }

    /// <summary>The command line on the database of a gateway that runs; answers what it wrote to either
    /// stream.</summary>
    private static async Task<string> RunAsync(
        TwoGateways pair, RunningGateway gateway, int exit, params string[] arguments)
    {
        var folder = Directory.CreateTempSubdirectory("smcli").FullName;
        try
        {
            var config = Path.Combine(folder, "securemail.json");
            await File.WriteAllTextAsync(
                config,
                JsonSerializer.Serialize(
                    new
                    {
                        gateway.Node.Name,
                        Data = Path.Combine(pair.Folder, gateway == pair.A ? "a" : "b"),
                        Database = new { Connection = PostgresFixture.AsGateway(gateway.Owner) },
                        Directory = new { Publisher = Path.Combine(TwoGateways.Pki, "publisher.pem") },
                        Trust = new { Anchors = new[] { Path.Combine(TwoGateways.Pki, "root.pem") } },
                    }));
            using var process = System.Diagnostics.Process.Start(
                new System.Diagnostics.ProcessStartInfo(
                    "dotnet",
                    [Path.Combine(AppContext.BaseDirectory, "securemail.dll"), .. arguments, "--config", config])
                {
                    UseShellExecute = false,
                    RedirectStandardOutput = true,
                    RedirectStandardError = true,
                    StandardOutputEncoding = Encoding.UTF8,
                }
            )!;
            var error = process.StandardError.ReadToEndAsync();
            var output = await process.StandardOutput.ReadToEndAsync();
            await process.WaitForExitAsync();
            process.ExitCode.ShouldBe(exit, await error);
            return output + await error;
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }
}
