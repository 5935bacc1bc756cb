using System.Security.Cryptography;
using System.Text;
using SecureMail.Cms;
using SecureMail.Mail.Mime;
using SecureMail.TestKit.Mutators;
using SecureMail.Trust;
using SecureMail.Verification;
using Shown = SecureMail.Smime.MessageHeaders;

namespace SecureMail.Tests.Fuzzing;

/// <summary>Messages and files that are validated.</summary>
internal static class SmimeTargets
{
    private static readonly Mutator[] Text = [LineMutator.Mutate, OctetMutator.Mutate];

    /// <summary>A message that is valid has the signers and the parts of one of the seeds.</summary>
    public static FuzzTarget Message { get; } =
        new("message", "a signed or encrypted message (RFC 8551), validated", _ => ReaderOfMessages())
        {
            Mutators =
            [
                LineMutator.Mutate, OctetMutator.Mutate,
                (sample, _, random) => MailMutator.Mutate(sample, (ulong)random.NextInt64()),
            ],
            Vectors = ["smime/seeds/*.eml"],
            Mutants = 300,
            MaxAllocated = 16 << 20,
        };

    /// <summary>Fields that are shown as protected come from the payload, and the sender is the only one of both
    /// headers.</summary>
    public static FuzzTarget MessageHeaders { get; } =
        new("message-headers", "the protected and the outer header of a message (RFC 9788)", _ => ReadMessageHeaders)
        {
            Refusals = [typeof(MimeException)],
            Mutators = [LineMutator.Mutate, LineMutator.Mutate, OctetMutator.Mutate],
            Mutants = 800,
        };

    /// <summary>A file that is valid has the signers of one of the seeds. Validating fails for no file.</summary>
    public static FuzzTarget File { get; } =
        new("file", "any file given to verify: mail, CMS or PDF", _ => ReaderOfFiles())
        {
            Mutators = [OctetMutator.Mutate, DerMutator.Mutate, LineMutator.Mutate],
            Vectors =
            [
                "smime/seeds/opaque*.eml", "smime/seeds/encrypted-*.eml", "cms/attached-*.der",
                "cms/enveloped-gcm256.der",
            ],
            Mutants = 300,
            MaxAllocated = 16 << 20,
        };

    /// <summary>The kind is that of the whole file and of its first bytes; a PDF has the mark of one.</summary>
    public static FuzzTarget FileKind { get; } =
        new("file-kind", "the kind of a file by its first bytes", _ => ReadFileKind)
        {
            Mutators = [OctetMutator.Mutate, LineMutator.Mutate],
            Vectors = ["smime/*.eml", "cms/*.der"],
        };

    /// <summary>A /ByteRange is seen in whatever pieces the file is read.</summary>
    public static FuzzTarget Pdf { get; } =
        new("pdf", "whether a PDF may hold a signature (ISO 32000-2 §12.8.1)", _ => ReadPdf)
        {
            Mutators = Text,
        };

    private static FuzzRead ReaderOfMessages()
    {
        var seeds = SeedMessages.Shared;
        return input =>
        {
            var (verdict, ours) = Completed.Result(seeds.Reader.ReadAsync(input));
            if (ours is null)
            {
                throw new RefusedException(verdict.ToString());
            }

            // A layer may be lost where the same signer signed the layer inside, too.
            seeds.Expected.ShouldContain(e =>
                ours.Signers.Distinct().SequenceEqual(e.Signers.Distinct()) && ours.Leaves.SequenceEqual(e.Leaves));
            return $"{verdict} {ours}";
        };
    }

    private static string? ReadMessageHeaders(byte[] input)
    {
        var message = MailMessage.Parse(input, MimeReaderOptions.Stored);
        var payload = message.Root.Children is [var first, ..] ? first : null;
        var shown = Shown.Of(message, payload);
        var sender = Shown.SoleSender(message, shown);
        if (shown.AreProtected)
        {
            payload.ShouldNotBeNull();
            var source = payload.ContentType.MediaType == "message/rfc822" && payload.Children.Count == 1
                && payload.ContentType.Parameters.GetValueOrDefault("hp") is not ("cipher" or "clear")
                ? payload.Children[0]
                : payload;
            shown.Subject.ShouldBe(source.Header("Subject")?.Text ?? "");
            foreach (var name in shown.Contradicted)
            {
                // What is missing outside contradicts nothing, and what is the same inside and outside does not either.
                var outer = message.Headers.Where(h => h.Is(name)).Select(h => h.Value).ToList();
                outer.ShouldNotBeEmpty();
                if (source.Header("HP-Outer") is null)
                {
                    outer.ShouldNotBe(source.Headers.Where(h => h.Is(name)).Select(h => h.Value));
                }
            }
        }
        else
        {
            shown.Contradicted.ShouldBeEmpty();
            shown.Subject.ShouldBe(message.Root.Header("Subject")?.Text ?? "");
        }

        if (sender is null)
        {
            return shown.AreProtected ? "protected, no sender" : null;
        }

        shown.From.ShouldHaveSingleItem().ShouldBe(sender);
        // RFC 9788 §4: an outer From that names another address makes that the sender is not shown.
        foreach (var outer in message.Root.Headers.Where(h => h.Is("From")))
        {
            Mailbox.ParseList(outer.Value).ShouldAllBe(m => m.IsSameAddressAs(sender));
        }

        return $"protected {shown.AreProtected}, date {shown.Date is not null}, id {shown.MessageId is not null}, "
            + $"auto {shown.AutoSubmitted is not null}";
    }

