using System.Text;
using System.Text.Json;
using SecureMail.Exchange;
using SecureMail.Ledger;

namespace SecureMail.Tests.Ledger;

public sealed class LedgerEvidenceTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("smledger").FullName;
    private readonly LedgerKey _key;
    private readonly string _evidence;

    public LedgerEvidenceTests()
    {
        _key = LedgerKey.Create(Path.Combine(_directory, "log.pem"), "a.example/ledger", NoteKeyKind.Log);
        var entry = new LedgerEntry
        {
            Time = DateTimeOffset.UnixEpoch,
            Agency = Guid.Empty,
            Kind = "k",
            Object = "o",
        }.ToBytes();
        var sibling = MerkleTree.LeafHash("sibling"u8);
        var checkpoint = Checkpoint.Sign(_key, 2, MerkleTree.NodeHash(MerkleTree.LeafHash(entry), sibling));
        _evidence = JsonSerializer.Serialize(
            new
            {
                v = 1,
                entry = Convert.ToBase64String(entry),
                index = 0,
                checkpoint = Encoding.UTF8.GetString(checkpoint.Note.Span),
                inclusion = new[] { Convert.ToBase64String(sibling) },
                consistency = new Dictionary<string, string[]> { ["1"] = [Convert.ToBase64String(sibling)] },
                cosignatures = new[] { new { size = 5, line = "\u2014 b AAAAAAA=\n" } },
            });
    }

    public void Dispose()
    {
        _key.Dispose();
        Directory.Delete(_directory, recursive: true);
    }

    private static LedgerEvidence Parse(string text) => LedgerEvidence.Parse(Encoding.UTF8.GetBytes(text));

    [Fact]
    public void Evidence_written_by_another_program_is_read_verified_and_written_again()
    {
        var evidence = Parse(_evidence);
        evidence.Verify(_key.Verifier).ShouldBeNull();
        evidence.Entry.Kind.ShouldBe("k");
        evidence.Consistency.ShouldHaveSingleItem().Key.ShouldBe(1);
        evidence.Cosignatures.ShouldBe([new Cosignature(5, "\u2014 b AAAAAAA=\n")]);
        LedgerEvidence.Parse(evidence.ToBytes()).ToBytes().ShouldBe(evidence.ToBytes());
    }

    [Theory]
    [InlineData("\"v\":1", "\"v\":2")]
    [InlineData("\"v\":1", "\"v\":1,\"v\":1")]
    [InlineData("\"index\":0", "\"index\":-1")]
    [InlineData("\"index\":0", "\"index\":0.5")]
    [InlineData("\"index\":0", "\"index\":\"0\"")]
    [InlineData("\"inclusion\":[\"", "\"inclusion\":[\"A")]
    [InlineData("\"inclusion\":[", "\"inclusion\":[null,")]
    [InlineData("\"consistency\":{\"1\"", "\"consistency\":{\"01\"")]
    [InlineData("\"consistency\":{\"1\"", "\"consistency\":{\"0\"")]
    [InlineData("\"consistency\":{\"1\"", "\"consistency\":{\"x\"")]
    [InlineData("\"size\":5", "\"size\":null")]
    [InlineData("\"entry\":\"", "\"entry\":\"!")]
    [InlineData("\"cosignatures\"", "\"others\"")]
    public void What_has_not_the_form_is_refused(string from, string to)
    {
        _evidence.ShouldContain(from);
        Should
            .Throw<LedgerException>(() => Parse(_evidence.Replace(from, to, StringComparison.Ordinal)))
            .Fault.ShouldBe(LedgerFault.Malformed);
    }

    [Fact]
    public void What_is_over_a_limit_is_refused()
    {
        string Many(string item, int count) => string.Join(',', Enumerable.Repeat(item, count));
        var hash = $"\"{Convert.ToBase64String(MerkleTree.EmptyRoot())}\"";
        foreach (
            var text in new[]
            {
                _evidence.Replace("\"inclusion\":[", $"\"inclusion\":[{Many(hash, 64)},", StringComparison.Ordinal),
                _evidence.Replace(
                    "\"consistency\":{",
                    "\"consistency\":{"
                        + string.Join(',', Enumerable.Range(10, LedgerEvidence.MaxProofs).Select(i => $"\"{i}\":[]"))
                        + ",",
                    StringComparison.Ordinal),
                _evidence.Replace(
                    "\"cosignatures\":[", $"\"cosignatures\":[{Many("{}", 16)},", StringComparison.Ordinal),
                _evidence + new string(' ', LedgerEvidence.MaxBytes),
            })
        {
            Should.Throw<LedgerException>(() => Parse(text)).Fault.ShouldBe(LedgerFault.TooLarge);
        }
    }

    [Fact]
    public void A_changed_entry_or_place_is_not_included_and_another_log_did_not_sign()
    {
        Parse(_evidence.Replace("\"index\":0", "\"index\":1", StringComparison.Ordinal))
            .Verify(_key.Verifier)!
            .Code.ShouldBe("inclusion");
        using var other = LedgerKey.Create(Path.Combine(_directory, "other.pem"), "a.example/ledger", NoteKeyKind.Log);
        Parse(_evidence).Verify(other.Verifier)!.Code.ShouldBe("checkpoint-signature");
    }
}
