using System.Text;
using System.Text.Json;
using SecureMail.Ledger;
using SecureMail.TestKit.Mutators;

namespace SecureMail.Tests.Fuzzing;

/// <summary>What peers, and files of others, say of ledgers.</summary>
internal static class LedgerTargets
{
    private static readonly Mutator[] Json = [JsonMutator.Mutate, JsonMutator.Mutate, OctetMutator.Mutate];
    private static readonly Mutator[] Text = [LineMutator.Mutate, OctetMutator.Mutate];

    /// <summary>An entry that is read is written to the same bytes.</summary>
    public static FuzzTarget Entry { get; } =
        new(
            "entry", "an entry of a ledger",
            _ => input =>
            {
                var read = LedgerEntry.Parse(input);
                read.ToBytes().ShouldBe(input);
                return $"v{read.Version}, {Math.Min(read.Commitments.Count, 5)} commitments, "
                    + $"prior {read.Prior is not null}, actor {read.Actor is not null}, grant {read.Grant is not null}";
            })
        {
            Refusals = [typeof(LedgerException)],
            Mutators = Json,
            Mutants = 5000,
        };

    /// <summary>Evidence that verifies has an entry that was in the sender's tree.</summary>
    public static FuzzTarget Evidence { get; } =
        new("evidence", "ledger evidence: an entry, its checkpoint and proofs", _ => ReaderOfEvidence())
        {
            Refusals = [typeof(LedgerException)],
            Mutators = Json,
        };

    /// <summary>A checkpoint is the note as it came, and its log signed nothing but what it signed.</summary>
    public static FuzzTarget Checkpoint { get; } =
        new("checkpoint", "a checkpoint as a signed note (C2SP)", _ => ReaderOfCheckpoints())
        {
            Refusals = [typeof(LedgerException)],
            Mutators = Text,
            Mutants = 3000,
        };

    /// <summary>A line that is taken as the cosigner's states the time that it stated.</summary>
    public static FuzzTarget Cosignature { get; } =
        new("cosignature", "a cosignature line over one of our checkpoints", _ => ReaderOfCosignatures())
        {
            Refusals = [typeof(LedgerException)],
            Mutators = Text,
            Mutants = 3000,
        };

    /// <summary>A key that is read is written to the same text.</summary>
    public static FuzzTarget VerifierKey { get; } =
        new(
            "verifier-key", "a verifier key of a ledger or a cosigner",
            _ => input =>
            {
                var text = Encoding.UTF8.GetString(input);
                var key = SecureMail.Ledger.VerifierKey.Parse(text);
                key.ToString().ShouldBe(text);
                key.Verify([1], new byte[64]).ShouldBeFalse();
                return $"{key.Kind}, name of {Math.Min(key.Name.Length, 8)}";
            })
        {
            Refusals = [typeof(LedgerException)],
            Mutators = Text,
            Mutants = 5000,
        };

    /// <summary>Checkpoints that are read are read again from the lines that we write of them.</summary>
    public static FuzzTarget Seen { get; } =
        new("seen", "a file of checkpoints that others hold", _ => ReadSeen)
        {
            Refusals = [typeof(LedgerException)],
            Mutators = [LineMutator.Mutate, OctetMutator.Mutate, JsonMutator.Mutate],
        };

    /// <summary>The note of a foreign vector.</summary>
    internal static string ForeignKey(int index)
    {
        using var vectors = JsonDocument.Parse(Vectors.Read("ledger", "checkpoints.json"));
        return vectors.RootElement[index].GetProperty("vkey").GetString()!;
    }

    /// <summary>A key that stands in tests/vectors/own/v1.</summary>
    internal static VerifierKey OwnKey(string kind)
    {
        using var expected = JsonDocument.Parse(Vectors.Read("own/v1", "expect.json"));
        return SecureMail.Ledger.VerifierKey.Parse(
            expected.RootElement.GetProperty(kind).GetProperty("key").GetString()!);
    }

    /// <summary>The corpus has samples that are refused.</summary>
    private static string? UnlessRefused(Func<string> read)
    {
        try
        {
            return read();
        }
        catch (LedgerException)
        {
            return null;
        }
    }

