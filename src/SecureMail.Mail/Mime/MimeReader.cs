using System.Text;

namespace SecureMail.Mail.Mime;

/// <summary>
/// Reads the structure of a message in one pass over its lines: header sections, delimiters, offsets. The reader
/// decodes no body and copies none. RFC 5322 and RFC 2045/2046 say what is legal, and <see cref="MimeLeniency"/> lists
/// what else is accepted. Text that two readers could split differently (two boundaries, a delimiter of an outer part
/// inside an open inner part) is refused, because a signature could then cover other text than another reader shows.
/// </summary>
internal sealed class MimeReader
{
    /// <summary>Bytes that a byte order mark and the "From " line of an mbox may have; a line of mail has at most
    /// 998.</summary>
    private const int MaxStoredPrefix = 1024;

    private readonly MimeReaderOptions _options;
    private readonly MimeLimits _limits;
    private readonly LineScanner _lines;
    private readonly ByteSource _source;
    private readonly List<byte[]> _boundaries = [];
    private int _parts;
    private int _headerBytes;
    private EntityEnd _entityEnd;

    private MimeReader(ByteSource source, MimeReaderOptions options)
    {
        _source = source;
        _options = options;
        _limits = options.Limits;
        _lines = new LineScanner(source.Stream, StartOf(source.Stream, options), options);
    }

    /// <summary>
    /// Where an entity ended: at a delimiter of the multipart <paramref name="Level"/>, or at the end of the message
    /// (-1).
    /// </summary>
    private readonly record struct EntityEnd(int Level, bool Closing, long End);

    public static MimePart Read(ByteSource source, MimeReaderOptions options) =>
        new MimeReader(source, options).ReadEntity(0, "text/plain");

    /// <summary>Reads one entity of a message, which unlike a message may have an empty header.</summary>
    public static MimePart ReadEntity(ByteSource source, MimeReaderOptions options) =>
        new MimeReader(source, options).ReadEntity(1, "text/plain");

    /// <summary>
    /// Where the header begins in a stored message: after a byte order mark and the "From " line of an mbox (RFC 4155),
    /// or at 0.
    /// </summary>
    public static int HeaderStart(ReadOnlySpan<byte> head)
    {
        var start = head.StartsWith("\uFEFF"u8) ? 3 : 0;
        var line = head[start..];
        if (!line.StartsWith("From "u8))
        {
            return start;
        }

        // RFC 5322 §4.5: "From :" is a header field.
        var end = line.IndexOf((byte)'\n');
        var isField = line["From ".Length..].TrimStart(" \t"u8).StartsWith(":"u8);
        return end < 0 || isField ? start : start + end + 1;
    }

    /// <summary>
    /// Reads header sections that follow each other, as in reports (RFC 3464 §2.1), within the same limits.
    /// </summary>
    public static List<IReadOnlyList<MimeHeader>> ReadFieldGroups(ByteSource source, MimeReaderOptions options)
    {
        var reader = new MimeReader(source, options);
        List<IReadOnlyList<MimeHeader>> groups = [];
        bool ended;
        do
        {
            var fields = new List<MimeHeader>();
            ended = reader.ReadHeaders(fields, depth: 1);
            if (fields.Count > 0)
            {
                groups.Add(fields);
            }
        } while (!ended);
        return groups;
    }

    private MimePart ReadEntity(int depth, string defaultType)
    {
        if (depth > _limits.Depth)
        {
            throw new MimeException(MimeReason.TooDeep, $"Parts are nested deeper than {_limits.Depth}.");
        }

        if (++_parts > _limits.Parts)
        {
            throw new MimeException(MimeReason.TooManyParts, $"The message has more than {_limits.Parts} parts.");
        }

        var offset = _lines.NextOffset;
        var headers = new List<MimeHeader>();
        bool headersOnly;
        try
        {
            headersOnly = ReadHeaders(headers, depth);
        }
        catch (MimeException e)
            when (e.Reason == MimeReason.Malformed && depth > 0 && _options.Allows(MimeLeniency.HeaderlessParts))
        {
            // A field is parsed only when the line after it has been read, so the current line may already be the
            // delimiter.
            if (!AtDelimiter())
            {
                SkipToDelimiter();
            }

            return new MimePart(
                _source, _options, [], MimeContentType.Of("application/octet-stream"), "7bit", offset, offset,
                Math.Max(_entityEnd.End, offset), []);
        }

        var bodyOffset = _lines.NextOffset;
        var type = ContentTypeOf(headers, defaultType);
        var encoding = EncodingOf(headers);
        List<MimePart> children = [];
        if (!headersOnly)
        {
            if (type.MediaType.StartsWith("multipart/", StringComparison.Ordinal))
            {
                ReadMultipart(type, encoding, children, depth);
            }
            else if (type.MediaType is "message/rfc822" or "message/global" && encoding is "7bit" or "8bit" or "binary")
            {
                children.Add(ReadEntity(depth + 1, "text/plain"));
            }
            else
            {
                SkipToDelimiter();
            }
        }

        var end = Math.Max(_entityEnd.End, offset);
        bodyOffset = Math.Min(bodyOffset, end);
        return new MimePart(_source, _options, headers, type, encoding, offset, bodyOffset, end, children);
    }

