using System.Text;
using System.Text.Json;
using SecureMail.Ledger;

namespace SecureMail.Tests.Ledger;

public sealed class CheckpointTests : IDisposable
{
    private const string Dash = "\u2014";
    private readonly string _directory = Directory.CreateTempSubdirectory("smledger").FullName;

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    private LedgerKey NewKey(string name, NoteKeyKind kind = NoteKeyKind.Log) =>
        LedgerKey.Create(Path.Combine(_directory, Guid.NewGuid().ToString("N")), name, kind);

    private static List<string> ForeignVectors()
    {
        using var document = JsonDocument.Parse(
            File.ReadAllBytes(Path.Combine(AppContext.BaseDirectory, "vectors", "ledger", "checkpoints.json")));
        return [.. document.RootElement.EnumerateArray().Select(vector => vector.GetRawText())];
    }

    public static TheoryData<string> Foreign() => new(ForeignVectors());

    [Theory]
    [MemberData(nameof(Foreign))]
    public void Checkpoints_of_public_logs_and_their_witnesses_verify(string vector)
    {
        using var document = JsonDocument.Parse(vector);
        var root = document.RootElement;
        var expect = root.GetProperty("expect");
        var vkey = root.GetProperty("vkey").GetString()!;
        var key = VerifierKey.Parse(vkey);
        key.ToString().ShouldBe(vkey);
        key.KeyId.ToString("x8").ShouldBe(expect.GetProperty("keyId").GetString());
        var checkpoint = Checkpoint.Parse(Encoding.UTF8.GetBytes(root.GetProperty("note").GetString()!));
        checkpoint.Origin.ShouldBe(expect.GetProperty("origin").GetString());
        checkpoint.Size.ShouldBe(expect.GetProperty("size").GetInt64());
        checkpoint.IsSignedBy(key).ShouldBe(expect.GetProperty("signed").GetBoolean());
        foreach (var cosigner in root.GetProperty("cosigners").EnumerateArray())
        {
            checkpoint
                .CosignedAt(
                    VerifierKey.Parse(cosigner.GetProperty("vkey").GetString()!),
                    cosigner.GetProperty("line").GetString()!)
                .ShouldBe(DateTimeOffset.FromUnixTimeSeconds(cosigner.GetProperty("expectTime").GetInt64()));
        }
    }

    [Theory]
    [MemberData(nameof(Foreign))]
    public void A_foreign_checkpoint_with_another_size_is_not_signed(string vector)
    {
        using var document = JsonDocument.Parse(vector);
        var root = document.RootElement;
        var size = root.GetProperty("expect").GetProperty("size").GetInt64();
        var changed = root.GetProperty("note")
            .GetString()!
            .Replace($"\n{size}\n", $"\n{size + 1}\n", StringComparison.Ordinal);
        var checkpoint = Checkpoint.Parse(Encoding.UTF8.GetBytes(changed));
        checkpoint.Size.ShouldBe(size + 1);
        checkpoint.IsSignedBy(VerifierKey.Parse(root.GetProperty("vkey").GetString()!)).ShouldBeFalse();
        foreach (var cosigner in root.GetProperty("cosigners").EnumerateArray())
        {
            checkpoint
                .CosignedAt(
                    VerifierKey.Parse(cosigner.GetProperty("vkey").GetString()!),
                    cosigner.GetProperty("line").GetString()!)
                .ShouldBeNull();
        }
    }

    [Fact]
    public void The_verifier_key_of_the_specification_is_read()
    {
        // C2SP signed-note, its example key.
        var key = VerifierKey.Parse("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k");
        Convert
            .ToHexStringLower(key.PublicKey.Span)
            .ShouldBe("e932791ae6e7a840a46164c904786426d5e7821dd8b29a00d61cae72afdd4da4");
        key.Verify(
                "This is an example message.\n"u8,
                Convert
                    .FromBase64String(
                        "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=")
                    .AsSpan(4))
            .ShouldBeTrue();
    }

