namespace SecureMail.Shared;

/// <summary>
/// A stream of known length that is read at any position and never written. A subclass reads at
/// <see cref="Position"/>, advances it by what it read, and returns 0 from <see cref="Length"/> on, because a position
/// beyond the end is allowed as in every <see cref="Stream"/>.
/// </summary>
internal abstract class SeekableReadStream : ReadStream
{
    private long _position;

    public sealed override bool CanSeek => true;

    public abstract override long Length { get; }

    /// <summary>The byte that is read next, counted from 0.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The position is negative.</exception>
    public override long Position
    {
        get => _position;
        set
        {
            ArgumentOutOfRangeException.ThrowIfNegative(value);
            _position = value;
        }
    }

    /// <summary>Sets <see cref="Position"/> and returns it.</summary>
    /// <exception cref="IOException">The position would be negative; nothing changed.</exception>
    public sealed override long Seek(long offset, SeekOrigin origin)
    {
        var position = origin switch
        {
            SeekOrigin.Begin => offset,
            SeekOrigin.Current => Position + offset,
            _ => Length + offset,
        };
        return Position = position >= 0 ? position : throw new IOException("a position before the beginning");
    }
}
