using Microsoft.Extensions.Logging;

namespace SecureMail.Mail.Smtp.Server;

/// <summary>
/// One DATA command: opens a reception, replies 354, receives the bytes, and commits or aborts. A message that is
/// already refused is still read to its true end, so that its text is never read as commands.
/// </summary>
internal sealed class DataTransfer(
    SmtpConnection connection, SmtpServerOptions options, TimeProvider time, long sessionStarted, ILogger logger,
    string session, CancellationToken stop)
{
    private readonly SmtpServerLimits _limits = options.Limits;
    private readonly DataReader _reader = new();
    private SmtpReply? _refusal;

    /// <summary>Whether the reception has returned a reply to the commit. Nothing is aborted after that.</summary>
    public bool Committed { get; private set; }

    public static SmtpReply TooLarge() => new(552, "5.3.4", "The message is larger than is taken here");

    /// <summary>The reply to a step that failed: the exception's own reply, or 451, with the exception in the
    /// log.</summary>
    public static SmtpReply ReplyTo(Exception e, ILogger logger, string session, string step)
    {
        if (e is SmtpRefusalException refusal)
        {
            return refusal.Reply;
        }

        Log.StepFailed(logger, e, session, step);
        return new SmtpReply(451, "4.3.0", "Local error, try again later");
    }

    /// <summary>Receives one message and returns the reply to DATA.</summary>
    /// <exception cref="IOException">The peer has closed the connection.</exception>
    /// <exception cref="OperationCanceledException">The bytes arrived too slowly, or the server stops.</exception>
    public async Task<SmtpReply> RunAsync(SmtpEnvelope envelope)
    {
        SmtpReception reception;
        try
        {
            reception = await options.OnData(envelope, stop);
        }
        catch (Exception e) when (!stop.IsCancellationRequested)
        {
            return ReplyTo(e, logger, session, "DATA");
        }

        await using (reception)
        {
            try
            {
                connection.QueueReply(new SmtpReply(354, null, "Go on, end with CRLF.CRLF"));
                await connection.FlushAsync();
                return await ReceiveAsync(reception) ?? await CommitAsync(reception);
            }
            finally
            {
                if (!Committed)
                {
                    await AbortAsync(reception);
                }
            }
        }
    }

    /// <summary>Reads to the end of the data. Null when the message is whole and acceptable; otherwise the reply to
    /// send.</summary>
    private async Task<SmtpReply?> ReceiveAsync(SmtpReception reception)
    {
        var unstuffed = new byte[64 * 1024];
        var started = time.GetTimestamp();
        long received = 0;
        long kept = 0;
        while (true)
        {
            var bytes = await connection.PeekAsync(NextTimeout(started, received));
            if (bytes.IsEmpty)
            {
                throw new IOException("The peer closed the connection within DATA.");
            }

            var done = _reader.Feed(bytes.Span, unstuffed, out var consumed, out var written);
            connection.Input.Advance(consumed);
            received += consumed;
            kept += written;
            CheckLimits(kept);
            if (_refusal is null && written > 0)
            {
                await WriteAsync(reception, unstuffed.AsMemory(0, written));
            }

            if (done)
            {
                return _refusal;
            }

            if (received > (2 * _limits.MessageBytes) + unstuffed.Length)
            {
                // The reply ends the session, because the peer still sends a message that was refused long ago.
                return new SmtpReply(421, "4.3.4", "The message has no end");
            }
        }
    }

    private void CheckLimits(long kept)
    {
        if (_reader.IsBad && _refusal?.Code != 554)
        {
            Log.BareLineEnds(logger, session);
            // RFC 5321 §2.3.8, §4.1.1.4: CR and LF occur only together. The message is refused, because the next server
            // could see another end of data in it.
            _refusal = new SmtpReply(554, "5.6.0", "The message holds a bare CR, a bare LF or a NUL");
        }
        else if (kept > _limits.MessageBytes)
        {
            _refusal ??= TooLarge();
        }
    }

    private async Task WriteAsync(SmtpReception reception, ReadOnlyMemory<byte> bytes)
    {
        try
        {
            await reception.WriteAsync(bytes, stop);
        }
        catch (Exception e) when (!stop.IsCancellationRequested)
        {
            _refusal = ReplyTo(e, logger, session, "storing");
        }
    }

    private async Task<SmtpReply> CommitAsync(SmtpReception reception)
    {
        try
        {
            // The commit point. A crash before the reception returns leaves the message with the sender, because no
            // reply was sent. After it the message is durable; if the reply is lost, the sender sends a duplicate.
            var reply = await reception.CommitAsync(stop);
            Committed = true;
            return reply;
        }
        catch (Exception e) when (!stop.IsCancellationRequested)
        {
            return ReplyTo(e, logger, session, "commit");
        }
    }

    /// <summary>Aborts the reception. An exception is logged only, because the reply must still be sent: without it the
    /// sender does not know that the message was not accepted.</summary>
    private async Task AbortAsync(SmtpReception reception)
    {
        try
        {
            await reception.AbortAsync();
        }
        catch (Exception e)
        {
            Log.StepFailed(logger, e, session, "abort");
        }
    }

    /// <summary>How long to wait for the next bytes: the time-out of a block, or less when the transfer or the session
    /// is near its time limit.</summary>
    /// <exception cref="OperationCanceledException">The transfer is slower than allowed.</exception>
    private TimeSpan NextTimeout(long started, long received)
    {
        var left =
            _limits.DataGrace
            + TimeSpan.FromSeconds((double)received / _limits.DataBytesPerSecond)
            - time.GetElapsedTime(started);
        var whole = _limits.SessionTime - time.GetElapsedTime(sessionStarted);
        if (whole < left)
        {
            left = whole;
        }

        if (left <= TimeSpan.Zero)
        {
            throw new OperationCanceledException("The transfer is slower than allowed.");
        }

        return left < _limits.DataBlockTimeout ? left : _limits.DataBlockTimeout;
    }
}