    [Theory]
    [InlineData("example.com/foo+530d903b+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k")]
    [InlineData("example.com/foo+530D903A+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k")]
    [InlineData("example.com foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k")]
    [InlineData("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k=")]
    [InlineData("example.com/foo+530d903a+AukyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k")]
    [InlineData("example.com/foo+530d903a")]
    [InlineData("+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k")]
    [InlineData("")]
    public void A_verifier_key_that_is_not_one_is_refused(string text) =>
        Should.Throw<LedgerException>(() => VerifierKey.Parse(text)).Fault.ShouldBe(LedgerFault.Malformed);

    [Fact]
    public void A_signed_checkpoint_is_its_logs_and_nobody_elses()
    {
        using var key = NewKey("a.example/ledger");
        using var sameName = NewKey("a.example/ledger");
        var checkpoint = Checkpoint.Sign(key, 5, MerkleTree.EmptyRoot());
        Encoding
            .UTF8.GetString(checkpoint.Note.Span)
            .ShouldStartWith(
                $"a.example/ledger\n5\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n{Dash} a.example/ledger ");
        checkpoint.IsSignedBy(key.Verifier).ShouldBeTrue();
        checkpoint.IsSignedBy(sameName.Verifier).ShouldBeFalse();
        Checkpoint.Parse(checkpoint.Note.Span).Size.ShouldBe(5);
    }

    [Fact]
    public void A_bad_line_of_the_logs_own_key_spoils_the_good_one()
    {
        using var key = NewKey("a.example/ledger");
        var checkpoint = Checkpoint.Sign(key, 5, MerkleTree.EmptyRoot());
        var bad = new NoteSignature(key.Name, key.Verifier.KeyId, new byte[64]).ToString();
        Checkpoint
            .Parse(Encoding.UTF8.GetBytes(Encoding.UTF8.GetString(checkpoint.Note.Span) + bad))
            .IsSignedBy(key.Verifier)
            .ShouldBeFalse();
    }

    [Fact]
    public void A_cosignature_holds_for_its_checkpoint_and_its_cosigner_only()
    {
        using var log = NewKey("a.example/ledger");
        using var cosigner = NewKey("b.example/cosigner", NoteKeyKind.Cosigner);
        using var other = NewKey("b.example/cosigner", NoteKeyKind.Cosigner);
        var now = new DateTimeOffset(2026, 3, 1, 0, 0, 0, TimeSpan.Zero);
        var checkpoint = Checkpoint.Sign(log, 5, MerkleTree.EmptyRoot());
        var line = checkpoint.Cosign(cosigner, now);
        checkpoint.CosignedAt(cosigner.Verifier, line).ShouldBe(now);
        checkpoint.CosignedAt(other.Verifier, line).ShouldBeNull();
        checkpoint.CosignedAt(log.Verifier, line).ShouldBeNull();
        Checkpoint.Sign(log, 6, MerkleTree.EmptyRoot()).CosignedAt(cosigner.Verifier, line).ShouldBeNull();
        // The whole note with the line appended is a note again, as witnesses publish it.
        Checkpoint
            .Parse([.. checkpoint.Note.Span, .. Encoding.UTF8.GetBytes(line)])
            .IsSignedBy(log.Verifier)
            .ShouldBeTrue();
        Should.Throw<ArgumentException>(() => checkpoint.Cosign(log, now));
        Should.Throw<ArgumentException>(() => Checkpoint.Sign(cosigner, 5, MerkleTree.EmptyRoot()));
    }

