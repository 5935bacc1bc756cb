using System.Security.Cryptography;
using SecureMail.Cms;

namespace SecureMail.Tests.Cms;

public sealed class SecretSpoolTests
{
    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(65_536)]
    [InlineData(16 * 65_536)]
    [InlineData(16 * 65_536 + 1)]
    [InlineData(18 * 65_536)]
    [InlineData(2_500_001)]
    public void Content_written_in_pieces_is_read_whole_and_from_any_position(int length)
    {
        var data = RandomNumberGenerator.GetBytes(length);
        using var spool = new SecretSpool();
        for (var at = 0; at < length;)
        {
            var count = Math.Min(length - at, 1 + (at * 13 % 100_003));
            spool.Write(data.AsSpan(at, count));
            at += count;
        }
        spool.Length.ShouldBe(length);
        using Stream whole = spool.OpenRead();
        using Stream other = spool.OpenRead();
        var read = new byte[length];
        whole.ReadExactly(read);
        whole.ReadByte().ShouldBe(-1);
        read.AsSpan().SequenceEqual(data).ShouldBeTrue();
        for (var at = 0; at < length; at += 77_777)
        {
            other.Seek(at, SeekOrigin.Begin).ShouldBe(at);
            other.ReadByte().ShouldBe(data[at]);
        }
    }

    [Fact]
    public void A_large_spool_leaves_no_file_and_is_not_readable_after_disposal()
    {
        var spool = new SecretSpool();
        spool.Write(new byte[3 << 20]);
        Stream reader = spool.OpenRead();
        if (!OperatingSystem.IsWindows())
        {
            Directory.GetFiles(Path.GetTempPath(), "securemail-*").ShouldBeEmpty(); // it has no name even while in use
        }

        spool.Dispose();
        Should.Throw<ObjectDisposedException>(() => reader.ReadByte());
        Should.Throw<ObjectDisposedException>(() => spool.Write([1]));
    }
}