    private void ReadMultipart(MimeContentType type, string encoding, List<MimePart> children, int depth)
    {
        // RFC 2045 §6.4: a multipart may not be encoded as a whole.
        if (encoding is not ("7bit" or "8bit" or "binary"))
        {
            throw new MimeException(MimeReason.Malformed, "A multipart carries a transfer encoding.");
        }

        if (!type.Parameters.TryGetValue("boundary", out var boundary)
            || boundary.Length is 0 or > 70
            || !Ascii.IsValid(boundary))
        {
            throw new MimeException(MimeReason.Malformed, "A multipart names no boundary of 1 to 70 characters.");
        }

        var level = _boundaries.Count;
        _boundaries.Add(Encoding.ASCII.GetBytes(boundary));
        SkipToDelimiter();
        var childType = type.MediaType == "multipart/digest" ? "message/rfc822" : "text/plain";
        while (_entityEnd.Level == level && !_entityEnd.Closing)
        {
            children.Add(ReadEntity(depth + 1, childType));
        }

        if (_entityEnd.Level != level && !_options.Allows(MimeLeniency.MissingFinalDelimiter))
        {
            throw new MimeException(MimeReason.Truncated, "A multipart ends before its closing delimiter.");
        }

        if (children.Count == 0)
        {
            throw new MimeException(MimeReason.Malformed, "A multipart has no part.");
        }

        _boundaries.RemoveAt(level);
        if (_entityEnd.Level == level)
        {
            SkipToDelimiter(); // the epilogue
        }
    }

    private void SkipToDelimiter()
    {
        // Outside every multipart no line can be a delimiter, so the body is the rest of the message.
        if (_boundaries.Count > 0 || !_lines.TryMoveToEnd())
        {
            while (_lines.MoveNextDashes())
            {
                if (AtDelimiter())
                {
                    return;
                }
            }
        }

        _entityEnd = new EntityEnd(-1, Closing: true, _lines.LineOffset);
    }

    /// <summary>Sets <see cref="_entityEnd"/> when the current line is a delimiter of any open multipart.</summary>
    private bool AtDelimiter()
    {
        var line = _lines.Line;
        if (line.Length < 3 || line[0] != '-' || line[1] != '-')
        {
            return false;
        }

        // RFC 2046 §5.1.1: "--", the boundary, "--" again when closing, then transport padding and nothing else. The
        // innermost multipart is tried first.
        for (var level = _boundaries.Count - 1; level >= 0; level--)
        {
            if (!line[2..].StartsWith(_boundaries[level]))
            {
                continue;
            }

            var rest = line[(2 + _boundaries[level].Length)..];
            var closing = rest.StartsWith("--"u8);
            if (closing)
            {
                rest = rest[2..];
            }

            if (rest.IndexOfAnyExcept((byte)' ', (byte)'\t') >= 0)
            {
                continue;
            }

            _entityEnd = new EntityEnd(level, closing, _lines.LineOffset - _lines.PreviousEndLength);
            return true;
        }

        return false;
    }

    /// <summary>
    /// Reads one header section. True when the entity ends with the section, without an empty line after it.
    /// </summary>
    private bool ReadHeaders(List<MimeHeader> headers, int depth)
    {
        var raw = new List<byte>(256);
        var offset = 0L;
        var sectionBytes = 0;
        while (_lines.MoveNext())
        {
            sectionBytes += CountHeaderLine(sectionBytes);
            var line = _lines.Line;
            if (line.IsEmpty || AtDelimiter())
            {
                AddField(headers, raw, offset);
                if (depth == 0 && headers.Count == 0)
                {
                    throw new MimeException(MimeReason.Malformed, "The message has no header.");
                }

                return !line.IsEmpty;
            }

            if (_lines.HasStrayBytes)
            {
                throw new MimeException(MimeReason.BareLineEnd, "A header holds a CR without LF, or a NUL.");
            }

            if (_lines.EndLength == 0)
            {
                throw new MimeException(MimeReason.Truncated, "The message ends within a header.");
            }

            if (line[0] is (byte)' ' or (byte)'\t')
            {
                if (raw.Count == 0)
                {
                    throw new MimeException(MimeReason.Malformed, "The header begins with a continuation line.");
                }
            }
            else
            {
                AddField(headers, raw, offset);
                offset = _lines.LineOffset;
                if (headers.Count == _limits.HeaderFields)
                {
                    throw new MimeException(
                        MimeReason.TooManyHeaders, $"A header has more than {_limits.HeaderFields} fields.");
                }
            }

            raw.AddRange(line);
            raw.AddRange(_lines.EndLength == 2 ? "\r\n"u8 : "\n"u8);
        }

        if (raw.Count == 0 && headers.Count == 0 && depth == 0)
        {
            throw new MimeException(MimeReason.Truncated, "The message is empty.");
        }

        AddField(headers, raw, offset);
        _entityEnd = new EntityEnd(-1, Closing: true, _lines.LineOffset);
        return true;
    }