    private static FuzzRead ReaderOfEvidence()
    {
        VerifierKey[] keys = [OwnKey("evidence"), OwnKey("receipt")];
        HashSet<string> entries = [.. Evidence.Samples().Select(s => UnlessRefused(() => EntryOf(s))).OfType<string>()];
        return input =>
        {
            var read = LedgerEvidence.Parse(input);
            LedgerEvidence.Parse(read.ToBytes()).ToBytes().ShouldBe(read.ToBytes());
            var verified = keys.Any(k => read.Verify(k) is null);
            if (verified)
            {
                entries.ShouldContain(EntryOf(input), "an entry that was never in the tree");
            }

            return $"verified {verified}, {Math.Min(read.Consistency.Count, 4)} proofs, "
                + $"{Math.Min(read.Cosignatures.Count, 4)} cosignatures";
        };

        static string EntryOf(byte[] evidence)
        {
            var read = LedgerEvidence.Parse(evidence);
            return $"{read.Index} {Convert.ToHexString(read.Entry.ToBytes())}";
        }
    }

    private static FuzzRead ReaderOfCheckpoints()
    {
        VerifierKey[] logs = [OwnKey("export"), SecureMail.Ledger.VerifierKey.Parse(ForeignKey(0))];
        HashSet<string> signed =
        [
            .. Checkpoint.Samples().Select(s => UnlessRefused(() => BodyOf(s))).OfType<string>(),
        ];
        return input =>
        {
            var read = SecureMail.Ledger.Checkpoint.Parse(input);
            read.Note.ToArray().ShouldBe(input);
            read.Root.Length.ShouldBe(32);
            input.AsSpan().StartsWith(read.Body).ShouldBeTrue();
            var isSigned = logs.Any(read.IsSignedBy);
            if (isSigned)
            {
                signed.ShouldContain(Convert.ToHexString(read.Body), "a checkpoint that nobody signed");
            }

            return $"signed {isSigned}, {Math.Min(Encoding.UTF8.GetString(input).Split('\n').Length, 12)} lines";
        };

        static string BodyOf(byte[] note) => Convert.ToHexString(SecureMail.Ledger.Checkpoint.Parse(note).Body);
    }

    private static FuzzRead ReaderOfCosignatures()
    {
        // The line of the export is the peer's over our first checkpoint that it saw.
        var lines = Vectors.Read("own/v1", "export.jsonl");
        var cosignature = Encoding.UTF8.GetString(lines).Split('\n')
            .Select(l => l.Length == 0 ? default : JsonDocument.Parse(l).RootElement)
            .Single(l => l.ValueKind == JsonValueKind.Object && l.GetProperty("type").GetString() == "cosignature");
        var size = cosignature.GetProperty("size").GetInt64();
        var cosigner = SecureMail.Ledger.VerifierKey.Parse(cosignature.GetProperty("vkey").GetString()!);
        var ours = Completed.Result(LedgerExport.ReadSeenAsync(new MemoryStream(lines), CancellationToken.None))
            .First(c => c.Size == size);
        var stated = ours.CosignedAt(cosigner, cosignature.GetProperty("line").GetString()!).ShouldNotBeNull();
        return input =>
        {
            if (ours.CosignedAt(cosigner, Encoding.UTF8.GetString(input)) is not { } at)
            {
                return "of another";
            }

            at.ShouldBe(stated);
            return "the cosigner's";
        };
    }

    private static string ReadSeen(byte[] input)
    {
        var seen = Completed.Result(LedgerExport.ReadSeenAsync(new MemoryStream(input), CancellationToken.None));
        var lines = string.Concat(seen.Select(c => LedgerExport.CheckpointLine(c.Note.ToArray()) + "\n"));
        var again = Completed.Result(
            LedgerExport.ReadSeenAsync(new MemoryStream(Encoding.UTF8.GetBytes(lines)), CancellationToken.None));
        again.Select(NoteOf).ShouldBe(seen.Select(NoteOf));
        return $"{Math.Min(seen.Count, 20)} checkpoints";

        static string NoteOf(SecureMail.Ledger.Checkpoint checkpoint) => Convert.ToHexString(checkpoint.Note.Span);
    }
}
