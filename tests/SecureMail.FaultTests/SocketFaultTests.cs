using SecureMail.Host.Services;

namespace SecureMail.FaultTests;

/// <summary>A clerk's command asks the running gateway, and the gateway or its database fails at the moment that the
/// dispatch is accepted: the command says what is true, and the dispatch is there once or not at all.</summary>
public sealed class SocketFaultTests(PostgresFixture postgres) : IClassFixture<PostgresFixture>
{
    [Theory]
    // The gateway is gone, so the command opens the database itself and gives the same dispatch again.
    [InlineData("kill-before", 0)]
    [InlineData("kill-after", 0)]
    [InlineData("lose-answer", 0)]
    [InlineData("fail", 69)]
    public async Task A_dispatch_that_was_sent_while_the_gateway_failed_is_there_once_or_not_at_all(
        string kind, int exit)
    {
        await using var pair = await TwoGateways.StartAsync(postgres, run: false);
        var port = TestPorts.Next();
        await using var serving = GatewayProcess.Serve(pair.A.Options, port, $"{kind}:outbound.accept");
        using (var http = new HttpClient { BaseAddress = new Uri($"http://127.0.0.1:{port}") })
        {
            await LocalHttp.ReadyAsync(http);
        }

        File.Exists(LocalSocket.PathOf(pair.A.Options.DataFolder)).ShouldBeTrue();
        var document = Path.Combine(pair.Folder, "Công văn.txt");
        await File.WriteAllTextAsync(document, "Nội dung");
        string[] arguments =
        [
            "send", "--from", TwoGateways.Province, "--to", TwoGateways.AnHoa, "--notation", "CV/VPTU", "--subject",
            "V/v thử", document,
        ];
        await using (var send = GatewayProcess.Run(pair.A.Options, null, arguments))
        {
            await serving.FaultAsync();
            (await send.EndAsync()).ShouldBe(exit, send.Said);
        }

        (await pair.A.Probe.Outgoing.CountAsync()).ShouldBe(exit == 0 ? 1 : 0);
        await using var next = GatewayProcess.Run(pair.A.Options, null, arguments);
        (await next.EndAsync()).ShouldBe(0, next.Said);
        // No number was lost with what failed.
        (await pair.A.Probe.Outgoing.LastNumberAsync()).ShouldBe(exit == 0 ? 2 : 1);
    }
}
