using System.Buffers;
using System.Runtime.CompilerServices;

namespace SecureMail.Cms.Asn1;

/// <summary>
/// Reads BER (X.690) forward from a stream: containers are entered and left, small elements are read whole, and OCTET
/// STRINGs are read piece by piece, primitive or constructed. Definite and indefinite lengths are supported. No
/// allocation has a length from the input, every element must lie within the one around it, and the depth is limited.
/// Tag numbers above 30 do not occur in CMS and are refused.
/// <see cref="System.Formats.Asn1.AsnReader"/> parses the elements that are read whole. Only the elements around them,
/// which may be too large for memory, are read here.
/// </summary>
internal sealed class BerReader(Stream source, CmsLimits limits) : IDisposable
{
    /// <summary>The result of <see cref="PeekTagAsync"/> at the end of the container, or of the input outside of any
    /// container.</summary>
    public const int End = -1;

    private const int BufferSize = 64 * 1024;
    private const long Unbounded = long.MaxValue;

    private readonly byte[] _buffer = ArrayPool<byte>.Shared.Rent(BufferSize);
    private readonly Stack<Container> _containers = new();
    private int _start;
    private int _end;
    private long _bufferOffset;
    private long _stringBytesLeft;
    private int _stringDepth;

    private readonly record struct Container(bool Indefinite, long Bound);

    private readonly record struct Header(byte Tag, long Length, bool Indefinite);

    /// <summary>Bytes of the source that have been consumed.</summary>
    public long Position => _bufferOffset + _start;

    private long Bound => _containers.TryPeek(out Container container) ? container.Bound : Unbounded;

    /// <summary>The identifier octet of the next element (X.690 §8.1.2), or <see cref="End"/>.</summary>
    public async ValueTask<int> PeekTagAsync(CancellationToken cancellationToken)
    {
        var inside = _containers.TryPeek(out Container container);
        if (inside && !container.Indefinite && Position == container.Bound)
        {
            return End;
        }

        if (!await FillAsync(1, cancellationToken))
        {
            return inside ? throw Truncated() : End;
        }

        if (_buffer[_start] != 0)
        {
            return _buffer[_start];
        }
        // X.690 §8.1.5: two zero octets end an indefinite length and occur nowhere else.
        if (!inside || !container.Indefinite)
        {
            throw CmsException.Malformed("end-of-contents octets where they are not allowed");
        }

        if (!await FillAsync(2, cancellationToken))
        {
            throw Truncated();
        }

        return _buffer[_start + 1] == 0 ? End : throw CmsException.Malformed("an element without a type");
    }

    /// <summary>Enters a constructed element.</summary>
    /// <exception cref="CmsException">The next element has another tag, or the nesting is too deep.</exception>
    public async ValueTask EnterAsync(byte tag, CancellationToken cancellationToken)
    {
        await ExpectAsync(tag, cancellationToken);
        Header header = await ReadHeaderAsync(cancellationToken);
        Push(header);
    }

    /// <summary>Leaves the container, which must have been read to its end.</summary>
    public async ValueTask LeaveAsync(CancellationToken cancellationToken)
    {
        if (await PeekTagAsync(cancellationToken) != End)
        {
            throw CmsException.Malformed("something follows where the element should end");
        }

        if (_containers.Pop().Indefinite)
        {
            _start += 2;
        }
    }

    /// <summary>Reads the next element whole: identifier, length and contents as they were received.</summary>
    /// <exception cref="CmsException">The element is longer than <see cref="CmsLimits.MaxPart"/>, nested too deep, or
    /// truncated.</exception>
    public async ValueTask<byte[]> ReadElementAsync(CancellationToken cancellationToken)
    {
        using var copy = new MemoryStream();
        await CopyElementAsync(copy, cancellationToken);
        return copy.ToArray();
    }

    /// <summary>Reads the next element whole, as <see cref="ReadElementAsync(CancellationToken)"/> does.</summary>
    /// <exception cref="CmsException">The element has another tag.</exception>
    public async ValueTask<byte[]> ReadElementAsync(byte tag, CancellationToken cancellationToken)
    {
        await ExpectAsync(tag, cancellationToken);
        return await ReadElementAsync(cancellationToken);
    }

    /// <summary>
    /// Begins an OCTET STRING of unknown size; <see cref="ReadPieceAsync"/> then returns its contents. The element is
    /// primitive (the given tag) or constructed from OCTET STRINGs (the same tag with the constructed bit).
    /// </summary>
    public async ValueTask BeginOctetStringAsync(byte primitiveTag, CancellationToken cancellationToken)
    {
        var tag = await PeekTagAsync(cancellationToken);
        if (tag != primitiveTag && tag != (primitiveTag | 0x20))
        {
            throw CmsException.Malformed("an octet string was expected");
        }

        Header header = await ReadHeaderAsync(cancellationToken);
        if (tag == primitiveTag)
        {
            _stringBytesLeft = header.Length;
            return;
        }
        Push(header);
        _stringDepth = 1;
    }

