using SecureMail.Shared;

namespace SecureMail.Cms;

/// <summary>
/// Content found inside a CMS object: copied to a <see cref="SecretSpool"/> as it passes, or left where it lies in a
/// seekable stream that its owner keeps open, so that a layer in the middle (signed in enveloped) is not held twice.
/// </summary>
internal sealed class HeldContent : IDisposable
{
    /// <summary>More pieces than this in the stream, and a copy is cheaper than the list of them.</summary>
    private const int MaxPieces = 4096;

    private readonly Stream? _source;
    private readonly long _origin;
    private readonly List<(long Start, long Offset)> _pieces = [];
    private SecretSpool? _copy;
    private long _end;

    private HeldContent(Stream? source)
    {
        _source = source;
        _origin = source?.Position ?? 0;
        _copy = source is null ? new SecretSpool() : null;
    }

    /// <summary>Octets of the content.</summary>
    public long Length { get; private set; }

    /// <summary>Content that will be copied.</summary>
    public static HeldContent Copied() => new(null);

    /// <summary>Content that stays in the stream, whose position is where the CMS object begins.</summary>
    public static HeldContent InPlace(Stream source) => new(source);

    /// <summary>Takes the next octets.</summary>
    /// <param name="piece">They themselves.</param>
    /// <param name="position">Where they stand, counted from the beginning of the CMS object.</param>
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

    /// <summary>From its beginning; seekable; good until this object is disposed.</summary>
    public Stream OpenRead() => _copy?.OpenRead() ?? new Reader(this);

    /// <summary>Wipes the copy, if there is one.</summary>
    public void Dispose() => _copy?.Dispose();

    /// <summary>Goes over to a copy: chunks are many.</summary>
    private void CopyAll()
    {
        var copy = new SecretSpool();
        try
        {
            var back = _source!.Position;
            using (var reader = new Reader(this))
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

    private sealed class Reader(HeldContent content) : SeekableReadStream
    {
        public override long Length => content.Length;

        public override int Read(Span<byte> buffer)
        {
            var count = Place(buffer.Length);
            var read = count == 0 ? 0 : content._source!.Read(buffer[..count]);
            Position += read;
            return read;
        }

        public override async ValueTask<int> ReadAsync(
            Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            var count = Place(buffer.Length);
            var read = count == 0 ? 0 : await content._source!.ReadAsync(buffer[..count], cancellationToken);
            Position += read;
            return read;
        }

        /// <summary>Sets the source to where our position lies; how many of the wanted octets stand there in one
        /// piece.</summary>
        private int Place(int wanted)
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