    [Theory]
    [InlineData("o\n05\nROOT\n\nSIG")]
    [InlineData("o\n-5\nROOT\n\nSIG")]
    [InlineData("o\n+5\nROOT\n\nSIG")]
    [InlineData("o\n9223372036854775808\nROOT\n\nSIG")]
    [InlineData("\n5\nROOT\n\nSIG")]
    [InlineData("o\n5\nROOT\nextension\n\nSIG")]
    [InlineData("o\n5\n\nSIG")]
    [InlineData("o\n5\nAAAA\n\nSIG")]
    [InlineData("o\n5\nROOT\n")]
    [InlineData("o\n5\nROOT\n\n")]
    [InlineData("o\r\n5\nROOT\n\nSIG")]
    [InlineData("o\n5\nROOT\n\n- name AAAAAAA=\n")]
    [InlineData("o\n5\nROOT\n\n\u2014 name AAAAAAA=")]
    [InlineData("o\n5\nROOT\n\n\u2014 name AAAA\n")]
    [InlineData("o\n5\nROOT\n\n\u2014 na+me AAAAAAA=\n")]
    [InlineData("o\n5\nROOT\n\n\u2014  AAAAAAA=\n")]
    [InlineData("o\n5\nROOT\n\n\u2014 name AAAA AAA=\n")]
    [InlineData("o\n5\nROOT\n\n\u2014 name AAAAAAB=\n")]
    public void A_note_that_is_not_a_checkpoint_is_refused(string template)
    {
        var text = template
            .Replace("ROOT", Convert.ToBase64String(MerkleTree.EmptyRoot()), StringComparison.Ordinal)
            .Replace("SIG", $"{Dash} name AAAAAAA=\n", StringComparison.Ordinal);
        Should
            .Throw<LedgerException>(() => Checkpoint.Parse(Encoding.UTF8.GetBytes(text)))
            .Fault.ShouldBe(LedgerFault.Malformed);
    }

    [Fact]
    public void Sixteen_large_signatures_are_read_and_thirty_three_are_not()
    {
        string Note(int signatures, int size) =>
            $"o\n5\n{Convert.ToBase64String(MerkleTree.EmptyRoot())}\n\n"
            + string.Concat(Enumerable.Repeat(new NoteSignature("n", 1, new byte[size]).ToString(), signatures));
        Checkpoint.Parse(Encoding.UTF8.GetBytes(Note(16, 5000))).Size.ShouldBe(5);
        Should
            .Throw<LedgerException>(() => Checkpoint.Parse(Encoding.UTF8.GetBytes(Note(33, 64))))
            .Fault.ShouldBe(LedgerFault.TooLarge);
        Should
            .Throw<LedgerException>(() => Checkpoint.Parse(new byte[Checkpoint.MaxBytes + 1]))
            .Fault.ShouldBe(LedgerFault.TooLarge);
    }

    [Fact]
    public void A_key_file_is_private_is_never_overwritten_and_loads_again()
    {
        var path = Path.Combine(_directory, "log.pem");
        using var key = LedgerKey.Create(path, "a.example/ledger", NoteKeyKind.Log);
        File.GetUnixFileMode(path).ShouldBe(UnixFileMode.UserRead | UnixFileMode.UserWrite);
        Should.Throw<IOException>(() => LedgerKey.Create(path, "a.example/ledger", NoteKeyKind.Log));
        using var again = LedgerKey.Load(path, "a.example/ledger", NoteKeyKind.Log);
        again.Verifier.ToString().ShouldBe(key.Verifier.ToString());
        using var cosigner = LedgerKey.Load(path, "a.example/ledger", NoteKeyKind.Cosigner);
        cosigner.Verifier.KeyId.ShouldNotBe(key.Verifier.KeyId);
    }

    [Fact]
    public void A_key_file_that_is_open_missing_or_something_else_is_refused()
    {
        var path = Path.Combine(_directory, "log.pem");
        using (LedgerKey.Create(path, "a", NoteKeyKind.Log))
        {
            File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.GroupRead);
        }
        foreach (
            var (bad, content) in new[]
            {
                (path, (string?)null),
                (Path.Combine(_directory, "none"), null),
                (Path.Combine(_directory, "junk"), "junk"),
                (Path.Combine(_directory, "cert"), "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
            })
        {
            if (content is not null)
            {
                File.WriteAllText(bad, content);
                File.SetUnixFileMode(bad, UnixFileMode.UserRead);
            }
            Should
                .Throw<LedgerException>(() => LedgerKey.Load(bad, "a", NoteKeyKind.Log))
                .Fault.ShouldBe(LedgerFault.KeyUnreadable);
        }
    }
}