    /// <summary>The next piece of the OCTET STRING, valid until the next call; empty at its end.</summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public async ValueTask<ReadOnlyMemory<byte>> ReadPieceAsync(CancellationToken cancellationToken)
    {
        while (_stringBytesLeft == 0)
        {
            if (_stringDepth == 0)
            {
                return default;
            }

            switch (await PeekTagAsync(cancellationToken))
            {
                case End:
                    await LeaveAsync(cancellationToken);
                    _stringDepth--;
                    break;
                case Der.OctetString:
                    _stringBytesLeft = (await ReadHeaderAsync(cancellationToken)).Length;
                    break;
                case Der.ConstructedOctetString:
                    Push(await ReadHeaderAsync(cancellationToken));
                    _stringDepth++;
                    break;
                default:
                    throw CmsException.Malformed("a constructed octet string holds something else");
            }
        }
        if (!await FillAsync(1, cancellationToken))
        {
            throw Truncated();
        }

        var count = (int)Math.Min(_stringBytesLeft, _end - _start);
        var piece = new ReadOnlyMemory<byte>(_buffer, _start, count);
        _start += count;
        _stringBytesLeft -= count;
        return piece;
    }

    /// <summary>
    /// Reads what follows the outermost element to the end of the input. True when it is more than zeros and line ends,
    /// which some writers append.
    /// </summary>
    public async ValueTask<bool> ReadRestAsync(CancellationToken cancellationToken)
    {
        if (_containers.Count > 0)
        {
            throw new InvalidOperationException("a container was not left");
        }

        var found = false;
        while (await FillAsync(1, cancellationToken))
        {
            found |= _buffer.AsSpan(_start, _end - _start).ContainsAnyExcept((byte)0, (byte)'\r', (byte)'\n');
            _start = _end;
        }

        return found;
    }

    public void Dispose() => ArrayPool<byte>.Shared.Return(_buffer, clearArray: true);

    private async ValueTask ExpectAsync(byte tag, CancellationToken cancellationToken)
    {
        var found = await PeekTagAsync(cancellationToken);
        if (found != tag)
        {
            throw CmsException.Malformed(
                found == End ? "an element is missing" : $"type {found:x2} where {tag:x2} was expected");
        }
    }

    private void Push(Header header)
    {
        if (_containers.Count >= limits.MaxDepth)
        {
            throw new CmsException(CmsError.LimitExceeded, "CMS elements nest too deep");
        }

        _containers.Push(new Container(header.Indefinite, header.Indefinite ? Bound : Position + header.Length));
    }

    private async ValueTask CopyElementAsync(MemoryStream copy, CancellationToken cancellationToken)
    {
        if (await PeekTagAsync(cancellationToken) == End)
        {
            throw CmsException.Malformed("an element is missing");
        }

        Header header = await ReadHeaderAsync(cancellationToken, copy);
        if (!header.Indefinite)
        {
            if (header.Length > limits.MaxPart - copy.Length)
            {
                throw new CmsException(CmsError.LimitExceeded, "a part of the CMS object is too large");
            }

            for (var left = header.Length; left > 0;)
            {
                if (!await FillAsync(1, cancellationToken))
                {
                    throw Truncated();
                }

                var count = (int)Math.Min(left, _end - _start);
                copy.Write(_buffer, _start, count);
                _start += count;
                left -= count;
            }
            return;
        }
        Push(header);
        while (await PeekTagAsync(cancellationToken) != End)
        {
            if (copy.Length > limits.MaxPart)
            {
                throw new CmsException(CmsError.LimitExceeded, "a part of the CMS object is too large");
            }

            await CopyElementAsync(copy, cancellationToken);
        }
        await LeaveAsync(cancellationToken);
        copy.Write(Der.EndOfContents);
    }

    /// <summary>Reads identifier and length octets and copies them to <paramref name="copy"/>, if given.</summary>
    private async ValueTask<Header> ReadHeaderAsync(CancellationToken cancellationToken, MemoryStream? copy = null)
    {
        if (!await FillAsync(2, cancellationToken))
        {
            throw Truncated();
        }

        var tag = _buffer[_start];
        if ((tag & 0x1F) == 0x1F)
        {
            throw CmsException.Malformed("a tag number that CMS does not use");
        }

        int first = _buffer[_start + 1];
        var size = 2;
        long length = first;
        var indefinite = first == 0x80;
        if (indefinite)
        {
            if ((tag & 0x20) == 0)
            {
                throw CmsException.Malformed("a primitive element of indefinite length");
            }

            length = 0;
        }
        else if (first > 0x80)
        {
            // A length of eight or more octets is refused, because no input has 2^56 bytes.
            var lengthSize = first & 0x7F;
            if (lengthSize > 7)
            {
                throw CmsException.Malformed("an impossible length");
            }

            size += lengthSize;
            if (!await FillAsync(size, cancellationToken))
            {
                throw Truncated();
            }

            length = 0;
            for (var i = 0; i < lengthSize; i++)
            {
                length = (length << 8) | _buffer[_start + 2 + i];
            }
        }
        copy?.Write(_buffer, _start, size);
        _start += size;
        if (Position > Bound || length > Bound - Position)
        {
            throw CmsException.Malformed("an element reaches beyond the one around it");
        }

        return new Header(tag, length, indefinite);
    }

    /// <summary>Reads until the buffer has at least this many bytes; false when the input ends before.</summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private async ValueTask<bool> FillAsync(int count, CancellationToken cancellationToken)
    {
        while (_end - _start < count)
        {
            if (_start > 0)
            {
                _buffer.AsSpan(_start, _end - _start).CopyTo(_buffer);
                _bufferOffset += _start;
                _end -= _start;
                _start = 0;
            }
            var read = await source.ReadAsync(_buffer.AsMemory(_end, BufferSize - _end), cancellationToken);
            if (read == 0)
            {
                return false;
            }

            _end += read;
        }
        return true;
    }

    private static CmsException Truncated() =>
        new(CmsError.Truncated, "the CMS object ends too early: a part of it is missing");
}
