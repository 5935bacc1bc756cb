
namespace SecureMail.SystemTests.Gateway;

/// <summary>The connection is lost after the peer took the message and before its answer came: unknown, sent again,
/// delivered once.</summary>
public sealed class UnknownSendTests(PostgresFixture postgres) : IClassFixture<PostgresFixture>
{
    [Fact]
    public async Task A_lost_answer_leaves_the_dispatch_unknown_and_the_second_sending_is_a_duplicate()
    {
        TwoGateways? pair = null;
        var lost = 0;
        var open = new TaskCompletionSource();
        // B's answer is lost once, as soon as it has the message; nothing of what B says to A passes before the test
        // lets it.
        await using var toB = new FaultyWire(() => pair!.B.Port)
        {
            MayComeBack = async () =>
                await pair!.B.Probe.Incoming.ReceivedAsync() == 0
                || Interlocked.Exchange(ref lost, 1) == 1,
        };
        await using var toA = new FaultyWire(() => pair!.A.Port)
        {
            MayComeBack = async () =>
            {
                await open.Task;
                return true;
            },
        };
        await using var started = pair = await TwoGateways.StartAsync(postgres, changeDirectory: d =>
            d with
            {
                Gateways =
                [
                    .. d.Gateways.Select(g => g with { Port = g.Name == "gateway-a.test" ? toA.Port : toB.Port }),
                ],
            });

        var answer = await pair.A.Node.SubmitAsync(TwoGateways.Submission(TwoGateways.AnHoa), CancellationToken.None);
        (await pair.A.OutgoingAsync(answer.DispatchId, d => d.Recipients[0].State is not ("waiting" or "queued")))
            .Recipients[0]
            .State.ShouldBe("unknown");
        await pair.A.OutgoingAsync(answer.DispatchId, d => d.Recipients[0].State == "sent");
        var story = (await pair.A.Node.Ledger.AuditTrailAsync(answer.DispatchId, CancellationToken.None))
            .Select(l => l.Kind)
            .ToList();
        story.ShouldBe(["dispatch.accepted", "dispatch.signed", "dispatch.unknown", "dispatch.sent"]);

        var came = await TwoGateways.EventuallyAsync(
            async () =>
                await pair.B.Node.Incoming.ListAsync(TwoGateways.AnHoa, null, 10, CancellationToken.None)
                    is { Count: 2 } two
                && two.All(m => m.State == "recorded")
                    ? two
                    : null,
            "two messages");
        came.Select(m => m.Disposition).Order().ShouldBe(["duplicate", "inbox"]);
        open.SetResult();
        await pair.A.OutgoingAsync(answer.DispatchId, d => d.Recipients[0].State == "acknowledged");
    }
}
