using System.Security.Cryptography;
using SecureMail.Shared;

namespace SecureMail.Smime;

/// <summary>Passes on what is written to this stream and hashes it. The output stays open.</summary>
internal sealed class HashingStream(Stream output, IncrementalHash hash) : WriteStream
{
    public override async ValueTask WriteAsync(
        ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        hash.AppendData(buffer.Span);
        await output.WriteAsync(buffer, cancellationToken);
    }

    public override void Write(ReadOnlySpan<byte> buffer)
    {
        hash.AppendData(buffer);
        output.Write(buffer);
    }

    public override void Flush() => output.Flush();

    public override Task FlushAsync(CancellationToken cancellationToken) => output.FlushAsync(cancellationToken);
}

/// <summary>
/// Reads several seekable streams one after another as one seekable stream. Each part is read from its beginning,
/// whatever its position was. Disposing this stream disposes the parts.
/// </summary>
internal sealed class JoinedStream(params Stream[] parts) : SeekableReadStream
{
    public override long Length => parts.Sum(p => p.Length);

    public override int Read(Span<byte> buffer)
    {
        if (SeekPart() is not { } part)
        {
            return 0;
        }

        var read = part.Read(buffer);
        Position += read;
        return read;
    }

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        if (SeekPart() is not { } part)
        {
            return 0;
        }

        var read = await part.ReadAsync(buffer, cancellationToken);
        Position += read;
        return read;
    }

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            foreach (var part in parts)
            {
                part.Dispose();
            }
        }

        base.Dispose(disposing);
    }

    /// <summary>The part that holds the next byte, set to that byte; null at the end.</summary>
    private Stream? SeekPart()
    {
        var start = 0L;
        foreach (var part in parts)
        {
            if (Position < start + part.Length)
            {
                part.Position = Position - start;
                return part;
            }

            start += part.Length;
        }

        return null;
    }
}

/// <summary>Reads another stream and leaves it open when this one is disposed, because the caller owns it.</summary>
internal sealed class LeaveOpenStream(Stream inner) : SeekableReadStream
{
    public override long Length => inner.Length;

    public override long Position
    {
        get => inner.Position;
        set => inner.Position = value;
    }

    public override int Read(Span<byte> buffer) => inner.Read(buffer);

    public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) =>
        inner.ReadAsync(buffer, cancellationToken);
}
