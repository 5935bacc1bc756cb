using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Text;
using SecureMail.Mail.Mime;
using SecureMail.Mail.Smtp.Messages;

namespace SecureMail.Mail.Smtp.Client;

/// <summary>
/// One SMTP session as a client (RFC 5321): connect, EHLO, STARTTLS when required and EHLO again, then any number of
/// messages. Each recipient of each message gets an outcome of its own, and nothing is tried twice: whether and when is
/// the queue's to decide. It leaves out on purpose: MX lookup, AUTH, SMTPUTF8, and falling back to clear text.
/// </summary>
public sealed class SmtpClient : IAsyncDisposable
{
    /// <summary>Commands sent before reading replies: few enough that neither side fills its buffers and waits for the
    /// other (RFC 2920 §3.1).</summary>
    private const int PipelineDepth = 50;
    private const int MaxReplyLine = 2000;

    private readonly SmtpClientOptions _options;
    private readonly TimeProvider _time;
    private readonly SmtpInput _input;
    private Stream _stream;
    private bool _transactionOpen;

    private SmtpClient(Stream stream, SmtpClientOptions options, TimeProvider time)
    {
        _stream = stream;
        _input = new SmtpInput(stream);
        _options = options;
        _time = time;
    }

    /// <summary>What the server offered last: under TLS when there is TLS.</summary>
    public SmtpCapabilities Capabilities { get; private set; } = new([]);

    /// <summary>Whether another message can be sent on this connection.</summary>
    public bool IsUsable { get; private set; } = true;

    /// <summary>Opens a session.</summary>
    /// <exception cref="SmtpException">Transient or Permanent; nothing was sent.</exception>
    public static async Task<SmtpClient> ConnectAsync(
        SmtpClientOptions options, TimeProvider time, CancellationToken cancellationToken = default)
    {
        if (options.RequireTls && options.PinServer is null)
        {
            throw new ArgumentException(
                "TLS is required, but nothing says which server is the right one.", nameof(options));
        }

        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            using var timer = new CancellationTokenSource(options.Timeouts.Connect, time);
            using var either = CancellationTokenSource.CreateLinkedTokenSource(timer.Token, cancellationToken);
            await socket.ConnectAsync(options.Host, options.Port, either.Token);
        }
        catch (Exception e)
            when (e is SocketException
                || (e is OperationCanceledException && !cancellationToken.IsCancellationRequested))
        {
            socket.Dispose();
            throw new SmtpException(
                SmtpOutcome.Transient, SmtpFailure.Connect, "The server cannot be reached.", null, e);
        }
        catch (OperationCanceledException)
        {
            socket.Dispose();
            throw;
        }

