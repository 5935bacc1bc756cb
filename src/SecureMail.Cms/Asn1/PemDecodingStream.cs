using System.Buffers;
using System.Buffers.Text;
using System.Text;
using SecureMail.Shared;

namespace SecureMail.Cms.Asn1;

/// <summary>
/// The contents of the first PEM block of CMS (RFC 7468) in a stream, decoded while they are read. Text before the
/// block is allowed (RFC 7468 §2) up to a limit, and text after it; <see cref="HasTextAround"/> tells. Invalid base64
/// is the error <see cref="CmsError.Malformed"/>.
/// </summary>
internal sealed class PemDecodingStream(Stream source) : ReadStream
{
    private const int MaxPreamble = 64 * 1024;
    private const int MaxLabelLine = 128;

    // RFC 7468 §8 and §9: CMS, and PKCS7 of older generators. OpenSSL reads "PKCS #7 SIGNED DATA" too, and gpgsm has
    // its own labels.
    private static readonly string[] Labels =
        ["CMS", "PKCS7", "PKCS #7 SIGNED DATA", "SIGNED MESSAGE", "ENCRYPTED MESSAGE"];

    /// <summary>The UTF-8 byte order mark as Latin-1 characters, which the octets are compared as.</summary>
    private const string ByteOrderMark = "\u00EF\u00BB\u00BF";

    private readonly byte[] _input = new byte[16 * 1024];
    private readonly byte[] _base64 = new byte[16 * 1024];
    private readonly byte[] _output = new byte[12 * 1024];
    private int _inputStart;
    private int _inputEnd;
    private int _base64Count;
    private int _outputStart;
    private int _outputEnd;
    private string? _label;
    private bool _padded;
    private bool _ended;

    /// <summary>Whether text stands before or after the block; known when the stream has been read to its
    /// end.</summary>
    public bool HasTextAround { get; private set; }

    /// <summary>Whether this text is the first line of a block of CMS.</summary>
    public static bool IsBeginLine(ReadOnlySpan<byte> line)
    {
        var text = Encoding.Latin1.GetString(line.TrimEnd(" \t\r"u8));
        return Array.Exists(Labels, l => text == $"-----BEGIN {l}-----");
    }

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        _label ??= await ReadBeginAsync(cancellationToken);
        while (_outputStart == _outputEnd)
        {
            if (_ended)
            {
                return 0;
            }

            await DecodeMoreAsync(cancellationToken);
        }
        var count = Math.Min(buffer.Length, _outputEnd - _outputStart);
        _output.AsMemory(_outputStart, count).CopyTo(buffer);
        _outputStart += count;
        return count;
    }

    private async ValueTask<string> ReadBeginAsync(CancellationToken cancellationToken)
    {
        var line = new StringBuilder();
        for (var read = 0; read < MaxPreamble; read++)
        {
            var next = await NextAsync(cancellationToken);
            if (next < 0)
            {
                break;
            }

            if (next is not ('\n' or '\r'))
            {
                if (line.Length < MaxLabelLine)
                {
                    line.Append((char)next);
                }

                continue;
            }
            var text = line.ToString().Trim();
            if (text.StartsWith(ByteOrderMark, StringComparison.Ordinal))
            {
                text = text[ByteOrderMark.Length..];
            }

            // Any text behind the label would stand outside of what is signed, so the label must be known.
            if (Array.Find(Labels, l => text == $"-----BEGIN {l}-----") is { } label)
            {
                return label;
            }

            HasTextAround |= text.Length > 0;
            line.Clear();
        }
        throw new CmsException(CmsError.NotCms, "no PEM block was found");
    }

    private async ValueTask DecodeMoreAsync(CancellationToken cancellationToken)
    {
        while (_base64Count < _base64.Length)
        {
            var next = await NextAsync(cancellationToken);
            if (next < 0)
            {
                throw new CmsException(CmsError.Truncated, "the PEM block has no end line: a part of it is missing");
            }

            if (next is ' ' or '\t' or '\r' or '\n')
            {
                continue;
            }

            if (next == '-')
            {
                await ReadEndAsync(cancellationToken);
                _ended = true;
                break;
            }
            // RFC 4648 §3.3: nothing follows the padding.
            if (_padded && next != '=')
            {
                throw CmsException.Malformed("base64 continues after its padding");
            }

            _padded |= next == '=';
            _base64[_base64Count++] = (byte)next;
        }
        var whole = _ended ? _base64Count : _base64Count & ~3;
        if (
            Base64.DecodeFromUtf8(
                _base64.AsSpan(0, whole), _output, out var consumed, out var written,
                isFinalBlock: _ended || _padded) != OperationStatus.Done
            || consumed != whole)
        {
            throw CmsException.Malformed("the PEM block is not base64");
        }

        _base64.AsSpan(whole, _base64Count - whole).CopyTo(_base64);
        _base64Count -= whole;
        (_outputStart, _outputEnd) = (0, written);
    }

    private async ValueTask ReadEndAsync(CancellationToken cancellationToken)
    {
        var expected = $"----END {_label}-----";
        foreach (var c in expected)
        {
            if (await NextAsync(cancellationToken) != c)
            {
                throw CmsException.Malformed("the end line of the PEM block does not match its begin line");
            }
        }

        for (int next; (next = await NextAsync(cancellationToken)) >= 0;)
        {
            HasTextAround |= next is not (' ' or '\t' or '\r' or '\n' or 0);
        }
    }

    private async ValueTask<int> NextAsync(CancellationToken cancellationToken)
    {
        if (_inputStart == _inputEnd)
        {
            _inputStart = 0;
            _inputEnd = await source.ReadAsync(_input, cancellationToken);
            if (_inputEnd == 0)
            {
                return -1;
            }
        }
        return _input[_inputStart++];
    }
}
