using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Microsoft.Extensions.Logging.Abstractions;
using SecureMail.Mail.Mime;
using SecureMail.Mail.Smtp;
using SecureMail.Mail.Smtp.Client;
using SecureMail.Mail.Smtp.Messages;
using SecureMail.Mail.Smtp.Server;
using SecureMail.TestKit.Mutators;

namespace SecureMail.Tests.Fuzzing;

/// <summary>SMTP: what a client sends to our server, and what a server answers to our client.</summary>
internal static class SmtpTargets
{
    private static readonly Mutator[] Text = [LineMutator.Mutate, LineMutator.Mutate, OctetMutator.Mutate];

    /// <summary>An address that is taken is one, and a reply line that is read is written again.</summary>
    public static FuzzTarget Command { get; } =
        new("smtp-command", "a command line, its paths and parameters, and a reply line (RFC 5321 §4)", _ => ReadLine)
        {
            Mutators = Text,
            Mutants = 5000,
        };

    /// <summary>The data ends at the first line that is a dot, in whatever pieces it comes, and is refused exactly when
    /// CR or LF stand alone or a NUL is in it.</summary>
    public static FuzzTarget Data { get; } =
        new("smtp-data", "the data of a message and where it ends (RFC 5321 §4.5.2)", _ => ReadData)
        {
            Mutators = Text,
            Mutants = 5000,
        };

    /// <summary>Whatever a client sends, each reply is one; what is taken is what stood between DATA and the dot, in
    /// the legal order of commands.</summary>
    public static FuzzTarget Session { get; } =
        new("smtp-session", "a whole session of the server, by its state table", _ => ReadSession)
        {
            Mutators = Text,
            Mutants = 300,
        };

    /// <summary>Whatever a server answers, the client sends only its own commands, nothing before TLS, and "delivered"
    /// only follows a positive reply to the final dot.</summary>
    public static FuzzTarget Client { get; } =
        new("smtp-client", "what a server answers to our client, state by state", _ => ReadDialogue)
        {
            Refusals = [typeof(SmtpException)],
            Mutators = Text,
        };

    private static string? ReadLine(byte[] input)
    {
        var command = SmtpCommand.Parse(input);
        var outcome = command.Verb == SmtpVerb.Unknown ? null : command.Verb.ToString();
        foreach (var argument in new[] { command.Argument, Encoding.Latin1.GetString(input) })
        {
            if (MailFrom.TryParse(argument, out var mail, out _))
            {
                RequireAddress(mail.Address);
                outcome += $" from {mail.Address is null} {mail.Size is null} {mail.EightBit}";
            }

            if (RcptTo.TryParse(argument, out var recipient, out _))
            {
                RequireAddress(recipient.Address);
                outcome += " to";
            }

            if (Hello.TryParse(argument, out var hello))
            {
                SmtpCommand.Parse(Encoding.ASCII.GetBytes(hello.Value.ToWire())).Argument.ShouldBe(hello.Value.Name);
            }
        }

        if (SmtpReply.TryParseLine(input, out var code, out _, out var text))
        {
            var wire = SmtpReply.FromLines(code, [text]).ToWire();
            wire.AsSpan().EndsWith("\r\n"u8).ShouldBeTrue();
            wire.AsSpan(0, wire.Length - 2).IndexOfAnyExceptInRange((byte)' ', (byte)'~').ShouldBe(-1);
            outcome += " reply";
        }

        return outcome;

        static void RequireAddress(string? address)
        {
            if (address is not (null or "postmaster"))
            {
                Mailbox.Parse(address).Address.ShouldBe(address);
            }
        }
    }

    private static string? ReadData(byte[] input)
    {
        var whole = Feed(input, input.Length);
        Feed(input, 1).ShouldBe(whole);
        var end = EndOfData(input);
        (whole.Consumed >= 0).ShouldBe(end >= 0);
        if (end < 0)
        {
            return null;
        }

        whole.Consumed.ShouldBe(end);
        whole.IsBad.ShouldBe(HasBareLineEndOrNul(input.AsSpan(0, end)));
        if (!whole.IsBad)
        {
            whole.Content.ShouldBe(Convert.ToHexString(Unstuffed(input.AsSpan(0, end))));
        }

        return $"bad {whole.IsBad}, rest {end < input.Length}, empty {whole.Content.Length == 0}";
    }

    private static (int Consumed, string Content, bool IsBad) Feed(byte[] input, int piece)
    {
        var reader = new DataReader();
        using var content = new MemoryStream();
        for (var at = 0; at < input.Length; at += piece)
        {
            var output = new byte[piece];
            var part = input.AsSpan(at, Math.Min(piece, input.Length - at));
            var done = reader.Feed(part, output, out var consumed, out var written);
            content.Write(output, 0, written);
            if (done)
            {
                return (at + consumed, Convert.ToHexString(content.ToArray()), reader.IsBad);
            }
        }

        return (-1, "", false);
    }

