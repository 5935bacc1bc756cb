using System.Formats.Asn1;
using System.IO.Pipelines;
using SecureMail.Cms;

namespace SecureMail.Tests.Cms;

/// <summary>
/// Messages truncated and changed in every region: no byte of the content is released, and no temporary file remains.
/// These tests run alone, because they inspect the open files of the process.
/// </summary>
[Collection(nameof(SpoolCleanupTests))]
public sealed class SafeReleaseTests
{
    private static readonly EnvelopeRecipient[] Recipients =
    [
        new(Readers.P256.Certificate),
        new(Readers.X25519.Certificate),
    ];

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(15)]
    [InlineData(16)]
    [InlineData(17)]
    [InlineData(10_240)]
    public async Task No_content_of_a_truncated_or_changed_message_is_released(int size)
    {
        var content = Pattern(0, size);
        var cms = await Readers.EncryptAsync(content, ContentCipher.Aes256Gcm, Recipients);
        (var head, var lengths) = Regions(cms);
        var end = cms.Length;
        int[] places =
        [
            .. Enumerable.Range(0, head),
            .. Spread(head, head + size),
            .. Enumerable.Range(head + size, end - head - size),
        ];
        foreach (var place in places)
        {
            foreach (var change in new byte[] { 0x01, 0x80 })
            {
                byte[] changed = [.. cms];
                changed[place] ^= change;
                var opened = await TryOpenAsync(changed);
                // A change that does not affect the content and its key (for example in the name of another recipient)
                // may pass; the content is then unchanged.
                if (opened is not null)
                {
                    opened.ShouldBe(content, $"byte {place}");
                    place.ShouldBeLessThan(head, "content and tag are authenticated");
                    lengths.ShouldNotContain(place, "a length octet");
                }
            }
            (await TryOpenAsync(cms[..place])).ShouldBeNull();
        }
        // What stands behind is no part of the content, and is told.
        using (DecryptedContent behind = await CmsDecryptor.DecryptAsync(
            new MemoryStream([.. cms, 0, .. cms]), [Readers.P256]))
        {
            behind.HasExtraOctets.ShouldBeTrue();
            behind.Length.ShouldBe(size);
        }

        OpenSpools().ShouldBe(0);
    }

    [Theory]
    [InlineData(25L << 20, "whole")]
    [InlineData(25L << 20, "cut in the middle")]
    [InlineData(25L << 20, "cut before the tag")]
    [InlineData(25L << 20, "changed at the beginning")]
    [InlineData(25L << 20, "changed in the middle")]
    [InlineData(25L << 20, "changed at the end")]
    [InlineData(25L << 20, "changed tag")]
    [InlineData(200L << 20, "changed tag")]
    [InlineData(200L << 20, "cut before the tag")]
    public async Task No_content_of_a_large_truncated_or_changed_message_is_released(long size, string how)
    {
        var pipe = new Pipe(new PipeOptions(pauseWriterThreshold: 1 << 20));
        Task writing = WriteAsync();
        var spools = 0;
        await using (
            var reading = new WatchedStream(pipe.Reader.AsStream(), () => spools = Math.Max(spools, OpenSpools())))
        {
            Task<DecryptedContent> opening = CmsDecryptor.DecryptAsync(reading, [Readers.P256]);
            if (how == "whole")
            {
                using DecryptedContent opened = await opening;
                opened.Length.ShouldBe(size);
                await using Stream content = opened.OpenContent();
                var buffer = new byte[1 << 20];
                for (long at = 0; at < size; at += buffer.Length)
                {
                    content.ReadExactly(buffer);
                    buffer.AsSpan().SequenceEqual(Pattern(at, buffer.Length)).ShouldBeTrue();
                }
            }
            else
            {
                (await Should.ThrowAsync<CmsException>(() => opening)).Error.ShouldBeOneOf(
                    CmsError.Truncated, CmsError.DecryptionFailed, CmsError.Malformed);
            }
        }
        await pipe.Reader.CompleteAsync();
        await writing;
        // Content that does not fit in memory was spooled to a file during decryption, and the file is removed.
        if (OperatingSystem.IsLinux() && size > 100 << 20)
        {
            spools.ShouldBe(1);
        }

        OpenSpools().ShouldBe(0);

        async Task WriteAsync()
        {
            await using var output = new ChangingStream(pipe.Writer.AsStream(leaveOpen: true), size, how);
            try
            {
                await CmsEnveloper.EncryptAsync(new PatternStream(size), output, Recipients, ContentCipher.Aes256Gcm);
                await output.FinishAsync();
            }
            catch (IOException)
            {
                // The decryptor failed and closed the pipe.
            }
            await pipe.Writer.CompleteAsync();
        }
    }

    private static async Task<byte[]?> TryOpenAsync(byte[] cms)
    {
        try
        {
            return await Readers.OpenAsync(cms, Readers.P256, Readers.X25519);
        }
        catch (CmsException)
        {
            return null;
        }
    }

    private static byte[] Pattern(long from, int count)
    {
        var pattern = new byte[count];
        for (var i = 0; i < count; i++)
        {
            pattern[i] = (byte)(((from + i) * 31) ^ ((from + i) >> 9));
        }

        return pattern;
    }

    private static IEnumerable<int> Spread(int from, int to) =>
        to - from <= 64
            ? Enumerable.Range(from, to - from)
            : [from, from + 1, from + ((to - from) / 2), to - 2, to - 1];

    /// <summary>The offset of the ciphertext, and the offsets of the length octets of all elements around it.</summary>
    private static (int Head, int[] Lengths) Regions(byte[] cms)
    {
        List<int> lengths = [];
        var at = 0;
        at = Into(at); // ContentInfo
        at = Past(at);
        at = Into(at); // [0]
        at = Into(at); // AuthEnvelopedData
        at = Past(at);
        at = Past(at);
        at = Into(at); // EncryptedContentInfo
        at = Past(at);
        at = Past(at);
        at = Into(at); // [0] encryptedContent
        return (at, [.. lengths]);

        int Into(int from)
        {
            AsnDecoder.ReadEncodedValue(cms.AsSpan(from), AsnEncodingRules.BER, out var offset, out _, out _);
            lengths.AddRange(Enumerable.Range(from + 1, offset - 1));
            return from + offset;
        }

        int Past(int from)
        {
            AsnDecoder.ReadEncodedValue(cms.AsSpan(from), AsnEncodingRules.BER, out _, out _, out var consumed);
            return from + consumed;
        }
    }

    /// <summary>Open temporary files of SecureMail in this process, with or without a name.</summary>
    private static int OpenSpools()
    {
        if (!OperatingSystem.IsLinux())
        {
            return 0;
        }

        var count = 0;
        foreach (var descriptor in Directory.GetFiles("/proc/self/fd"))
        {
            try
            {
                if (
                    File.ResolveLinkTarget(descriptor, returnFinalTarget: false)
                        ?.FullName.StartsWith(Path.Combine(Path.GetTempPath(), "securemail-"), StringComparison.Ordinal)
                    == true)
                {
                    count++;
                }
            }
            catch (IOException)
            {
                // The file was closed after it was listed.
            }
        }
        return count;
    }

    /// <summary>Content that is generated while it is read.</summary>
    private sealed class PatternStream(long length) : Stream
    {
        public override bool CanRead => true;
        public override bool CanSeek => true;
        public override bool CanWrite => false;
        public override long Length => length;
        public override long Position { get; set; }

        public override int Read(byte[] buffer, int offset, int count)
        {
            count = (int)Math.Min(count, length - Position);
            Pattern(Position, count).CopyTo(buffer, offset);
            Position += count;
            return count;
        }

        public override void Flush() { }

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();

        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
    }

    /// <summary>Passes a message on with one change. The tag is the last 18 bytes; the length of the content before it
    /// is unchanged.</summary>
    private sealed class ChangingStream(Stream output, long contentLength, string how) : Stream
    {
        private readonly MemoryStream _head = new();
        private long _position;

        public override bool CanRead => false;
        public override bool CanSeek => false;
        public override bool CanWrite => true;
        public override long Length => throw new NotSupportedException();
        public override long Position
        {
            get => _position;
            set => throw new NotSupportedException();
        }

        public override async ValueTask WriteAsync(
            ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
        {
            // The first write is the whole prefix.
            if (_position == 0)
            {
                _head.Write(buffer.Span);
            }

            var content = _position - _head.Length;
            long? cut = how switch
            {
                "cut in the middle" => contentLength / 2,
                "cut before the tag" => contentLength,
                _ => null,
            };
            long? change = how switch
            {
                "changed at the beginning" => 0,
                "changed in the middle" => contentLength / 2,
                "changed at the end" => contentLength - 1,
                "changed tag" => contentLength + 10,
                _ => null,
            };
            var bytes = buffer.ToArray();
            if (_position > 0 && change is { } at && at >= content && at < content + bytes.Length)
            {
                bytes[at - content] ^= 1;
            }

            var count =
                _position > 0 && cut is { } limit ? (int)Math.Clamp(limit - content, 0, bytes.Length) : bytes.Length;
            _position += bytes.Length;
            await output.WriteAsync(bytes.AsMemory(0, count), cancellationToken);
        }

        public async Task FinishAsync()
        {
            if (how == "something after the end")
            {
                await output.WriteAsync(new byte[] { 0 });
            }

            await output.FlushAsync();
        }

        public override void Flush() { }

        public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();

        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
    }

    /// <summary>Calls back every 4 MiB while it is read.</summary>
    private sealed class WatchedStream(Stream source, Action watch) : Stream
    {
        private long _read;

        public override bool CanRead => true;
        public override bool CanSeek => false;
        public override bool CanWrite => false;
        public override long Length => throw new NotSupportedException();
        public override long Position
        {
            get => _read;
            set => throw new NotSupportedException();
        }

        public override async ValueTask<int> ReadAsync(
            Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            var count = await source.ReadAsync(buffer, cancellationToken);
            if ((_read >> 22) != ((_read + count) >> 22))
            {
                watch();
            }

            _read += count;
            return count;
        }

        public override Task<int> ReadAsync(
            byte[] buffer,
            int offset,
            int count,
            CancellationToken cancellationToken
        ) => ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

        public override void Flush() { }

        public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();

        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
    }
}
