using System.Text;
using SecureMail.Mail.Smtp.Client;

namespace SecureMail.FaultTests;

/// <summary>A message that cannot be validated, however often it is tried, and work that always fails: a person gets to
/// know, and everything else goes on.</summary>
public sealed class PoisonMailTests(PostgresFixture postgres) : IClassFixture<PostgresFixture>
{
    // A row that this build cannot work on: mail without a signature commits to its findings with the salt of its row.
    internal const string LoseSalt = """
        CREATE FUNCTION public.lose_salt() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN NEW.salt := NULL; RETURN NEW; END $$;
        CREATE TRIGGER lose_salt BEFORE INSERT ON gateway.received FOR EACH ROW EXECUTE FUNCTION public.lose_salt();
        """;

    [Fact]
    public async Task A_message_at_which_validation_always_fails_ends_in_quarantine_with_its_bytes_its_entry_and_an_alarm()
    {
        await using var pair = await TwoGateways.StartAsync(postgres);
        await pair.ListeningAsync();
        var (a, b) = (pair.A, pair.B);
        await b.ScalarAsync<object>(LoseSalt);
        // Two of the five tries are left, so that the test need not last for the delays between all of them.
        await b.ScalarAsync<object>("ALTER TABLE gateway.work ALTER COLUMN failures SET DEFAULT 3");
        var poison = Encoding.UTF8.GetBytes($"From: a@b.test\r\nSubject: {Guid.NewGuid()}\r\n\r\nđộc\r\n");
        var message = await SharedPair.DeliverAsync(pair, poison);
        (message.Disposition, message.Reason, message.Verdict, message.Kind).ShouldBe(
            ("quarantine", "VALIDATION_FAILED", "unreadable", "other"));
        await IsKnownAsync(b, message.Id, "ArgumentOutOfRangeException");
        await using var kept = await b.Node.Incoming.OpenReceivedAsync(message.Id, CancellationToken.None);
        using var copy = new MemoryStream();
        await kept.CopyToAsync(copy);
        copy.ToArray().ShouldBe(poison);

        // The command line shows it, and gives its bytes out.
        var folder = Path.Combine(pair.Folder, "poison");
        await using (var list = GatewayProcess.Run(b.Options, null, "inbox", "--place", "quarantine", "--json"))
        {
            (await list.EndAsync()).ShouldBe(0, list.Said);
            list.Said.ShouldContain("VALIDATION_FAILED");
        }

        await using (
            var export = GatewayProcess.Run(b.Options, null, "inbox", "export", message.Id.ToString(), folder))
        {
            (await export.EndAsync()).ShouldBe(0, export.Said);
            (await File.ReadAllBytesAsync(Path.Combine(folder, "message.eml"))).ShouldBe(poison);
        }

        // What comes after it is delivered.
        await b.ScalarAsync<object>("ALTER TABLE gateway.work ALTER COLUMN failures SET DEFAULT 0");
        await b.ScalarAsync<object>("DROP TRIGGER lose_salt ON gateway.received");
        var dispatch = (
            await a.Node.SubmitAsync(TwoGateways.Submission(TwoGateways.AnHoa), CancellationToken.None)).DispatchId;
        await Outcome.DeliveredOnceAsync(
            a, new Dictionary<string, RunningGateway> { [TwoGateways.AnHoa] = b }, dispatch);
    }

    [Fact]
    public async Task A_message_whose_validation_ends_the_process_each_time_ends_in_quarantine()
    {
        const int Left = 3;
        await using var pair = await TwoGateways.StartAsync(postgres, run: false);
        var b = pair.B;
        await b.ScalarAsync<object>($"ALTER TABLE gateway.work ALTER COLUMN failures SET DEFAULT {5 - Left}");
        var poison = Encoding.UTF8.GetBytes($"From: a@b.test\r\n\r\n{Guid.NewGuid()}\r\n");
        for (var n = 0; n < Left; n++)
        {
            await using var process = GatewayProcess.Serve(
                b.Options, TwoGateways.FreePort(), "kill-before:inbound.record");
            if (n == 0)
            {
                (await DeliverAsync(pair, poison)).ShouldBe(SmtpOutcome.Delivered);
            }

            await process.FaultAsync();
            (await process.EndAsync()).ShouldBe(137);
        }

        // It would end this process, too, if it were tried.
        var http = TwoGateways.FreePort();
        await using var last = GatewayProcess.Serve(b.Options, http, "kill-before:inbound.record");
        var message = await b.IncomingAsync(m => m.State == "recorded");
        (message.Disposition, message.Reason).ShouldBe(("quarantine", "VALIDATION_FAILED"));
        await IsKnownAsync(b, message.Id, "ProcessEnded");
        await Pressure.ReadyAsync(http);
        last.HasExited.ShouldBeFalse();
        await last.StopAsync();
    }

