using SecureMail.Shared;

namespace SecureMail.Cms;

/// <summary>
/// The content included in a CMS object (eContent, RFC 5652 §5.2). It is copied to a <see cref="SecretSpool"/> while it
/// is read, or it stays in a seekable stream that its owner keeps open, so that an inner layer (signed in enveloped) is
/// not stored twice.
/// </summary>
internal sealed class EncapsulatedContent : IDisposable
{
    /// <summary>The content is copied when it has more pieces, because a copy is then cheaper than the list of
    /// pieces.</summary>
    private const int MaxPieces = 4096;

    private readonly Stream? _source;
    private readonly long _origin;
    private readonly List<(long Start, long Offset)> _pieces = [];
    private SecretSpool? _copy;
    private long _end;

    private EncapsulatedContent(Stream? source)
    {
        _source = source;
        _origin = source?.Position ?? 0;
        _copy = source is null ? new SecretSpool() : null;
    }

    /// <summary>Bytes of the content.</summary>
    public long Length { get; private set; }

    /// <summary>Content that is copied.</summary>
    public static EncapsulatedContent Copied() => new(null);

    /// <summary>Content that stays in the stream. The CMS object begins at the position of the stream.</summary>
    public static EncapsulatedContent InPlace(Stream source) => new(source);

    /// <summary>Adds the next piece of the content.</summary>
    /// <param name="piece">Its bytes.</param>
    /// <param name="position">Its offset from the beginning of the CMS object.</param>
    public void Append(ReadOnlySpan<byte> piece, long position)
    {
        if (_copy is null && (_pieces.Count == 0 || position != _end) && _pieces.Count == MaxPieces)
        {
            CopyAll();
        }

        if (_copy is not null)
        {
            _copy.Write(piece);
        }
        else if (_pieces.Count == 0 || position != _end)
        {
            _pieces.Add((Length, position));
        }

        _end = position + piece.Length;
        Length += piece.Length;
    }

    /// <summary>The content from its beginning; seekable; valid until this object is disposed.</summary>
    public Stream OpenRead() => _copy?.OpenRead() ?? new InPlaceStream(this);

    /// <summary>Wipes the copy, if there is one.</summary>
    public void Dispose() => _copy?.Dispose();

    /// <summary>Copies the content, because it has too many pieces.</summary>
    private void CopyAll()
    {
        var copy = new SecretSpool();
        try
        {
            var back = _source!.Position;
            using (var reader = new InPlaceStream(this))
            {
                reader.CopyTo(copy.OpenWrite());
            }

            _source.Position = back;
            _copy = copy;
        }
        catch
        {
            copy.Dispose();
            throw;
        }
    }

    private sealed class InPlaceStream(EncapsulatedContent content) : SeekableReadStream
    {
        public override long Length => content.Length;

        public override int Read(Span<byte> buffer)
        {
            var count = SeekSource(buffer.Length);
            var read = count == 0 ? 0 : content._source!.Read(buffer[..count]);
            Position += read;
            return read;
        }

        public override async ValueTask<int> ReadAsync(
            Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            var count = SeekSource(buffer.Length);
            var read = count == 0 ? 0 : await content._source!.ReadAsync(buffer[..count], cancellationToken);
            Position += read;
            return read;
        }

        /// <summary>Moves the source to the current position and returns how many of the wanted bytes are contiguous
        /// there.</summary>
        private int SeekSource(int wanted)
        {
            if (Position >= content.Length)
            {
                return 0;
            }

            var index = content._pieces.BinarySearch((Position, long.MaxValue));
            index = index < 0 ? ~index - 1 : index;
            (var start, var offset) = content._pieces[index];
            var end = index + 1 < content._pieces.Count ? content._pieces[index + 1].Start : content.Length;
            content._source!.Position = content._origin + offset + (Position - start);
            return (int)Math.Min(wanted, end - Position);
        }
    }
}
