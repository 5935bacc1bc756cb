using System.Security.Cryptography;
using SecureMail.Cms;

namespace SecureMail.Tests.Cms;

[CollectionDefinition(nameof(SpoolCleanupTests), DisableParallelization = true)]
public sealed class SpoolCleanupGroup;

/// <summary>
/// Spooled content is removed on success and on every failure. These tests run alone, because open files and shared
/// memory belong to the process.
/// </summary>
[Collection(nameof(SpoolCleanupTests))]
public sealed class SpoolCleanupTests
{
    // More than the shared memory, so a part is in a file.
    private const int Large = 30_000_000;
    private static readonly TestIdentity Ours = TestPki.Shared.Issue("CN=Xa B");
    private static readonly Lazy<Task<byte[]>> Gcm = new(() => SealAsync(ContentCipher.Aes256Gcm));
    private static readonly Lazy<Task<byte[]>> Cbc = new(() => SealAsync(ContentCipher.Aes256Cbc));

    public static TheoryData<string, bool> Damages()
    {
        var data = new TheoryData<string, bool>();
        foreach (var damage in new[] { "none", "cut off", "changed", "tag", "cancelled", "read error" })
        {
            data.Add(damage, true);
            data.Add(damage, false);
        }

        return data;
    }

    [Theory]
    [MemberData(nameof(Damages))]
    public async Task Decryption_leaves_no_file_and_no_memory_on_success_and_failure(string damage, bool gcm)
    {
        var whole = await (gcm ? Gcm : Cbc).Value;
        Settle();
        var taken = SpoolMemory.Reserved;
        var bytes = damage switch
        {
            "cut off" => whole[..^1000],
            "changed" or "tag" => [.. whole],
            _ => whole,
        };
        if (damage == "changed")
        {
            bytes[bytes.Length / 2] ^= 1;
        }

        if (damage == "tag")
        {
            bytes[^1] ^= 1;
        }

        using var source = new CancellationTokenSource();
        var inFile = false;
        var stream = new WatchedStream(bytes, Large - 1_000_000, () =>
        {
            inFile = OpenFiles() > 0;
            if (damage == "cancelled")
            {
                source.Cancel();
            }

            if (damage == "read error")
            {
                throw new IOException("the disk is gone");
            }
        });

        DecryptedContent? opened = null;
        Exception? thrown = await Record.ExceptionAsync(async () =>
            opened = await CmsDecryptor.DecryptAsync(
                stream, [new RecipientKey(Ours.Certificate, Ours.Rsa)], cancellationToken: source.Token));
        opened?.Dispose();
        // CBC cannot detect the change, and must not report wrong padding either.
        var opens = damage == "none" || (damage is "changed" or "tag" && !gcm);
        (thrown is null).ShouldBe(opens);
        if (OperatingSystem.IsLinux())
        {
            inFile.ShouldBeTrue();
        }

        SpoolMemory.Reserved.ShouldBe(taken);
        OpenFiles().ShouldBe(0);
    }

    [Fact]
    public void The_finalizer_of_a_spool_releases_its_reservations()
    {
        Settle();
        var taken = SpoolMemory.Reserved;
        Forget();
        Settle();
        SpoolMemory.Reserved.ShouldBe(taken);
        OpenFiles().ShouldBe(0);

        static void Forget() => new SecretSpool().Write(new byte[Large]);
    }

    [Fact]
    public void Two_spools_share_the_memory_and_a_third_gets_it_after_them()
    {
        var data = RandomNumberGenerator.GetBytes(20_000_000);
        using (var first = new SecretSpool())
        using (var second = new SecretSpool())
        {
            first.Write(data);
            second.Write(data);
            (first.IsInFile, second.IsInFile).ShouldBe((false, true));
            foreach (SecretSpool spool in new[] { first, second })
            {
                SHA256.HashData(spool.OpenRead()).ShouldBe(SHA256.HashData(data));
            }
        }
        using var third = new SecretSpool();
        third.Write(data);
        third.IsInFile.ShouldBeFalse();
    }

    [Fact]
    public void Returned_memory_is_wiped()
    {
        var piece = SpoolMemory.Rent();
        piece.AsSpan().Fill(1);
        SpoolMemory.Return(piece, piece.Length, reserved: false);
        piece.ShouldAllBe(b => b == 0);
    }

    private static async Task<byte[]> SealAsync(ContentCipher cipher)
    {
        var output = new MemoryStream();
        await CmsEnveloper.EncryptAsync(
            new MemoryStream(RandomNumberGenerator.GetBytes(Large)), output, [Ours.Certificate], cipher);
        return output.ToArray();
    }

    /// <summary>Finalizes objects that earlier tests did not dispose.</summary>
    private static void Settle()
    {
        GC.Collect();
        GC.WaitForPendingFinalizers();
        GC.Collect();
        GC.WaitForPendingFinalizers();
    }

    /// <summary>Open files of spools in this process; they no longer have a name.</summary>
    private static int OpenFiles() =>
        !OperatingSystem.IsLinux()
            ? 0
            : Directory
                .GetFiles("/proc/self/fd")
                .Count(f =>
                    TargetOf(f) is { } target
                    && target.Contains("/securemail-", StringComparison.Ordinal)
                    && target.EndsWith("(deleted)", StringComparison.Ordinal));

    private static string? TargetOf(string link)
    {
        try
        {
            return new FileInfo(link).LinkTarget;
        }
        catch (IOException)
        {
            return null; // closed meanwhile
        }
    }

    private sealed class WatchedStream(byte[] data, int at, Action reached) : MemoryStream(data, writable: false)
    {
        private bool _told;

        public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            if (!_told && Position >= at)
            {
                _told = true;
                reached();
            }
            return base.ReadAsync(buffer, cancellationToken);
        }
    }
}
