using System.Text;
using SecureMail.Exchange;
using SecureMail.Ledger;
using SecureMail.Mail.Mime;
using SecureMail.TestKit.Mutators;
using LedgerField = SecureMail.Exchange.EvidenceField;
using SignedManifest = SecureMail.Exchange.Manifest;
using SignedReceipt = SecureMail.Exchange.Receipt;

namespace SecureMail.Tests.Fuzzing;

/// <summary>What agencies exchange. What is read is written and read again to the same.</summary>
internal static class ExchangeTargets
{
    private static readonly Mutator[] Json = [JsonMutator.Mutate, JsonMutator.Mutate, OctetMutator.Mutate];

    /// <summary>The names of documents are names and no paths.</summary>
    public static FuzzTarget Manifest { get; } =
        new("manifest", "the manifest of a dispatch", _ => ReadManifest)
        {
            Refusals = [typeof(WireFormatException)],
            Mutators = Json,
            Vectors = ["own/v1/manifest.json"],
        };

    public static FuzzTarget Receipt { get; } =
        new(
            "receipt", "the receipt of a dispatch",
            _ => input =>
            {
                var read = SignedReceipt.Parse(input);
                SignedReceipt.Parse(read.ToBytes()).ToBytes().ShouldBe(read.ToBytes());
                return $"{read.Event.Length} {read.Verdict.Length}, reason {read.Reason is not null}";
            })
        {
            Refusals = [typeof(WireFormatException)],
            Mutators = Json,
            Vectors = ["own/v1/receipt.json"],
        };

    /// <summary>Every agency is found by its id, code and address, and its certificates can be used.</summary>
    public static FuzzTarget Directory { get; } =
        new("directory", "the directory of agencies and gateways", _ => ReadDirectory)
        {
            Refusals = [typeof(WireFormatException)],
            Mutators = Json,
            Mutants = 800,
        };

    public static FuzzTarget EvidenceField { get; } =
        new(
            "evidence-field", "the header field with ledger evidence, and the capability that asks for it",
            _ => ReadField)
        {
            Refusals = [typeof(LedgerException), typeof(MimeException)],
            Mutators = [LineMutator.Mutate, OctetMutator.Mutate],
        };

    /// <summary>What is read is printed as it stood.</summary>
    public static FuzzTarget Number { get; } =
        new(
            "number", "the number and notation of a document",
            _ => input =>
            {
                var text = Encoding.UTF8.GetString(input);
                if (NumberAndNotation.TryParse(text) is not { } read)
                {
                    return null;
                }

                read.ToString().ShouldBe(text);
                return $"{read.Separator}, {Math.Min(read.Notation.Length, 8)}";
            })
        {
            Mutators = [LineMutator.Mutate, OctetMutator.Mutate],
            Mutants = 5000,
        };

    private static string ReadManifest(byte[] input)
    {
        var read = SignedManifest.Parse(input);
        SignedManifest.Parse(read.ToBytes()).ToBytes().ShouldBe(read.ToBytes());
        foreach (var document in read.Documents)
        {
            document.Name.AsSpan().IndexOfAny("/\\\0\r\n").ShouldBe(-1);
            document.Name.ShouldNotBeOneOf(".", "..", "");
        }

        return $"{Math.Min(read.Recipients.Count, 4)} recipients, {Math.Min(read.Documents.Count, 4)} documents";
    }

    private static string ReadDirectory(byte[] input)
    {
        var read = DirectoryDocument.Parse(input);
        if (read.V > 1)
        {
            DirectoryDocument.Parse(read.ToBytes()).ToBytes().ShouldBe(read.ToBytes());
        }

        var snapshot = new DirectorySnapshot(read);
        foreach (var agency in snapshot.Agencies)
        {
            snapshot.Find(agency.Id).ShouldBe(agency);
            snapshot.FindEverByCode(agency.LastName.Code).ShouldNotBeNull();
            if (agency.NameAt(read.Issued) is { } name)
            {
                snapshot.FindByCode(name.Code, read.Issued).ShouldBe(agency);
                snapshot.FindByAddress(name.Address, read.Issued).ShouldBe(agency);
            }

            _ = CertificateUse.All.Sum(use => agency.CertificatesFor(use).Count());
            snapshot.GatewayOf(agency, read.Issued).ShouldNotBeNull();
        }

        foreach (var gateway in snapshot.Gateways)
        {
            snapshot.FindGateway(gateway.Name).ShouldBe(gateway);
            gateway.TlsKeys.Where(k => k.HoldsAt(k.From))
                .ShouldAllBe(k => snapshot.FindGatewayByTlsKey(k.Sha256, k.From) == gateway);
        }

        return $"{Math.Min(read.Agencies.Count, 4)} agencies, {Math.Min(read.Gateways.Count, 4)} gateways";
    }

    private static string? ReadField(byte[] input)
    {
        // The capability that a peer announces is a hint, which is never refused.
        var lines = Encoding.Latin1.GetString(input).Split("\r\n");
        var name = LedgerField.Capability.Length;
        var sizes = lines.SelectMany(l => LedgerField.ReadSizes(l[Math.Min(l.Length, name)..]));
        LedgerField.AskedIn(lines).ShouldBeOneOf([null, 0, .. sizes]);
        var evidence = LedgerField.Read(MailMessage.Parse(input, MimeReaderOptions.Received));
        if (evidence is null)
        {
            return null;
        }

        var field = LedgerField.Write(evidence);
        LedgerField.Read(MailMessage.Parse((byte[])[.. field, .. "\r\n"u8]))!
            .ToBytes()
            .ShouldBe(evidence.ToBytes());
        return $"evidence of {Math.Min(evidence.Inclusion.Count, 8)} hashes";
    }
}
