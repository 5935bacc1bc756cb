using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography;
using SecureMail.Mail.Mime;
using SecureMail.Mail.Smtp.Messages;

namespace SecureMail.Mail.Smtp.Client;

/// <summary>
/// One SMTP session as a client (RFC 5321): connect, EHLO, STARTTLS when required and EHLO again, then any number of
/// messages. Each recipient of each message gets an outcome of its own. Nothing is retried here, because the queue
/// decides whether and when to send again. The client leaves out on purpose: MX lookup, AUTH, SMTPUTF8, and falling
/// back to clear text.
/// </summary>
public sealed class SmtpClient : IAsyncDisposable
{
    /// <summary>Commands sent before replies are read. The number is small, so that the buffers of both sides cannot
    /// fill while each waits for the other (RFC 2920 §3.1).</summary>
    private const int PipelineDepth = 50;

    private readonly SmtpClientOptions _options;
    private readonly SmtpClientConnection _connection;
    private bool _transactionOpen;

    private SmtpClient(Stream stream, SmtpClientOptions options, TimeProvider time)
    {
        _connection = new SmtpClientConnection(stream, options.Timeouts, time);
        _options = options;
    }

    /// <summary>The capabilities of the server's last EHLO reply: under TLS when TLS is used.</summary>
    public SmtpCapabilities Capabilities { get; private set; } = new([]);

    /// <summary>Whether another message can be sent on this connection.</summary>
    public bool IsUsable => _connection.IsUsable;