    /// <summary>RFC 5321 §4.1.1.4: the position behind CRLF.CRLF, where the CRLF before may be that of DATA.</summary>
    private static int EndOfData(ReadOnlySpan<byte> data) =>
        data.StartsWith(".\r\n"u8) ? 3
        : data.IndexOf("\r\n.\r\n"u8) is >= 0 and var at ? at + 5
        : -1;

    /// <summary>RFC 5321 §4.5.2: the dot at the beginning of each line is removed.</summary>
    private static byte[] Unstuffed(ReadOnlySpan<byte> data)
    {
        var text = Encoding.Latin1.GetString(data[..^3]);
        var unstuffed = text.Replace("\r\n.", "\r\n", StringComparison.Ordinal);
        return Encoding.Latin1.GetBytes(unstuffed.StartsWith('.') ? unstuffed[1..] : unstuffed);
    }

    private static bool HasBareLineEndOrNul(ReadOnlySpan<byte> data) =>
        Encoding.Latin1.GetString(data)
            .Replace("\r\n", "", StringComparison.Ordinal)
            .AsSpan()
            .IndexOfAny("\r\n\0") >= 0;

    private static string? ReadSession(byte[] input)
    {
        List<byte[]> taken = [];
        List<string> calls = [];
        var options = new SmtpServerOptions
        {
            Listen = new IPEndPoint(IPAddress.Loopback, 25),
            HostName = "mx.test",
            OnMail = (_, _, _) => Called("MAIL", new SmtpReply(250, "2.1.0", "Ok")),
            OnRecipient = (_, _, recipient, _) => Called(
                "RCPT", new SmtpReply(recipient.Address.StartsWith('x') ? 550 : 250, "2.1.5", recipient.Address)),
            OnData = (_, _) =>
            {
                calls.Add("DATA");
                return Task.FromResult<SmtpReception>(new Kept(taken));
            },
            PrivateCommands = new Dictionary<string, Func<SmtpPeer, string, CancellationToken, Task<SmtpReply>>>
            {
                ["XHELD"] = (_, _, _) => throw new ShouldAssertException("a private command of a stranger"),
            },
        };
        using var wire = new ScriptedStream(input);
        var limiter = new ConnectionLimiter(options.Limits);
        using var place = limiter.TryEnter(IPAddress.Loopback)!;
        var session = new SmtpSession(
            wire, new IPEndPoint(IPAddress.Loopback, 4000), options, limiter, place,
            new RefusalLog(TimeProvider.System, NullLogger.Instance), TimeProvider.System, NullLogger.Instance,
            CancellationToken.None);
        Completed.Wait(session.RunAsync());
        Completed.Wait(session.DisposeAsync().AsTask());

        var replies = Encoding.Latin1.GetString(wire.Written).Split("\r\n");
        replies[^1].ShouldBeEmpty("the last reply has an end");
        replies[0].ShouldStartWith("220 ");
        foreach (var line in replies[..^1])
        {
            SmtpReply.TryParseLine(Encoding.Latin1.GetBytes(line), out _, out _, out _).ShouldBeTrue(line);
            line.ShouldNotContain("Internal error");
        }

        // MAIL, then RCPT, then DATA; and what was taken stood in the input behind a DATA.
        var state = "";
        foreach (var call in calls)
        {
            (call, state).ShouldBeOneOf(
                ("MAIL", ""), ("MAIL", "MAIL"), ("MAIL", "RCPT"), ("MAIL", "DATA"), ("RCPT", "MAIL"), ("RCPT", "RCPT"),
                ("DATA", "RCPT"));
            state = call;
        }

        foreach (var message in taken)
        {
            HasBareLineEndOrNul(message).ShouldBeFalse();
            MessagesIn(input).ShouldContain(m => m.SequenceEqual(message));
        }

        return calls.Count == 0 ? null : $"{string.Concat(calls.Take(12).Select(c => c[0]))} {taken.Count}";

        Task<SmtpReply> Called(string call, SmtpReply reply)
        {
            calls.Add(call);
            return Task.FromResult(reply);
        }
    }

    /// <summary>What a message could be: the data behind each line DATA of the input.</summary>
    private static IEnumerable<byte[]> MessagesIn(byte[] input)
    {
        var text = Encoding.Latin1.GetString(input);
        for (var at = text.IndexOf("DATA", StringComparison.OrdinalIgnoreCase); at >= 0;
            at = text.IndexOf("DATA", at + 1, StringComparison.OrdinalIgnoreCase))
        {
            var line = text.IndexOf("\r\n", at, StringComparison.Ordinal);
            if (line >= 0 && EndOfData(input.AsSpan(line + 2)) is >= 0 and var end)
            {
                yield return Unstuffed(input.AsSpan(line + 2, end));
            }
        }
    }

