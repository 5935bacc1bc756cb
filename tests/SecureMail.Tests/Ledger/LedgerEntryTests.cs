using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using SecureMail.Exchange;
using SecureMail.Ledger;

namespace SecureMail.Tests.Ledger;

public class LedgerEntryTests
{
    private static string Vectors => Path.Combine(AppContext.BaseDirectory, "vectors", "ledger");

    private static LedgerEntry Sample() =>
        new()
        {
            Time = new DateTimeOffset(2026, 3, 1, 15, 4, 5, 678, TimeSpan.FromHours(7)),
            Agency = Guid.Parse("0195536e-8f00-7000-8000-000000000001"),
            Kind = "dispatch.accepted",
            Object = "0195536e-9a3c-7bd1-a7b0-6e1d2f3a4b5c",
            Commitments = new Dictionary<string, string>
            {
                ["manifest"] = "sha256:" + new string('a', 64),
                ["document.1"] = "sha256:" + new string('0', 64),
                ["Z"] = "sha256:" + new string('f', 64),
            },
            Prior = new string('1', 64),
            Actor = Guid.Parse("6f0c1d8e-3b52-4a77-9c0e-2d1a5b7e9f04"),
            Grant = "approval:0195536e-9a3c-7bd1-a7b0-6e1d2f3a4b5c",
        };

