using System.Security.Cryptography;
using System.Text;
using SecureMail.Mail.Smtp.Client;
using SecureMail.TestKit;

namespace SecureMail.Benchmarks;

/// <summary>
/// DESIGN.md §8's row of SMTP: a message of 10 KB accepted, from MAIL to the 250 after its last dot, when it is
/// durable, against Debian's Postfix. One client, in this process, sends both sides the same octets over TLS 1.3,
/// message after message, in one connection a call. The clocks are those of the servers' processes alone, so nothing
/// of the client is in them. For us these are the gateway and its PostgreSQL (fsync and synchronous_commit on), for
/// Postfix the master and all its daemons (each queue file is synced before the 250: it has no other way).
/// On both sides only the acceptance runs. Our workers are not started; Postfix puts all mail into its hold queue,
/// which no queue manager reads. Neither side's store is emptied during the run. What a server does of itself meanwhile
/// (checkpoint, vacuum) counts where it falls into that server's turn.
/// </summary>
internal sealed class SmtpContests : IAsyncDisposable
{
    private const string AcceptName = "smtp.accept";
    private const string Sender = "vanthu@sender.test";

    // A second of a server's CPU or near it, so that the 10 ms of a process that ended are a hundredth.
    private const int Messages = 500;

    // By then the compiler has come to its second tier in our server too.
    private const int WarmUpCalls = 6;
    private const int ContentBytes = 10_000;
    private readonly byte[] _message = Compose();
    private string? _folder;
    private AcceptingGateway? _ours;
    private Postfix? _theirs;

    public IReadOnlyList<(string Name, Func<Contest> Make)> All => [(AcceptName, Accept)];

    public async ValueTask DisposeAsync()
    {
        if (_ours is not null)
        {
            await _ours.DisposeAsync();
        }

        if (_theirs is not null)
        {
            await _theirs.DisposeAsync();
        }

        if (_folder is not null)
        {
            Directory.Delete(_folder, recursive: true);
        }
    }

    private Contest Accept() => AcceptAsync().GetAwaiter().GetResult();

    private async Task<Contest> AcceptAsync()
    {
        _folder = Directory.CreateTempSubdirectory("securemail-bench-").FullName;
        var ours = _ours = await AcceptingGateway.StartAsync(_folder);
        var theirs = _theirs = await Postfix.StartAsync(relayTo: null);
        var postfix = ours.Client with
        {
            Port = theirs.Port,
            PinServer = shown => shown.RawDataMemory.Span.SequenceEqual(theirs.Certificate.RawDataMemory.Span),
        };
        return new Contest(
            AcceptName,
            1,
            "Postfix, into its hold queue",
            Messages,
            "message",
            () => SendAsync(ours.Client, Messages),
            () => SendAsync(postfix, Messages).GetAwaiter().GetResult(),
            async () =>
            {
                await SendAsync(ours.Client, 1);
                await SendAsync(postfix, 1);
                await AgreeAsync(ours, theirs);
            })
        {
            Clock = ours.Processes.CpuMicroseconds,
            PeerClock = new ProcessTree(await theirs.MasterAsync()).CpuMicroseconds,
            WarmUpCalls = WarmUpCalls,
        };
    }

    /// <summary>Throws unless each side took the one message, durably, and keeps these octets.</summary>
    private async Task AgreeAsync(AcceptingGateway ours, Postfix theirs)
    {
        var state = await ours.AskAsync();
        if (state is not { IsDurable: true, Received: 1 }
            || state.Sha256 != Convert.ToHexString(SHA256.HashData(_message)))
        {
            throw new InvalidOperationException($"The gateway has another message than was sent: {state}");
        }

        // Postfix writes its Received field before the message, and its files have LF line ends.
        var text = Encoding.ASCII.GetString(_message).ReplaceLineEndings("\n");
        if (await theirs.CountHeldAsync() != 1
            || !(await theirs.ReadHeldAsync()).EndsWith(text, StringComparison.Ordinal))
        {
            throw new InvalidOperationException("Postfix has another message than was sent.");
        }
    }

    private async Task SendAsync(SmtpClientOptions server, int messages)
    {
        await using var client = await SmtpClient.ConnectAsync(server, TimeProvider.System);
        for (var i = 0; i < messages; i++)
        {
            var results = await client.SendAsync(Sender, [AcceptingGateway.Recipient], new MemoryStream(_message));
            if (results is not [{ Outcome: SmtpOutcome.Delivered }])
            {
                throw new InvalidOperationException($"The message was not accepted: {results[0]}");
            }
        }
    }

    private static byte[] Compose()
    {
        var head = $"""
            From: <{Sender}>
            To: <{AcceptingGateway.Recipient}>
            Subject: bench
            Date: Thu, 01 Jan 2026 00:00:00 +0000
            Message-ID: <bench@sender.test>
            MIME-Version: 1.0
            Content-Type: application/octet-stream
            Content-Transfer-Encoding: base64


            """;
        var body = Convert.ToBase64String(
            RandomNumberGenerator.GetBytes(ContentBytes * 3 / 4), Base64FormattingOptions.InsertLineBreaks);
        return Encoding.ASCII.GetBytes(head.ReplaceLineEndings("\r\n") + body + "\r\n");
    }
}
