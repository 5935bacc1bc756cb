using SecureMail.Gateway.Registers;
using SecureMail.Mail.Smtp.Client;

namespace SecureMail.TestKit;

/// <summary>Two gateways that the tests of one class share: each test speaks of its own messages. What cannot be judged
/// waits two seconds only.</summary>
public sealed class SharedPair : IAsyncLifetime
{
    private readonly PostgresFixture _postgres = new();

    public const string AnHoaAddress = "vanthu@anhoa.songlam.test";
    public const string BinhMinhAddress = "vanthu@binhminh.songlam.test";

    public TwoGateways Pair { get; private set; } = null!;

    public async Task InitializeAsync()
    {
        await _postgres.InitializeAsync();
        Pair = await TwoGateways.StartAsync(_postgres, changeB: o =>
            o with
            {
                IndeterminateFor = TimeSpan.FromSeconds(2),
                LargestMessage = 16 * 1024 * 1024,
            });
        await Pair.ListeningAsync();
    }

    public async Task DisposeAsync()
    {
        await Pair.DisposeAsync();
        await _postgres.DisposeAsync();
    }

    /// <summary>Delivers octets to B and answers what became of them there.</summary>
    public Task<IncomingMessage> DeliverAsync(byte[] message, string recipient = AnHoaAddress) =>
        DeliverAsync(Pair, message, recipient);

    public static async Task<IncomingMessage> DeliverAsync(
        TwoGateways pair, byte[] message, string recipient = AnHoaAddress)
    {
        var before = await pair.B.Probe.Incoming.OfAsync(message);
        (await pair.InjectAsync(message, recipient)).Outcome.ShouldBe(SmtpOutcome.Delivered);
        return await TwoGateways.EventuallyAsync(
            async () =>
            {
                var now = await pair.B.Probe.Incoming.OfAsync(message);
                return
                    now.Except(before).ToList() is [var id]
                    && await pair.B.Node.Incoming.FindAsync(id, CancellationToken.None)
                        is { State: "recorded" } recorded
                    ? recorded
                    : null;
            },
            "a recorded message");
    }

    /// <summary>Delivers octets to A as gateway B would, and answers what became of them there.</summary>
    public static async Task<IncomingMessage> DeliverToAAsync(
        TwoGateways pair, byte[] message, string recipient = "vanthu@tinhuy.songlam.test")
    {
        var before = await pair.A.Probe.Incoming.OfAsync(message);
        await using var client = await SmtpClient.ConnectAsync(
            new SmtpClientOptions
            {
                Host = "127.0.0.1",
                Port = pair.A.Port,
                EhloName = "gateway-b.test",
                RequireTls = true,
                ClientCertificate = pair.B.Node.Identity.Tls,
                PinServer = _ => true,
            },
            TimeProvider.System);
        (await client.SendAsync(null, [recipient], new MemoryStream(message)))[0]
            .Outcome.ShouldBe(SmtpOutcome.Delivered);
        return await TwoGateways.EventuallyAsync(
            async () =>
            {
                var now = await pair.A.Probe.Incoming.OfAsync(message);
                return
                    now.Except(before).ToList() is [var id]
                    && await pair.A.Node.Incoming.FindAsync(id, CancellationToken.None)
                        is { State: "recorded" } recorded
                    ? recorded
                    : null;
            },
            "a recorded message");
    }
}