    public static TheoryData<string> FrozenEntries()
    {
        var data = new TheoryData<string>();
        using var document = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(Vectors, "entries.json")));
        foreach (var entry in document.RootElement.EnumerateArray())
        {
            data.Add(entry.GetRawText());
        }

        return data;
    }

    [Theory]
    [MemberData(nameof(FrozenEntries))]
    public void The_bytes_of_an_entry_are_frozen(string vector)
    {
        using var document = JsonDocument.Parse(vector);
        var expected = document.RootElement.GetProperty("body").GetString()!;
        var entry = LedgerEntry.Parse(Encoding.UTF8.GetBytes(expected));
        Encoding.UTF8.GetString(entry.ToBytes()).ShouldBe(expected);
        Convert
            .ToHexStringLower(MerkleTree.LeafHash(entry.ToBytes()))
            .ShouldBe(document.RootElement.GetProperty("leafHash").GetString());
    }

    [Fact]
    public void Members_are_sorted_and_the_time_is_utc_to_the_millisecond() =>
        Encoding
            .UTF8.GetString(Sample().ToBytes())
            .ShouldBe(
                "{\"actor\":\"6f0c1d8e-3b52-4a77-9c0e-2d1a5b7e9f04\","
                    + "\"agency\":\"0195536e-8f00-7000-8000-000000000001\",\"commitments\":{\"Z\":\"sha256:"
                    + new string('f', 64)
                    + "\",\"document.1\":\"sha256:"
                    + new string('0', 64)
                    + "\",\"manifest\":\"sha256:"
                    + new string('a', 64)
                    + "\"},\"grant\":\"approval:0195536e-9a3c-7bd1-a7b0-6e1d2f3a4b5c\",\"kind\":\"dispatch.accepted\","
                    + "\"object\":\"0195536e-9a3c-7bd1-a7b0-6e1d2f3a4b5c\",\"prior\":\""
                    + new string('1', 64)
                    + "\",\"time\":\"2026-03-01T08:04:05.678Z\",\"v\":2}");

    [Fact]
    public void What_is_written_is_read_back()
    {
        var sample = Sample();
        var read = LedgerEntry.Parse(sample.ToBytes());
        read.Commitments.OrderBy(c => c.Key).ShouldBe(sample.Commitments.OrderBy(c => c.Key));
        (read with { Commitments = sample.Commitments }).ShouldBe(sample);
    }

    [Theory]
    [InlineData("\"v\":2}", "\"v\":1}")]
    [InlineData("\"v\":2}", "\"v\":3}")]
    [InlineData("\"v\":2}", "\"v\": 2}")]
    [InlineData("\"v\":2}", "\"v\":2} ")]
    [InlineData("\"v\":2}", "\"v\":2,\"w\":1}")]
    [InlineData("\"actor\":\"6f0c1d8e-3b52-4a77-9c0e-2d1a5b7e9f04\",", "")]
    [InlineData("\"6f0c1d8e-3b52", "\"6F0C1D8E-3b52")]
    [InlineData("\"6f0c1d8e-3b52-4a77-9c0e-2d1a5b7e9f04\"", "\"\"")]
    [InlineData("\"6f0c1d8e-3b52-4a77-9c0e-2d1a5b7e9f04\"", "nul")]
    [InlineData("\"6f0c1d8e-3b52-4a77-9c0e-2d1a5b7e9f04\"", "\"{6f0c1d8e-3b52-4a77-9c0e-2d1a5b7e9f04}\"")]
    [InlineData("\"grant\":\"approval:0195536e-9a3c-7bd1-a7b0-6e1d2f3a4b5c\",", "")]
    [InlineData("\"approval:0195536e-9a3c-7bd1-a7b0-6e1d2f3a4b5c\"", "\"\"")]
    [InlineData("approval:", "approval ")]
    [InlineData("0195536e-8f00", "0195536E-8F00")]
    [InlineData("dispatch.accepted", "Dispatch.accepted")]
    [InlineData("dispatch.accepted", "")]
    [InlineData("dispatch.accepted", "dispatch\\u002eaccepted")]
    [InlineData("dispatch.accepted", "công văn")]
    [InlineData("2026-03-01T08:04:05.678Z", "2026-03-01T08:04:05.67Z")]
    [InlineData("2026-03-01T08:04:05.678Z", "2026-02-30T08:04:05.678Z")]
    [InlineData("2026-03-01T08:04:05.678Z", "2026-03-01T08:04:05.678+00:00")]
    [InlineData("\"Z\"", "\"nnn\"")]
    [InlineData("\"Z\"", "\"manifest\"")]
    [InlineData("sha256:00", "sha256:0g")]
    [InlineData("sha256:00", "sha512:00")]
    [InlineData("\"prior\":\"11", "\"prior\":\"1")]
    [InlineData("\"prior\":\"11", "\"prior\":\"1A")]
    public void Any_other_spelling_is_refused(string from, string to)
    {
        var text = Encoding.UTF8.GetString(Sample().ToBytes());
        text.ShouldContain(from);
        Should
            .Throw<LedgerException>(() =>
                LedgerEntry.Parse(Encoding.UTF8.GetBytes(text.Replace(from, to, StringComparison.Ordinal))))
            .Fault.ShouldBe(LedgerFault.Malformed);
    }

    [Fact]
    public void Version_1_has_neither_actor_nor_grant()
    {
        var old = Sample() with { Version = 1, Actor = null, Grant = null };
        Encoding.UTF8.GetString(old.ToBytes()).ShouldStartWith("{\"agency\":");
        LedgerEntry.Parse(old.ToBytes()).Version.ShouldBe(1);
        Should.Throw<ArgumentException>(() => (old with { Actor = Guid.NewGuid() }).ToBytes());
        Should.Throw<ArgumentException>(() => (old with { Grant = "a" }).ToBytes());
        Should.Throw<ArgumentException>(() => (old with { Version = 3 }).ToBytes());
        Should.Throw<ArgumentException>(() => (old with { Version = 0 }).ToBytes());
    }

    [Fact]
    public void An_entry_over_the_limits_is_refused()
    {
        Should
            .Throw<LedgerException>(() => LedgerEntry.Parse(new byte[LedgerEntry.MaxBytes + 1]))
            .Fault.ShouldBe(LedgerFault.TooLarge);
        var many = Enumerable
            .Range(0, LedgerEntry.MaxCommitments + 1)
            .ToDictionary(i => $"c{i}", _ => "sha256:" + new string('0', 64));
        Should.Throw<ArgumentException>(() => (Sample() with { Commitments = many }).ToBytes());
        Should.Throw<ArgumentException>(() => (Sample() with { Object = new string('a', 201) }).ToBytes());
        Should.Throw<ArgumentException>(() => (Sample() with { Grant = new string('a', 201) }).ToBytes());
    }

    [Fact]
    public void The_largest_entry_fits()
    {
        var most = Enumerable
            .Range(0, LedgerEntry.MaxCommitments)
            .ToDictionary(i => $"c{i}".PadRight(64, 'x'), _ => "sha256:" + new string('0', 64));
        var entry = Sample() with
        {
            Commitments = most,
            Object = new string('a', 200),
            Grant = new string('g', 200),
            Kind = new string('k', 64),
        };
        LedgerEntry.Parse(entry.ToBytes()).Commitments.Count.ShouldBe(LedgerEntry.MaxCommitments);
    }

    [Fact]
    public void A_commitment_is_an_hmac_of_the_digest_under_the_salt()
    {
        // RFC 4231 gives no case with a 32-octet key, so the oracle is the definition (RFC 2104) spelt out.
        var salt = Enumerable.Range(0, 32).Select(i => (byte)i).ToArray();
        var digest = SHA256.HashData("abc"u8);
        byte[] Pad(byte with) => [.. salt.Concat(new byte[32]).Select(b => (byte)(b ^ with))];
        var expected = SHA256.HashData([.. Pad(0x5c), .. SHA256.HashData([.. Pad(0x36), .. digest])]);
        Commitment.Of(salt, digest).ShouldBe("sha256:" + Convert.ToHexStringLower(expected));
        Should.Throw<ArgumentException>(() => Commitment.Of(salt, digest.AsSpan(1)));
        Commitment.NewSalt().ShouldNotBe(Commitment.NewSalt());
    }
}