    private static string ReadDialogue(byte[] input)
    {
        // The first byte says whether TLS is required and whether the whole dialogue comes at once.
        var mode = input.Length == 0 ? 0 : input[0];
        var requireTls = (mode & 1) != 0;
        var byLine = (mode & 2) == 0;
        using var wire = new ScriptedStream(input.AsMemory(Math.Min(1, input.Length)), byLine);
        var options = new SmtpClientOptions
        {
            Host = "mx.test",
            EhloName = "client.test",
            RequireTls = requireTls,
            PinServer = _ => false,
        };
        var message = "Subject: x\r\n\r\n.dot\r\nlast\r\n"u8.ToArray();
        var results = new List<SmtpRecipientResult>();
        var lastLine = "";
        try
        {
            var client = Completed.Result(
                SmtpClient.OpenAsync(wire, options, TimeProvider.System, CancellationToken.None));
            requireTls.ShouldBeFalse("a session without TLS");
            for (var number = 0; number < 2 && client.IsUsable; number++)
            {
                results.AddRange(
                    Completed.Result(
                        client.SendAsync("a@b.test", ["c@d.test", "e@f.test"], new MemoryStream(message))));
                lastLine = wire.LastLine;
            }

            if (client.IsUsable)
            {
                Completed.Result(client.CommandAsync("XHELD 5"));
            }

            Completed.Wait(client.DisposeAsync().AsTask());
        }
        finally
        {
            RequireOwnCommands(Encoding.Latin1.GetString(wire.Written), requireTls);
        }

        var delivered = results.Count(r => r.Outcome == SmtpOutcome.Delivered);
        var sent = Encoding.Latin1.GetString(wire.Written);
        if (byLine && results.TakeLast(2).Any(r => r.Outcome == SmtpOutcome.Delivered))
        {
            lastLine.ShouldStartWith("2");
        }

        (sent.Split("\r\n.\r\n").Length - 1).ShouldBeGreaterThanOrEqualTo((delivered + 1) / 2);
        return string.Join(' ', results.Select(r => $"{r.Outcome} {r.Failure}"));
    }

    /// <summary>What the client wrote is its own: no word of the server's stands in a command.</summary>
    private static void RequireOwnCommands(string sent, bool requireTls)
    {
        var lines = sent.Split("\r\n");
        var inData = false;
        for (var at = 0; at < lines.Length; at++)
        {
            var line = lines[at];
            if (inData)
            {
                line.ShouldBeOneOf("Subject: x", "", "..dot", "last", ".");
                inData = line != ".";
                continue;
            }

            if (requireTls && line is not ("EHLO client.test" or "STARTTLS" or ""))
            {
                // The beginning of the handshake (RFC 8446 §5.1), and no command in the clear.
                line[0].ShouldBe('\u0016');
                return;
            }

            line.Split(" SIZE=")[0].ShouldBeOneOf(
                "EHLO client.test", "STARTTLS", "MAIL FROM:<a@b.test>", "RCPT TO:<c@d.test>", "RCPT TO:<e@f.test>",
                "DATA", "RSET", "QUIT", "XHELD 5", "");
            // Behind a DATA that was refused comes the next command.
            inData = line == "DATA" && at + 1 < lines.Length && lines[at + 1] == "Subject: x";
        }
    }

    /// <summary>A connection whose other end says what the script has and hears what is written.</summary>
    private sealed class ScriptedStream(ReadOnlyMemory<byte> script, bool byLine = false)
        : MemoryStream(script.ToArray(), writable: false)
    {
        private readonly MemoryStream _written = new();

        public byte[] Written => _written.ToArray();

        public override bool CanWrite => true;

        /// <summary>The last line that was read.</summary>
        public string LastLine
        {
            get
            {
                var read = Encoding.Latin1.GetString(script.Span[..(int)Position]).TrimEnd('\r', '\n');
                return read[(read.LastIndexOf('\n') + 1)..];
            }
        }

        public override int Read(byte[] buffer, int offset, int count) => Take(buffer.AsSpan(offset, count));

        public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) =>
            new(Take(buffer.Span));

        public override void Write(byte[] buffer, int offset, int count) => _written.Write(buffer, offset, count);

        public override ValueTask WriteAsync(
            ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default) =>
            _written.WriteAsync(buffer, cancellationToken);

        private int Take(Span<byte> buffer)
        {
            var rest = script.Span[(int)Position..];
            var line = byLine ? rest.IndexOf((byte)'\n') + 1 : 0;
            var count = Math.Min(buffer.Length, line > 0 ? line : rest.Length);
            rest[..count].CopyTo(buffer);
            Position += count;
            return count;
        }
    }

    private sealed class Kept(List<byte[]> taken) : SmtpReception
    {
        private readonly MemoryStream _content = new();

        public override Task WriteAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken)
        {
            _content.Write(bytes.Span);
            return Task.CompletedTask;
        }

        public override Task<SmtpReply> CommitAsync(CancellationToken cancellationToken)
        {
            taken.Add(_content.ToArray());
            return Task.FromResult(new SmtpReply(250, "2.6.0", "Taken"));
        }

        public override Task AbortAsync() => Task.CompletedTask;
    }
}
