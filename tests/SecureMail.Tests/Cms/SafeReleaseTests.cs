using System.Formats.Asn1;
using System.IO.Pipelines;
using SecureMail.Cms;

namespace SecureMail.Tests.Cms;

/// <summary>
/// Messages cut off and changed in every region: no octet of the content comes out, and no temporary file stays. Alone,
/// because it looks at the files that the process holds open.
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
    public async Task Nothing_comes_out_of_a_message_that_was_cut_off_or_changed_anywhere(int size)
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
                // A change that leaves the content and its key alone (the other recipient's name, say) may pass; then
                // all of it is as it was.
                if (opened is not null)
                {
                    opened.ShouldBe(content, $"octet {place}");
                    place.ShouldBeLessThan(head, "content and tag are authenticated");
                    lengths.ShouldNotContain(place, "a length octet");
                }
            }
            (await TryOpenAsync(cms[..place])).ShouldBeNull();
        }
        (await TryOpenAsync([.. cms, 0])).ShouldBeNull();
        (await TryOpenAsync([.. cms, .. cms])).ShouldBeNull();
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
    [InlineData(25L << 20, "something after the end")]
    [InlineData(200L << 20, "changed tag")]
    [InlineData(200L << 20, "cut before the tag")]
    public async Task Nothing_comes_out_of_a_large_message_that_was_cut_off_or_changed(long size, string how)
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
        // What no memory holds was spooled to a file while it was read, and is gone.
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
                // The reader has had enough.
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

    /// <summary>Where the ciphertext begins, and the places of the length octets of everything around it.</summary>
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

    /// <summary>Temporary files of ours that this process holds, named or not.</summary>
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
                // Closed since it was listed.
            }
        }
        return count;
    }

    /// <summary>Content made as it is read.</summary>
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

    /// <summary>Passes a message on, changed in one way. The tag is the last 18 octets, and the content before it as
    /// long as it was.</summary>
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
            // The first write is the whole head.
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
            var octets = buffer.ToArray();
            if (_position > 0 && change is { } at && at >= content && at < content + octets.Length)
            {
                octets[at - content] ^= 1;
            }

            var count =
                _position > 0 && cut is { } limit ? (int)Math.Clamp(limit - content, 0, octets.Length) : octets.Length;
            _position += octets.Length;
            await output.WriteAsync(octets.AsMemory(0, count), cancellationToken);
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

    /// <summary>Calls back now and then while it is read.</summary>
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
