namespace SecureMail.SystemTests.Gateway;

/// <summary>A clock that is an hour off: evidence of the future is not trusted, the past is borne, and the machine whose clock differs says so.</summary>
[Collection("postgres")]
public sealed class ClockTests(PostgresFixture postgres)
{
    [Fact]
    public async Task A_dispatch_signed_an_hour_in_the_future_is_set_aside()
    {
        await using var pair = await TwoGateways.StartAsync(postgres, timeA: new ShiftedTime(TimeSpan.FromHours(1)));
        (await pair.A.Node.HealthAsync(CancellationToken.None)).Problems.ShouldContain("clock-differs-from-database");
        (await pair.B.Node.HealthAsync(CancellationToken.None)).Problems.ShouldNotContain("clock-differs-from-database");
        var answer = await pair.A.Node.SubmitAsync(TwoGateways.Submission(TwoGateways.AnHoa), CancellationToken.None);
        var message = await pair.B.IncomingAsync(m => m.State == "recorded");
        (message.Place, message.Verdict).ShouldBe(("quarantine", "untrusted"));
        (await pair.B.ScalarAsync<string>("SELECT findings::text FROM gateway.finding"))!.ShouldContain("Future", Case.Insensitive);
        (await pair.B.Node.Incoming.ListAsync(null, "inbox", 10, CancellationToken.None)).ShouldBeEmpty();

        // Nobody who is not proven is answered; it is sent, not overdue, and a person is asked on the other side.
        var sent = await pair.A.OutgoingAsync(answer.DispatchId, d => d.Recipients[0].State == "sent");
        sent.Recipients[0].OverdueAt.ShouldBeNull();
    }

    [Fact]
    public async Task A_dispatch_signed_an_hour_in_the_past_is_delivered_and_not_overdue()
    {
        // The receiver is ahead by what the sender is behind: the certificates of this run are too young for a clock before them.
        await using var pair = await TwoGateways.StartAsync(postgres, timeB: new ShiftedTime(TimeSpan.FromHours(1)));
        (await pair.B.Node.HealthAsync(CancellationToken.None)).Problems.ShouldContain("clock-differs-from-database");
        var answer = await pair.A.Node.SubmitAsync(TwoGateways.Submission(TwoGateways.AnHoa), CancellationToken.None);
        var message = await pair.B.IncomingAsync(m => m.State == "recorded");
        (message.Place, message.Verdict).ShouldBe(("inbox", "valid"));
        // The receipt comes from the future and is set aside; the dispatch stays sent.
        var receipt = await TwoGateways.EventuallyAsync(() => pair.A.ScalarAsync<string>("SELECT verdict || ' ' || place FROM gateway.incoming WHERE state = 'recorded'"), "the receipt");
        receipt.ShouldBe("untrusted quarantine");
        var sent = await pair.A.OutgoingAsync(answer.DispatchId, d => d.Recipients[0].State == "sent");
        sent.Recipients[0].OverdueAt.ShouldBeNull();
    }
}