    /// <summary>Opens a session.</summary>
    /// <exception cref="SmtpException">Transient or Permanent; no message was sent.</exception>
    /// <exception cref="ArgumentException">TLS is required without a pin, or our own name is not a domain.</exception>
    public static async Task<SmtpClient> ConnectAsync(
        SmtpClientOptions options, TimeProvider time, CancellationToken cancellationToken = default)
    {
        if (options.RequireTls && options.PinServer is null)
        {
            throw new ArgumentException("TLS is required, but no pin identifies the server.", nameof(options));
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

        return await OpenAsync(new NetworkStream(socket, ownsSocket: true), options, time, cancellationToken);
    }

    /// <summary>Opens a session over a connection that is made.</summary>
    /// <param name="stream">The client disposes it, also when this throws.</param>
    /// <inheritdoc cref="ConnectAsync"/>
    internal static async Task<SmtpClient> OpenAsync(
        Stream stream, SmtpClientOptions options, TimeProvider time, CancellationToken cancellationToken)
    {
        var client = new SmtpClient(stream, options, time);
        try
        {
            await client.OpenAsync(cancellationToken);
            return client;
        }
        catch
        {
            client._connection.IsUsable = false;
            await client.DisposeAsync();
            throw;
        }
    }

    /// <summary>Sends one message.</summary>
    /// <param name="from">The return path; null is &lt;&gt;.</param>
    /// <param name="message">Seekable; read from its position on; lines end with CRLF.</param>
    /// <returns>One result for each recipient, in order. If the call is cancelled after the final dot was sent, the
    /// results are Unknown, and no exception is thrown.</returns>
    /// <exception cref="SmtpException">Permanent, Message: the message may not be sent, and nothing of it
    /// was.</exception>
    /// <exception cref="MimeException">An address breaks the grammar.</exception>
    public async Task<IReadOnlyList<SmtpRecipientResult>> SendAsync(
        string? from, IReadOnlyList<string> recipients, Stream message, CancellationToken cancellationToken = default)
    {
        if (recipients.Count == 0)
        {
            throw new ArgumentException("A message needs a recipient.", nameof(recipients));
        }

        RequireUsable();
        var data = await OutgoingData.InspectAsync(message, cancellationToken);
        if (data.HasEightBit && !Capabilities.Has(SmtpCapabilities.EightBitMime))
        {
            throw new SmtpException(
                SmtpOutcome.Permanent, SmtpFailure.Message,
                "The message holds 8-bit bytes, and the server accepts 7-bit text only.");
        }

        if (Capabilities.MaxSize < data.Size)
        {
            throw new SmtpException(
                SmtpOutcome.Permanent, SmtpFailure.Message, "The message is larger than the server accepts.");
        }

        var mail = new MailFrom(from, data.Size, data.HasEightBit).ToWire(Capabilities);
        var commands = recipients.Select(r => new RcptTo(r).ToWire()).ToList();

        var results = new RecipientResults(recipients);
        var dotSent = false;
        try
        {
            await TransactAsync(mail, commands, results, data, () => dotSent = true, cancellationToken);
        }
        catch (SmtpException e)
        {
            _connection.IsUsable = false;
            results.DecideByFailure(
                dotSent && e.Reply is null ? SmtpOutcome.Unknown : SmtpOutcome.Transient, e.Failure, e.Reply);
        }
        catch (OperationCanceledException)
        {
            _connection.IsUsable = false;
            if (!dotSent)
            {
                throw;
            }

            results.DecideByFailure(SmtpOutcome.Unknown, SmtpFailure.Timeout, null);
        }
        catch
        {
            // The message could not be read to its end. The connection is closed, so that the server does not accept a
            // part of it.
            _connection.IsUsable = false;
            throw;
        }

        return results.ToList();
    }

    /// <summary>Sends a private command between messages and returns the server's reply, positive or not.</summary>
    /// <param name="command">Verb and argument: US-ASCII without control characters, at most 510 octets (RFC 5321
    /// §4.5.3.1.4).</param>
    /// <exception cref="SmtpException">The connection was lost, or the reply is not an SMTP reply.</exception>
    public async Task<SmtpReply> CommandAsync(string command, CancellationToken cancellationToken = default)
    {
        if (command.Length is 0 or > 510 || command.AsSpan().ContainsAnyExceptInRange(' ', '~'))
        {
            throw new ArgumentException("A command is one line of US-ASCII.", nameof(command));
        }

        RequireUsable();
        try
        {
            return await _connection.ExecuteAsync(command, cancellationToken);
        }
        catch
        {
            _connection.IsUsable = false; // the next reply could belong to this command
            throw;
        }
    }

    /// <summary>Sends QUIT if the connection is usable, and closes.</summary>
    public ValueTask DisposeAsync() => _connection.DisposeAsync();

    private void RequireUsable()
    {
        if (!IsUsable)
        {
            throw new InvalidOperationException("This connection has ended.");
        }
    }

    private async Task OpenAsync(CancellationToken cancellationToken)
    {
        RequireCode(await _connection.ReadReplyAsync(_options.Timeouts.Greeting, cancellationToken), 220);
        await SendEhloAsync(cancellationToken);
        if (!_options.RequireTls)
        {
            return;
        }

        if (!Capabilities.Has(SmtpCapabilities.StartTls))
        {
            throw new SmtpException(
                SmtpOutcome.Transient, SmtpFailure.TlsNotOffered, "TLS is required, and the server does not offer it.");
        }

        RequireCode(await _connection.ExecuteAsync(SmtpCapabilities.StartTls, cancellationToken), 220);
        // RFC 3207 §4.2: bytes that the server, or an attacker, sent in the clear after the 220 may not be taken for
        // bytes sent under TLS.
        if (_connection.HasBuffered)
        {
            throw new SmtpException(
                SmtpOutcome.Transient, SmtpFailure.Protocol,
                "Bytes were sent in the clear after the reply to STARTTLS.");
        }

        try
        {
            await _connection.StartTlsAsync(
                () => Tls.Client(_options.Host, _options.ClientCertificate, _options.PinServer!), cancellationToken);
        }
        catch (Exception e) when (e is AuthenticationException or CryptographicException)
        {
            throw new SmtpException(
                SmtpOutcome.Transient, SmtpFailure.TlsRefused,
                "The server's certificate is not the expected one, or TLS failed.", null, e);
        }

        await SendEhloAsync(cancellationToken);
    }

    private async Task SendEhloAsync(CancellationToken cancellationToken)
    {
        if (!Hello.TryParse(_options.EhloName, out var hello))
        {
            throw new ArgumentException("The name for EHLO is not a domain or an address literal.");
        }

        var reply = await _connection.ExecuteAsync(hello.Value.ToWire(), cancellationToken);
        RequireCode(reply, 250);
        Capabilities = new SmtpCapabilities([.. reply.Lines.Skip(1)]);
    }

    /// <summary>Sends MAIL, RCPT and DATA. Each recipient is decided by the reply to its RCPT or, if accepted there, by
    /// the reply to the message.</summary>
    private async Task TransactAsync(
        string mail, List<string> commands, RecipientResults results, OutgoingData data, Action dotLeaves,
        CancellationToken cancellationToken)
    {
        if (_transactionOpen)
        {
            RequireCode(await _connection.ExecuteAsync("RSET", cancellationToken), 250);
        }

        _transactionOpen = true;
        if (!await SendEnvelopeAsync(mail, commands, results, cancellationToken))
        {
            return;
        }

        if (results.AllDecided)
        {
            return; // no recipient was accepted; the next message begins with RSET
        }

        await _connection.SendCommandsAsync(["DATA"], cancellationToken);
        var go = await _connection.ReadReplyAsync(_options.Timeouts.DataStart, cancellationToken);
        if (go.Code < 400 && go.Code != 354)
        {
            // A 250 here does not accept a message, because none has been sent.
            throw new SmtpException(
                SmtpOutcome.Transient, SmtpFailure.Protocol, "The server's reply to DATA is not 354 and no refusal.");
        }

        if (go.Code != 354)
        {
            results.DecideByReply(go);
            return;
        }

        SmtpReply end;
        try
        {
            await data.WriteAsync(
                async bytes => await _connection.SendAsync(bytes, cancellationToken), dotLeaves, cancellationToken);
            end = await _connection.ReadReplyAsync(_options.Timeouts.DataEnd, cancellationToken);
        }
        catch (SmtpException e) when (e.Failure == SmtpFailure.ConnectionLost)
        {
            if (await _connection.TryReadLastReplyAsync() is not { } reply)
            {
                throw;
            }
            // A server that gives a reason before it closes (552, 421) has not accepted the message.
            throw new SmtpException(
                SmtpOutcome.Transient, SmtpFailure.Refused, "The server refused the message and closed.", reply, e);
        }

        if (end.Code is >= 300 and < 400)
        {
            // 3yz does not reply to a message, so it is not known whether the message was accepted.
            throw new SmtpException(
                SmtpOutcome.Transient, SmtpFailure.Protocol, "The server's reply to the message is 3yz.");
        }

        _transactionOpen = false;
        results.DecideByReply(end);
    }

    /// <summary>Sends MAIL and every RCPT, pipelined when the server allows it (RFC 2920). False when the sender was
    /// refused.</summary>
    private async Task<bool> SendEnvelopeAsync(
        string mail, List<string> commands, RecipientResults results, CancellationToken cancellationToken)
    {
        var depth = Capabilities.Has(SmtpCapabilities.Pipelining) ? PipelineDepth : 1;
        var mailReply = depth == 1 ? await _connection.ExecuteAsync(mail, cancellationToken) : null;
        for (
            var first = 0;
            first < commands.Count && (mailReply is null || RecipientResults.IsAccepted(mailReply));
            first += depth)
        {
            var batch = commands.Skip(first).Take(depth).ToList();
            await _connection.SendCommandsAsync(mailReply is null ? [mail, .. batch] : batch, cancellationToken);
            mailReply ??= await _connection.ReadReplyAsync(_options.Timeouts.Reply, cancellationToken);
            for (var i = 0; i < batch.Count; i++)
            {
                var reply = await _connection.ReadReplyAsync(_options.Timeouts.Reply, cancellationToken);
                if (RecipientResults.IsAccepted(mailReply) && !RecipientResults.IsAccepted(reply))
                {
                    results.Refuse(first + i, reply);
                }
            }
        }

        if (RecipientResults.IsAccepted(mailReply!))
        {
            return true;
        }

        results.DecideByReply(mailReply!);
        return false;
    }

    private static void RequireCode(SmtpReply reply, int code)
    {
        if (reply.Code == code)
        {
            return;
        }

        throw new SmtpException(
            reply.IsPermanent ? SmtpOutcome.Permanent : SmtpOutcome.Transient,
            reply.Code >= 400 ? SmtpFailure.Refused : SmtpFailure.Protocol, "The server refused the session.", reply);
    }
}