        var client = new SmtpClient(new NetworkStream(socket, ownsSocket: true), options, time);
        try
        {
            await client.OpenAsync(cancellationToken);
            return client;
        }
        catch
        {
            client.IsUsable = false;
            await client.DisposeAsync();
            throw;
        }
    }

    /// <summary>Sends one message.</summary>
    /// <param name="from">The return path; null is &lt;&gt;.</param>
    /// <param name="message">Seekable, from its position on; lines end with CRLF.</param>
    /// <returns>One result for each recipient, in order. Cancelling while the reply to the final dot is awaited gives
    /// Unknown, not an exception.</returns>
    /// <exception cref="SmtpException">Permanent, Message: the message itself may not be sent; nothing was.</exception>
    /// <exception cref="MimeException">An address is none.</exception>
    public async Task<IReadOnlyList<SmtpRecipientResult>> SendAsync(
        string? from, IReadOnlyList<string> recipients, Stream message, CancellationToken cancellationToken = default)
    {
        if (recipients.Count == 0)
        {
            throw new ArgumentException("A message needs a recipient.", nameof(recipients));
        }

        if (!IsUsable)
        {
            throw new InvalidOperationException("This connection has ended.");
        }

        var data = await OutgoingData.InspectAsync(message, cancellationToken);
        if (data.HasEightBit && !Capabilities.Has(SmtpCapabilities.EightBitMime))
        {
            throw new SmtpException(
                SmtpOutcome.Permanent, SmtpFailure.Message,
                "The message holds 8-bit octets and the server takes 7-bit only.");
        }

        if (Capabilities.MaxSize < data.Size)
        {
            throw new SmtpException(
                SmtpOutcome.Permanent, SmtpFailure.Message, "The message is larger than the server takes.");
        }

        var mail = new MailFrom(from, data.Size, data.HasEightBit).ToWire(Capabilities);
        var commands = recipients.Select(r => new RcptTo(r).ToWire()).ToList();

        var results = new SmtpRecipientResult?[recipients.Count];
        var dotOnItsWay = false;
        try
        {
            await TransactAsync(mail, commands, recipients, results, data, () => dotOnItsWay = true, cancellationToken);
        }
        catch (SmtpException e)
        {
            IsUsable = false;
            Decide(
                results, recipients, dotOnItsWay && e.Reply is null ? SmtpOutcome.Unknown : SmtpOutcome.Transient,
                e.Failure, e.Reply);
        }
        catch (OperationCanceledException)
        {
            IsUsable = false;
            if (!dotOnItsWay)
            {
                throw;
            }

            Decide(results, recipients, SmtpOutcome.Unknown, SmtpFailure.Timeout, null);
        }
        catch
        {
            IsUsable = false; // the message could not be read to its end: the server must not take half of it
            throw;
        }

        return results!;
    }

    /// <summary>Issues a private command between messages and answers the server's reply, whatever it is.</summary>
    /// <param name="command">Verb and argument: US-ASCII without controls, at most 510 octets (RFC 5321
    /// §4.5.3.1.4).</param>
    /// <exception cref="SmtpException">The connection was lost or the answer is no reply.</exception>
    public async Task<SmtpReply> CommandAsync(string command, CancellationToken cancellationToken = default)
    {
        if (command.Length is 0 or > 510 || command.AsSpan().ContainsAnyExceptInRange(' ', '~'))
        {
            throw new ArgumentException("A command is one line of US-ASCII.", nameof(command));
        }

        if (!IsUsable)
        {
            throw new InvalidOperationException("This connection has ended.");
        }

        try
        {
            return await AskAsync(command, cancellationToken);
        }
        catch
        {
            IsUsable = false; // what the next reply answers would be anyone's guess
            throw;
        }
    }

    /// <summary>Says QUIT when there is someone to say it to, and closes.</summary>
    public async ValueTask DisposeAsync()
    {
        if (IsUsable)
        {
            IsUsable = false;
            try
            {
                using var limit = new CancellationTokenSource(_options.Timeouts.Farewell, _time);
                await _stream.WriteAsync("QUIT\r\n"u8.ToArray(), limit.Token);
                await _input.ReadLineAsync(MaxReplyLine, limit.Token);
            }
            catch (Exception e) when (e is IOException or OperationCanceledException)
            {
                // Every message has had its outcome; the goodbye is courtesy.
            }
        }

        try
        {
            await _stream.DisposeAsync();
        }
        catch (IOException)
        {
            // Likewise.
        }
    }

    private async Task OpenAsync(CancellationToken cancellationToken)
    {
        Require(await ReadReplyAsync(_options.Timeouts.Greeting, cancellationToken), 220);
        await GreetAsync(cancellationToken);
        if (!_options.RequireTls)
        {
            return;
        }

        if (!Capabilities.Has(SmtpCapabilities.StartTls))
        {
            throw new SmtpException(
                SmtpOutcome.Transient, SmtpFailure.TlsNotOffered,
                "The server offers no TLS, and nothing is sent without.");
        }

        Require(await AskAsync(SmtpCapabilities.StartTls, cancellationToken), 220);
        // RFC 3207 §4.2: what the server, or someone before it, said in the clear behind its 220 must not pass for
        // something said under TLS.
        if (_input.HasBuffered)
        {
            throw new SmtpException(
                SmtpOutcome.Transient, SmtpFailure.Protocol,
                "Something was sent in the clear behind the answer to STARTTLS.");
        }

        var tls = new SslStream(_stream, leaveInnerStreamOpen: false);
        _stream = tls;
        try
        {
            await LimitedAsync(
                _options.Timeouts.Tls,
                async limit =>
                {
                    await tls.AuthenticateAsClientAsync(
                        Tls.Client(_options.Host, _options.ClientCertificate, _options.PinServer!), limit);
                    return true;
                },
                cancellationToken);
        }
        catch (Exception e) when (e is AuthenticationException or CryptographicException)
        {
            throw new SmtpException(
                SmtpOutcome.Transient, SmtpFailure.TlsRefused,
                "The server's certificate is not the one expected, or TLS failed.", null, e);
        }

        _input.Reset(tls);
        await GreetAsync(cancellationToken);
    }

    private async Task GreetAsync(CancellationToken cancellationToken)
    {
        if (!Hello.TryParse(_options.EhloName, out var hello))
        {
            throw new ArgumentException("Our own name is no domain.");
        }

        var reply = await AskAsync(hello.Value.ToWire(), cancellationToken);
        Require(reply, 250);
        Capabilities = new SmtpCapabilities([.. reply.Lines.Skip(1)]);
    }

    /// <summary>MAIL, RCPTs, DATA. Each recipient is decided by its own reply or, once accepted, by the reply to the
    /// message.</summary>
    private async Task TransactAsync(
        string mail, List<string> commands, IReadOnlyList<string> recipients, SmtpRecipientResult?[] results,
        OutgoingData data, Action dotLeaves, CancellationToken cancellationToken)
    {
        if (_transactionOpen)
        {
            Require(await AskAsync("RSET", cancellationToken), 250);
        }

        _transactionOpen = true;
        if (!await AddressAsync(mail, commands, recipients, results, cancellationToken))
        {
            return;
        }

        if (results.All(r => r is not null))
        {
            return; // nobody is left to send to; the next message begins with RSET
        }

        await SendAsync(Lines(["DATA"]), _options.Timeouts.DataBlock, cancellationToken);
        var go = await ReadReplyAsync(_options.Timeouts.DataStart, cancellationToken);
        if (go.Code < 400 && go.Code != 354)
        {
            // A 250 here is no taking of a message: it has not been sent.
            throw new SmtpException(
                SmtpOutcome.Transient, SmtpFailure.Protocol, "The server's answer to DATA means nothing.");
        }

        if (go.Code != 354)
        {
            DecideByReply(results, recipients, go);
            return;
        }

        SmtpReply end;
        try
        {
            await data.WriteAsync(
                async octets => await SendAsync(octets, _options.Timeouts.DataBlock, cancellationToken), dotLeaves,
                cancellationToken);
            end = await ReadReplyAsync(_options.Timeouts.DataEnd, cancellationToken);
        }
        catch (SmtpException e) when (e.Failure == SmtpFailure.ConnectionLost)
        {
            if (await LastWordAsync() is not { } word)
            {
                throw;
            }
            // A server that says why before it closes (552, 421) has not taken the message.
            throw new SmtpException(
                SmtpOutcome.Transient, SmtpFailure.Refused, "The server refused the message and closed.", word, e);
        }

        if (end.Code is >= 300 and < 400) // no answer to a message: whether it was taken is not known
        {
            throw new SmtpException(
                SmtpOutcome.Transient, SmtpFailure.Protocol, "The server's answer to the message means nothing.");
        }

        _transactionOpen = false;
        DecideByReply(results, recipients, end);
    }

    /// <summary>Sends MAIL and every RCPT, pipelined when the server allows (RFC 2920). False when the sender was
    /// refused.</summary>
    private async Task<bool> AddressAsync(
        string mail, List<string> commands, IReadOnlyList<string> recipients, SmtpRecipientResult?[] results,
        CancellationToken cancellationToken)
    {
        var depth = Capabilities.Has(SmtpCapabilities.Pipelining) ? PipelineDepth : 1;
        var mailReply = depth == 1 ? await AskAsync(mail, cancellationToken) : null;
        for (var first = 0; first < commands.Count && (mailReply is null || IsTaken(mailReply)); first += depth)
        {
            var batch = commands.Skip(first).Take(depth).ToList();
            await SendAsync(
                Lines(mailReply is null ? [mail, .. batch] : batch), _options.Timeouts.DataBlock, cancellationToken);
            mailReply ??= await ReadReplyAsync(_options.Timeouts.Reply, cancellationToken);
            for (var i = 0; i < batch.Count; i++)
            {
                var reply = await ReadReplyAsync(_options.Timeouts.Reply, cancellationToken);
                if (IsTaken(mailReply) && !IsTaken(reply))
                {
                    results[first + i] = Refused(recipients[first + i], reply);
                }
            }
        }

        if (IsTaken(mailReply!))
        {
            return true;
        }

        DecideByReply(results, recipients, mailReply!);
        return false;
    }

    private static void DecideByReply(SmtpRecipientResult?[] results, IReadOnlyList<string> recipients, SmtpReply reply)
    {
        for (var i = 0; i < results.Length; i++)
        {
            results[i] ??= IsTaken(reply)
                ? new SmtpRecipientResult(recipients[i], SmtpOutcome.Delivered, null, reply)
                : Refused(recipients[i], reply);
        }
    }

    /// <summary>2yz alone is a yes to MAIL, RCPT and the message; 3yz is not (RFC 5321 §4.2.1).</summary>
    private static bool IsTaken(SmtpReply reply) => reply.Code is >= 200 and < 300;

    private static SmtpRecipientResult Refused(string recipient, SmtpReply reply) =>
        reply.IsPermanent
            ? new SmtpRecipientResult(recipient, SmtpOutcome.Permanent, SmtpFailure.Refused, reply)
            : new SmtpRecipientResult(
                recipient, SmtpOutcome.Transient, reply.IsTransient ? SmtpFailure.Refused : SmtpFailure.Protocol,
                reply);

    /// <summary>The same for all that are not decided yet; a reply with a permanent code says more than the outcome
    /// given.</summary>
    private static void Decide(
        SmtpRecipientResult?[] results, IReadOnlyList<string> recipients, SmtpOutcome outcome, SmtpFailure failure,
        SmtpReply? reply)
    {
        for (var i = 0; i < results.Length; i++)
        {
            results[i] ??= new SmtpRecipientResult(
                recipients[i], reply is { IsPermanent: true } ? SmtpOutcome.Permanent : outcome, failure, reply);
        }
    }

    private static void Require(SmtpReply reply, int code)
    {
        if (reply.Code == code)
        {
            return;
        }

        throw new SmtpException(
            reply.IsPermanent ? SmtpOutcome.Permanent : SmtpOutcome.Transient,
            reply.Code >= 400 ? SmtpFailure.Refused : SmtpFailure.Protocol, "The server refused the session.", reply);
    }

    private async Task<SmtpReply> AskAsync(string command, CancellationToken cancellationToken)
    {
        await SendAsync(Lines([command]), _options.Timeouts.DataBlock, cancellationToken);
        return await ReadReplyAsync(_options.Timeouts.Reply, cancellationToken);
    }

    private static byte[] Lines(IEnumerable<string> commands) =>
        Encoding.ASCII.GetBytes(string.Concat(commands.Select(c => c + "\r\n")));

    private async ValueTask SendAsync(
        ReadOnlyMemory<byte> octets, TimeSpan limit, CancellationToken cancellationToken) =>
        await LimitedAsync(
            limit,
            async token =>
            {
                await _stream.WriteAsync(octets, token);
                await _stream.FlushAsync(token);
                return true;
            },
            cancellationToken);

    private async Task<SmtpReply> ReadReplyAsync(TimeSpan limit, CancellationToken cancellationToken)
    {
        var reply = await LimitedAsync(limit, ReadReplyAsync, cancellationToken);
        if (reply.Code == 421)
        {
            IsUsable = false; // RFC 5321 §3.8: the server closes
        }

        return reply;
    }

    private async ValueTask<SmtpReply> ReadReplyAsync(CancellationToken cancellationToken)
    {
        List<string> lines = [];
        var first = 0;
        while (true)
        {
            var (kind, line) = await _input.ReadLineAsync(MaxReplyLine, cancellationToken);
            if (kind == SmtpLineKind.End)
            {
                throw new SmtpException(
                    SmtpOutcome.Transient, SmtpFailure.ConnectionLost, "The server closed the connection.");
            }

            if (kind != SmtpLineKind.Line
                || !SmtpReply.TryParseLine(line.Span, out var code, out var more, out var text)
                || (lines.Count > 0 && code != first)
                || lines.Count == SmtpReply.MaxLines)
            {
                throw new SmtpException(
                    SmtpOutcome.Transient, SmtpFailure.Protocol, "The server's answer is no SMTP reply.");
            }

            first = code;
            lines.Add(text);
            if (!more)
            {
                return SmtpReply.FromLines(code, lines);
            }
        }
    }

    /// <summary>A negative reply the server left behind before it closed, or null.</summary>
    private async Task<SmtpReply?> LastWordAsync()
    {
        try
        {
            using var limit = new CancellationTokenSource(_options.Timeouts.Farewell, _time);
            var reply = await ReadReplyAsync(limit.Token);
            return reply.Code >= 400 ? reply : null;
        }
        catch (Exception e) when (e is IOException or SmtpException or OperationCanceledException)
        {
            return null;
        }
    }

    private async Task<T> LimitedAsync<T>(
        TimeSpan limit, Func<CancellationToken, ValueTask<T>> wait, CancellationToken cancellationToken)
    {
        using var timer = new CancellationTokenSource(limit, _time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(timer.Token, cancellationToken);
        try
        {
            return await wait(either.Token);
        }
        catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
        {
            throw new SmtpException(
                SmtpOutcome.Transient, SmtpFailure.Timeout, "The server did not answer in time.", null, e);
        }
        catch (IOException e)
        {
            throw new SmtpException(
                SmtpOutcome.Transient, SmtpFailure.ConnectionLost, "The connection was lost.", null, e);
        }
    }
}
