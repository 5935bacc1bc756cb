using System.Text;
using SecureMail.Ledger;
using SecureMail.Mail.Smtp.Client;
using SecureMail.Storage.Queue;

namespace SecureMail.FaultTests;

/// <summary>A message that cannot be validated, however often it is tried, and work that always fails: a person gets to
/// know, and everything else goes on.</summary>
public sealed class PoisonMailTests(PostgresFixture postgres) : IClassFixture<PostgresFixture>
{
    [Fact]
    public async Task A_message_at_which_validation_always_fails_ends_in_quarantine_with_its_entry_and_an_alarm()
    {
        await using var pair = await TwoGateways.StartAsync(postgres);
        await pair.ListeningAsync();
        var (a, b) = (pair.A, pair.B);
        await b.Probe.Incoming.LoseSaltsAsync();
        // Two of the five tries are left, so that the test need not last for the delays between all of them.
        await b.Probe.Queue.BeginAfterFailuresAsync(3);
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
        await b.Probe.Queue.BeginAfterFailuresAsync(0);
        await b.Probe.Incoming.KeepSaltsAsync();
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
        await b.Probe.Queue.BeginAfterFailuresAsync(5 - Left);
        var poison = Encoding.UTF8.GetBytes($"From: a@b.test\r\n\r\n{Guid.NewGuid()}\r\n");
        for (var n = 0; n < Left; n++)
        {
            await using var process = GatewayProcess.Serve(
                b.Options, TestPorts.Next(), "kill-before:inbound.record");
            if (n == 0)
            {
                (await DeliverAsync(pair, poison)).ShouldBe(SmtpOutcome.Delivered);
            }

            await process.FaultAsync();
            (await process.EndAsync()).ShouldBe(137);
        }

        // It would end this process, too, if it were tried.
        var http = TestPorts.Next();
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
        await a.Probe.Content.SpoilAsync();
        await a.Probe.Queue.BeginAfterFailuresAsync(9);
        var dispatch = (
            await a.Node.SubmitAsync(TwoGateways.Submission(TwoGateways.AnHoa), CancellationToken.None)).DispatchId;
        var http = TestPorts.Next();
        await using var process = GatewayProcess.Serve(a.Options, http);
        await TwoGateways.UntilAsync(
            async () =>
                await Pressure.HealthAsync(http) is { Status: 200 } health
                && health.Problems.Contains("work-given-up"),
            "health to be ready and to name the dead work");
        var dead = (await a.Node.Queue.ListAsync(CancellationToken.None)).ShouldHaveSingleItem();
        (dead.State, dead.LastError).ShouldBe((WorkState.Dead, "InvalidDataException"));
        (await a.Probe.Ledger.AlarmsAsync()).ShouldBe([$"work-given-up seal {dispatch}: InvalidDataException"]);
        (await a.Probe.Ledger.AlarmsAsync(about: dispatch)).Count.ShouldBe(1);
        (await a.Probe.Ledger.EntriesOfAsync(EntryKind.WorkGivenUp, dispatch)).ShouldBe(1);
        await using (var alarms = GatewayProcess.Run(a.Options, null, "ledger", "alarms", "--json"))
        {
            await alarms.EndAsync();
            alarms.Said.ShouldContain("work-given-up");
        }

        await using (var drop = GatewayProcess.Run(a.Options, null, "queue", "drop", dead.Id.ToString()))
        {
            (await drop.EndAsync()).ShouldBe(0, drop.Said);
        }

        await TwoGateways.UntilAsync(
            async () => await Pressure.HealthAsync(http) is { Status: 200, Problems: [] },
            "health to name nothing any more");
        await process.StopAsync();
    }

    private static async Task IsKnownAsync(RunningGateway b, Guid message, string cause)
    {
        (await b.Probe.Queue.CountAsync(subject: message)).ShouldBe(0);
        (await b.Probe.Ledger.AlarmsAsync(about: message)).ShouldBe(
            [$"validation-failed gateway-a.test message {message}: {cause}"]);
        (await b.Probe.Ledger.EntriesOfAsync(EntryKind.MessageValidated, message)).ShouldBe(1);
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
