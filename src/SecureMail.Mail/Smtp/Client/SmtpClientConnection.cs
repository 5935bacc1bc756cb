using System.Net.Security;
using System.Text;

namespace SecureMail.Mail.Smtp.Client;

/// <summary>
/// The connection of a client: sends commands and data, reads replies, changes to TLS. Every wait has a time-out.
/// Methods throw <see cref="SmtpException"/> when the connection is lost, a time-out passes, or the server breaks the
/// protocol.
/// </summary>
internal sealed class SmtpClientConnection(Stream stream, SmtpClientTimeouts timeouts, TimeProvider time)
    : IAsyncDisposable
{
    private const int MaxReplyLine = 2000;
    private readonly SmtpInput _input = new(stream);
    private Stream _stream = stream;

    /// <summary>Whether another command can be sent. It is false after a reply of 421 (RFC 5321 §3.8: the server
    /// closes), and when the owner has set it so.</summary>
    public bool IsUsable { get; set; } = true;

    /// <summary>Whether the server has sent more bytes than were read.</summary>
    public bool HasBuffered => _input.HasBuffered;

    /// <summary>Sends one command and reads its reply.</summary>
    public async Task<SmtpReply> ExecuteAsync(string command, CancellationToken cancellationToken)
    {
        await SendCommandsAsync([command], cancellationToken);
        return await ReadReplyAsync(timeouts.Reply, cancellationToken);
    }

    /// <summary>Sends commands in one write, without reading replies.</summary>
    public ValueTask SendCommandsAsync(IEnumerable<string> commands, CancellationToken cancellationToken) =>
        SendAsync(Encoding.ASCII.GetBytes(string.Concat(commands.Select(c => c + "\r\n"))), cancellationToken);

    public async ValueTask SendAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken) =>
        await WithTimeoutAsync(
            timeouts.DataBlock,
            async token =>
            {
                await _stream.WriteAsync(bytes, token);
                await _stream.FlushAsync(token);
                return true;
            },
            cancellationToken);

    public async Task<SmtpReply> ReadReplyAsync(TimeSpan timeout, CancellationToken cancellationToken)
    {
        var reply = await WithTimeoutAsync(timeout, ReadReplyAsync, cancellationToken);
        if (reply.Code == 421)
        {
            IsUsable = false; // RFC 5321 §3.8: the server closes
        }

        return reply;
    }

    /// <summary>The negative reply that the server sent before it closed the connection, or null.</summary>
    public async Task<SmtpReply?> TryReadLastReplyAsync()
    {
        try
        {
            using var limit = new CancellationTokenSource(timeouts.Farewell, time);
            var reply = await ReadReplyAsync(limit.Token);
            return reply.Code >= 400 ? reply : null;
        }
        catch (Exception e) when (e is IOException or SmtpException or OperationCanceledException)
        {
            return null;
        }
    }

    /// <summary>Negotiates TLS. An exception of the handshake is thrown as it is.</summary>
    public async Task StartTlsAsync(Func<SslClientAuthenticationOptions> options, CancellationToken cancellationToken)
    {
        var tls = new SslStream(_stream, leaveInnerStreamOpen: false);
        _stream = tls; // from here the TLS stream owns the plain stream and closes it, also when the handshake fails
        await WithTimeoutAsync(
            timeouts.Tls,
            async token =>
            {
                await tls.AuthenticateAsClientAsync(options(), token);
                return true;
            },
            cancellationToken);
        _input.Reset(tls);
    }

    /// <summary>Sends QUIT if the connection is usable, and closes.</summary>
    public async ValueTask DisposeAsync()
    {
        if (IsUsable)
        {
            IsUsable = false;
            try
            {
                using var limit = new CancellationTokenSource(timeouts.Farewell, time);
                await _stream.WriteAsync("QUIT\r\n"u8.ToArray(), limit.Token);
                await _input.ReadLineAsync(MaxReplyLine, limit.Token);
            }
            catch (Exception e) when (e is IOException or OperationCanceledException)
            {
                // Every message has its outcome already, so a failed QUIT changes nothing.
            }
        }

        try
        {
            await _stream.DisposeAsync();
        }
        catch (IOException)
        {
            // TLS sends a message on closing, but the server may have closed the connection.
        }
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
                    SmtpOutcome.Transient, SmtpFailure.Protocol, "The server's reply is not an SMTP reply.");
            }

            first = code;
            lines.Add(text);
            if (!more)
            {
                return SmtpReply.FromLines(code, lines);
            }
        }
    }

    private async Task<T> WithTimeoutAsync<T>(
        TimeSpan timeout, Func<CancellationToken, ValueTask<T>> wait, CancellationToken cancellationToken)
    {
        using var timer = new CancellationTokenSource(timeout, time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(timer.Token, cancellationToken);
        try
        {
            return await wait(either.Token);
        }
        catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
        {
            throw new SmtpException(
                SmtpOutcome.Transient, SmtpFailure.Timeout, "The server did not reply in time.", null, e);
        }
        catch (IOException e)
        {
            throw new SmtpException(
                SmtpOutcome.Transient, SmtpFailure.ConnectionLost, "The connection was lost.", null, e);
        }
    }
}
