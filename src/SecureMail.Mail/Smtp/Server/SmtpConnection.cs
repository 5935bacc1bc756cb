using System.Net.Security;

namespace SecureMail.Mail.Smtp.Server;

/// <summary>
/// The connection of one session: input, queued replies, time-outs and the change to TLS. Replies are queued and sent
/// together, as RFC 2920 §3.2 asks for pipelined commands. Every wait ends with its time-out or when the server stops.
/// </summary>
internal sealed class SmtpConnection(Stream stream, SmtpServerLimits limits, TimeProvider time, CancellationToken stop)
    : IAsyncDisposable
{
    private static readonly TimeSpan FinalReplyTimeout = TimeSpan.FromSeconds(2);
    private readonly MemoryStream _replies = new();
    private Stream _stream = stream;

    public SmtpInput Input { get; } = new(stream);

    /// <summary>Waits for one command line, at most for <paramref name="timeout"/>.</summary>
    /// <exception cref="OperationCanceledException">The time is over, or the server stops.</exception>
    public Task<(SmtpLineKind Kind, ReadOnlyMemory<byte> Line)> ReadLineAsync(TimeSpan timeout) =>
        WithTimeoutAsync(timeout, cancellationToken => Input.ReadLineAsync(limits.CommandLineBytes, cancellationToken));

    /// <summary>Waits for bytes, at most for <paramref name="timeout"/>. See
    /// <see cref="SmtpInput.PeekAsync"/>.</summary>
    /// <exception cref="OperationCanceledException">The time is over, or the server stops.</exception>
    public Task<ReadOnlyMemory<byte>> PeekAsync(TimeSpan timeout) => WithTimeoutAsync(timeout, Input.PeekAsync);

    public void QueueReply(SmtpReply reply) => _replies.Write(reply.ToWire());

    /// <summary>Sends the queued replies.</summary>
    /// <exception cref="IOException">The peer has closed the connection.</exception>
    /// <exception cref="OperationCanceledException">The time is over, or the server stops.</exception>
    public async Task FlushAsync()
    {
        if (_replies.Length == 0)
        {
            return;
        }

        await WithTimeoutAsync(limits.DataBlockTimeout, async cancellationToken =>
        {
            await _stream.WriteAsync(_replies.GetBuffer().AsMemory(0, (int)_replies.Length), cancellationToken);
            await _stream.FlushAsync(cancellationToken);
            return true;
        });
        _replies.SetLength(0);
    }

    /// <summary>Tries to send a last reply to a peer that may not read any more. Queued replies are not sent.</summary>
    public async Task TrySendFinalReplyAsync(SmtpReply reply)
    {
        try
        {
            using var limit = new CancellationTokenSource(FinalReplyTimeout, time);
            await _stream.WriteAsync(reply.ToWire(), limit.Token);
        }
        catch (Exception e)
            when (e
                    is IOException
                        or OperationCanceledException
                        or ObjectDisposedException
                        or NotSupportedException
                        or InvalidOperationException)
        {
            // A cancelled read may have left the TLS stream unusable. The session ends in both cases.
        }
    }

    /// <summary>
    /// Negotiates TLS and drops the bytes buffered before it, because RFC 3207 §4.2 asks the server to discard what it
    /// learnt before TLS, bytes sent in the clear after STARTTLS included.
    /// </summary>
    public async Task StartTlsAsync(SslServerAuthenticationOptions options)
    {
        var tls = new SslStream(_stream, leaveInnerStreamOpen: false);
        _stream = tls; // from here the TLS stream owns the plain stream and closes it, also when the handshake fails
        await WithTimeoutAsync(limits.TlsTimeout, async cancellationToken =>
        {
            await tls.AuthenticateAsServerAsync(options, cancellationToken);
            return true;
        });
        Input.Reset(tls);
    }

    public async ValueTask DisposeAsync()
    {
        try
        {
            await _stream.DisposeAsync();
        }
        catch (IOException)
        {
            // TLS sends a message on closing, but the peer may have closed the connection.
        }
    }

    private async Task<T> WithTimeoutAsync<T>(TimeSpan timeout, Func<CancellationToken, ValueTask<T>> wait)
    {
        using var timer = new CancellationTokenSource(timeout, time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(timer.Token, stop);
        return await wait(either.Token);
    }
}
