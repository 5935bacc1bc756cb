using Microsoft.Extensions.Logging;

namespace SecureMail.Mail.Smtp.Server;

/// <summary>The octets of one DATA on their way into a reception. A message already lost is still read to its true
/// end.</summary>
internal sealed class DataTransfer(
    SmtpReception reception, SmtpServerLimits limits, TimeProvider time, long sessionBegan, ILogger logger,
    string session, CancellationToken stop)
{
    private readonly DataReader _reader = new();
    private readonly byte[] _unstuffed = new byte[64 * 1024];
    private SmtpReply? _refusal;

    /// <summary>Set by the session once the reception has answered: from then on nothing is aborted.</summary>
    public bool Committed { get; set; }

    /// <summary>It was refused long ago and still came: what is behind it is not worth reading.</summary>
    public bool HasNoEnd { get; private set; }

    public static SmtpReply TooLarge() => new(552, "5.3.4", "The message is larger than is taken here");

    /// <summary>The answer to a step that failed: what it said itself, or a local error that is logged.</summary>
    public static SmtpReply ReplyTo(Exception e, ILogger logger, string session, string step)
    {
        if (e is SmtpRefusalException refusal)
        {
            return refusal.Reply;
        }

        Log.StepFailed(logger, e, session, step);
        return new SmtpReply(451, "4.3.0", "Local error, try again later");
    }

    /// <summary>Reads to the end of data. Null when the message is whole and good; otherwise the reply to
    /// give.</summary>
    /// <param name="input">Where the octets are buffered.</param>
    /// <param name="peek">Waits for octets, no longer than it is told.</param>
    /// <exception cref="IOException">The peer has gone.</exception>
    /// <exception cref="OperationCanceledException">It came too slowly.</exception>
    public async Task<SmtpReply?> RunAsync(SmtpInput input, Func<TimeSpan, Task<ReadOnlyMemory<byte>>> peek)
    {
        var began = time.GetTimestamp();
        long received = 0;
        long kept = 0;
        while (true)
        {
            var octets = await peek(Patience(began, received));
            if (octets.IsEmpty)
            {
                throw new IOException("The peer has gone within DATA.");
            }

            var done = _reader.Feed(octets.Span, _unstuffed, out var consumed, out var written);
            input.Advance(consumed);
            received += consumed;
            kept += written;
            Judge(kept);
            if (_refusal is null && written > 0)
            {
                await WriteAsync(written);
            }

            if (done)
            {
                return _refusal;
            }

            if (received > (2 * limits.MessageBytes) + _unstuffed.Length)
            {
                HasNoEnd = true;
                return new SmtpReply(421, "4.3.4", "The message has no end");
            }
        }
    }

    private void Judge(long kept)
    {
        if (_reader.IsBad && _refusal?.Code != 554)
        {
            Log.BareLineEnds(logger, session);
            // RFC 5321 §2.3.8, §4.1.1.4: neither alone. Passing it on would let the next server see another end of
            // data.
            _refusal = new SmtpReply(554, "5.6.0", "The message holds a bare CR, a bare LF or a NUL");
        }
        else if (kept > limits.MessageBytes)
        {
            _refusal ??= TooLarge();
        }
    }

    private async Task WriteAsync(int count)
    {
        try
        {
            await reception.WriteAsync(_unstuffed.AsMemory(0, count), stop);
        }
        catch (Exception e) when (!stop.IsCancellationRequested)
        {
            _refusal = ReplyTo(e, logger, session, "storing");
        }
    }

    /// <summary>How long to wait for the next octets: a block's time, or less when the whole transfer is slower than is
    /// borne.</summary>
    private TimeSpan Patience(long began, long received)
    {
        var left =
            limits.DataGrace
            + TimeSpan.FromSeconds((double)received / limits.DataBytesPerSecond)
            - time.GetElapsedTime(began);
        var whole = limits.SessionTime - time.GetElapsedTime(sessionBegan);
        if (whole < left)
        {
            left = whole;
        }

        if (left <= TimeSpan.Zero)
        {
            throw new OperationCanceledException("The transfer is slower than is borne.");
        }

        return left < limits.DataBlockTimeout ? left : limits.DataBlockTimeout;
    }
}