    private int CountHeaderLine(int sectionBytes)
    {
        if (_lines.IsLong || _lines.LineLength > _limits.HeaderLineBytes)
        {
            throw new MimeException(
                MimeReason.LineTooLong, $"A header line is longer than {_limits.HeaderLineBytes} bytes.");
        }

        var count = _lines.LineLength + _lines.EndLength;
        _headerBytes += count;
        if (sectionBytes + count > _limits.HeaderSectionBytes || _headerBytes > _limits.AllHeaderBytes)
        {
            throw new MimeException(
                MimeReason.HeaderTooLarge,
                $"A header exceeds {_limits.HeaderSectionBytes} bytes, or all together exceed {_limits.AllHeaderBytes}."
            );
        }

        return count;
    }

    private static void AddField(List<MimeHeader> headers, List<byte> raw, long offset)
    {
        if (raw.Count == 0)
        {
            return;
        }

        headers.Add(MimeHeader.Read(raw.ToArray(), offset));
        raw.Clear();
    }

    private MimeContentType ContentTypeOf(List<MimeHeader> headers, string defaultType)
    {
        var header = SingleField(headers, "Content-Type");
        if (header is null)
        {
            return MimeContentType.Of(defaultType);
        }

        try
        {
            return MimeContentType.Parse(header.Value, _options.Allows(MimeLeniency.EncodedWordsInQuotes));
        }
        catch (MimeException e)
            when (e.Reason == MimeReason.Malformed
                && _options.Allows(MimeLeniency.OpaqueMalformedTypes)
                && !header.Value.Contains("multipart", StringComparison.OrdinalIgnoreCase)
                && !header.Value.Contains("pkcs7", StringComparison.OrdinalIgnoreCase)
                && !header.Value.Contains(".p7", StringComparison.OrdinalIgnoreCase))
        {
            return MimeContentType.Of("application/octet-stream");
        }
    }

    /// <summary>
    /// The transfer encoding, lower case; "7bit" when none is named (RFC 2045 §6.1). Comments, quotes and parameters
    /// are passed over. A value that is not one word is returned as it stands and is no known encoding.
    /// </summary>
    private static string EncodingOf(List<MimeHeader> headers)
    {
        if (SingleField(headers, "Content-Transfer-Encoding") is not { } header)
        {
            return "7bit";
        }

        try
        {
            var lexer = new HeaderLexer(header.Value);
            if (lexer.AtEnd)
            {
                return "7bit";
            }

            var encoding = lexer.Peek() == '"' ? lexer.ReadQuoted().Trim() : lexer.ReadToken();
            return (lexer.AtEnd || lexer.Peek() == ';' ? encoding : header.Value).ToLowerInvariant();
        }
        catch (MimeException)
        {
            return header.Value.ToLowerInvariant();
        }
    }

    private static long StartOf(Stream stream, MimeReaderOptions options)
    {
        if (!options.Allows(MimeLeniency.StoredPrefix))
        {
            return 0;
        }

        Span<byte> head = stackalloc byte[MaxStoredPrefix];
        stream.Position = 0;
        return HeaderStart(head[..stream.ReadAtLeast(head, head.Length, throwOnEndOfStream: false)]);
    }

    /// <summary>
    /// The only field of that name, or null. Two such fields with different values are refused, because different
    /// software would obey different ones.
    /// </summary>
    private static MimeHeader? SingleField(List<MimeHeader> headers, string name)
    {
        MimeHeader? found = null;
        foreach (var header in headers)
        {
            if (!header.Is(name))
            {
                continue;
            }

            if (found is not null && found.Value != header.Value)
            {
                throw new MimeException(MimeReason.Malformed, $"A header has two {name} fields.");
            }

            found = header;
        }

        return found;
    }
}