    [Fact]
    public async Task Work_that_always_fails_lies_dead_with_an_alarm_and_health_says_so_until_a_person_asks_again()
    {
        await using var pair = await TwoGateways.StartAsync(postgres, run: false);
        var a = pair.A;
        // What is written of a dispatch's manifest is damaged as it is written, and the tenth try is the next.
        await a.ScalarAsync<object>(CommitPoints.Spoil);
        await a.ScalarAsync<object>("ALTER TABLE gateway.work ALTER COLUMN failures SET DEFAULT 9");
        var dispatch = (
            await a.Node.SubmitAsync(TwoGateways.Submission(TwoGateways.AnHoa), CancellationToken.None)).DispatchId;
        var http = TwoGateways.FreePort();
        await using var process = GatewayProcess.Serve(a.Options, http);
        await TwoGateways.EventuallyAsync(
            async () =>
                await Pressure.HealthAsync(http) is { Status: 200 } health
                && health.Problems.Contains("work-given-up")
                    ? ""
                    : null,
            "health to be ready and to name the dead work");
        (await a.ScalarAsync<string>("SELECT state || ' ' || last_error FROM gateway.work WHERE period IS NULL")).ShouldBe(
            "dead InvalidDataException");
        (await a.ScalarAsync<string>(
            "SELECT kind || ' ' || subject || ' ' || detail FROM gateway.alarm")).ShouldBe(
                $"work-given-up seal {dispatch}: InvalidDataException");
        (await a.ScalarAsync<long>(
            $"SELECT count(*) FROM ledger.entry e JOIN gateway.alarm a USING (entry_id) WHERE e.kind = 'work.given-up' AND e.object = '{dispatch}'"))
            .ShouldBe(1);
        await using (var alarms = GatewayProcess.Run(a.Options, null, "ledger", "alarms", "--json"))
        {
            await alarms.EndAsync();
            alarms.Said.ShouldContain("work-given-up");
        }

        var id = await a.ScalarAsync<long>("SELECT work_id FROM gateway.work WHERE period IS NULL");
        await using (var drop = GatewayProcess.Run(a.Options, null, "queue", "drop", id.ToString()))
        {
            (await drop.EndAsync()).ShouldBe(0, drop.Said);
        }

        await TwoGateways.EventuallyAsync(
            async () => await Pressure.HealthAsync(http) is { Status: 200, Problems: [] } ? "" : null,
            "health to name nothing any more");
        await process.StopAsync();
    }

    private static async Task IsKnownAsync(RunningGateway b, Guid message, string cause)
    {
        (await b.ScalarAsync<long>($"SELECT count(*) FROM gateway.work WHERE subject = '{message}'")).ShouldBe(0);
        (await b.ScalarAsync<string>(
            $"SELECT a.kind || ' ' || a.subject || ' ' || a.detail FROM gateway.alarm a JOIN ledger.entry e USING (entry_id) WHERE e.object = '{message}'"))
            .ShouldBe($"validation-failed gateway-a.test message {message}: {cause}");
        (await b.ScalarAsync<long>(
            $"SELECT count(*) FROM ledger.entry WHERE kind = 'message.judged' AND object = '{message}'")).ShouldBe(1);
        (await b.Node.Ledger.AlarmsAsync(CancellationToken.None)).ShouldContain(x => x.Kind == "validation-failed");
    }

    private static async Task<SmtpOutcome> DeliverAsync(TwoGateways pair, byte[] message)
    {
        // The listener of the process opens when it is ready, and nobody here sees when.
        var result = await TwoGateways.EventuallyAsync(
            async () =>
            {
                try
                {
                    return await pair.InjectAsync(message, SharedPair.AnHoaAddress);
                }
                catch (SmtpException)
                {
                    return null;
                }
            },
            "gateway B to take the message");
        return result.Outcome;
    }
}