    private static FuzzRead ReaderOfFiles()
    {
        var folder = System.IO.Path.Combine(Vectors.Folder("smime"), "seeds");
        var key = RSA.Create();
        key.ImportFromPem(System.IO.File.ReadAllText(System.IO.Path.Combine(folder, "recipient-key.pem")));
        RecipientKey[] keys =
        [
            new(OurReader.Certificate(folder, "recipient"), key), CmsTargets.KeyOf("cms", "recipient"),
        ];
        var options = new ValidationOptions
        {
            Trust = new TrustMaterial(
                [OurReader.Certificate(folder, "root"), OurReader.Certificate(Vectors.Folder("cms"), "root")]),
            At = new DateTimeOffset(2030, 1, 1, 0, 0, 0, TimeSpan.Zero),
            CheckRevocation = false,
        };
        var signers = SeedMessages.Shared.Expected.SelectMany(e => e.Signers).ToHashSet(StringComparer.Ordinal);
        foreach (var sample in File.Samples())
        {
            using var report = Validate(sample);
            signers.UnionWith(Signers(report));
        }

        return input =>
        {
            using var report = Validate(input);
            if (report.Verdict != Verdict.Valid)
            {
                throw new RefusedException(
                    $"{report.Format} {report.Verdict} {report.Error?.Code} "
                    + string.Join(',', report.Signatures.Select(s => s.Reason.Code)));
            }

            Signers(report).ShouldBeSubsetOf(signers);
            using var envelope = report.OpenEnvelope();
            return $"{report.Format}, envelope {envelope is not null}, {Signers(report).Count()} signers";
        };

        ValidationReport Validate(byte[] input) =>
            Completed.Result(FileValidator.ValidateAsync("file", new MemoryStream(input), null, keys, options));

        static IEnumerable<string> Signers(ValidationReport report) =>
            report.Signatures
                .Where(s => s.Intact && s.SignerCertificate is not null)
                .Select(s => Convert.ToHexStringLower(SHA256.HashData(s.SignerCertificate!.RawData)));
    }

    private static string? ReadFileKind(byte[] input)
    {
        var kind = FileFormats.Detect(input);
        Completed.Result(FileFormats.DetectAsync(new MemoryStream(input), CancellationToken.None)).ShouldBe(kind);
        if (kind == FileFormat.Pdf)
        {
            input.AsSpan().IndexOf("%PDF-"u8).ShouldBeGreaterThanOrEqualTo(0);
        }

        if (kind == FileFormat.Cms)
        {
            CmsFormat.Detect(input.AsSpan(0, Math.Min(input.Length, CmsFormat.DetectionLength)))
                .ShouldNotBe(CmsKind.None);
        }

        return kind == FileFormat.Unknown ? null : kind.ToString();
    }

    private static string? ReadPdf(byte[] input)
    {
        var seen = Completed.Result(PdfSignatures.MayBePresentAsync(new MemoryStream(input), CancellationToken.None));
        Completed.Result(PdfSignatures.MayBePresentAsync(new DrippingStream(input), CancellationToken.None))
            .ShouldBe(seen);
        // The plain name with a delimiter behind it is there for every reader.
        if (Encoding.Latin1.GetString(input).Contains("/ByteRange[", StringComparison.Ordinal))
        {
            seen.ShouldBeTrue();
        }

        return seen ? $"seen {input.AsSpan().IndexOf((byte)'#') >= 0}" : null;
    }

    /// <summary>Gives one byte at a time.</summary>
    private sealed class DrippingStream(byte[] data) : MemoryStream(data)
    {
        public override int Read(Span<byte> buffer) => base.Read(buffer[..Math.Min(1, buffer.Length)]);

        public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) =>
            new(Read(buffer.Span));
    }
}
