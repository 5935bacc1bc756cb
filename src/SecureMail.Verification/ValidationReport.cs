using System.Text.Json.Serialization;
using SecureMail.Smime;
using SecureMail.Trust;

namespace SecureMail.Verification;

/// <summary>A sentence in both languages.</summary>
public sealed record Sentence(string Vi, string En);

/// <summary>
/// Everything found out about one file. Serialised with camel-case names it is the object that CLI.md gives for
/// <c>verify</c>. It holds the decrypted content until it is disposed.
/// </summary>
public sealed class ValidationReport : IDisposable
{
    private readonly IReadOnlyList<IDisposable> _owned;
    private readonly Func<Stream?> _openEnvelope;

    internal ValidationReport(string file, FileFormat format, FileFindings found, Reason? summary = null)
    {
        File = file;
        Format = format;
        Verdict = Verdicts.Of(found.State, found.Signatures);
        Encrypted = found.Encrypted;
        Signatures = found.Signatures;
        Error = found.Problem;
        EnvelopeFindings = found.EnvelopeFindings;
        HeaderFindings = found.HeaderFindings;
        var said = summary ?? found.Problem ?? Verdicts.SummaryOf(Verdict, Signatures);
        Summary = new Sentence(said.Vi, said.En);
        _owned = found.Owned;
        _openEnvelope = found.OpenEnvelope;
    }

    /// <summary>As the caller named it.</summary>
    public string File { get; }

    public FileFormat Format { get; }

    public Verdict Verdict { get; }

    /// <summary>Whether the file has an envelope, opened or not.</summary>
    public bool Encrypted { get; }

    /// <summary>What to do, in one sentence.</summary>
    public Sentence Summary { get; }

    public IReadOnlyList<SignatureFinding> Signatures { get; }

    /// <summary>Why the file could not be validated to its end; null when it could.</summary>
    public Reason? Error { get; }

    /// <summary>Findings about the encryption, beside the verdict: a weak cipher, content that may not be given
    /// out.</summary>
    public IReadOnlyList<Reason> EnvelopeFindings { get; }

    /// <summary>Fields of the outer header that contradict the signed ones, beside the verdict.</summary>
    public IReadOnlyList<Reason> HeaderFindings { get; }

    /// <summary>The report about a file that cannot be opened.</summary>
    public static ValidationReport CannotOpen(string file) =>
        new(file, FileFormat.Unknown, FileFindings.Unreadable(FileReasons.CannotOpen));

    /// <summary>The content of the outermost envelope, byte for byte as it was encrypted. Null when no envelope was
    /// opened, or when neither a tag nor an intact signature inside proves the content unchanged.</summary>
    public Stream? OpenEnvelope() => _openEnvelope();

    public void Dispose()
    {
        foreach (var owned in _owned)
        {
            owned.Dispose();
        }
    }
}

/// <summary>What the validator of one format found.</summary>
internal sealed record FileFindings(FileState State, IReadOnlyList<SignatureFinding> Signatures, Reason? Problem = null)
{
    public bool Encrypted { get; init; }

    public IReadOnlyList<Reason> EnvelopeFindings { get; init; } = [];

    public IReadOnlyList<Reason> HeaderFindings { get; init; } = [];

    public Func<Stream?> OpenEnvelope { get; init; } = () => null;

    public IReadOnlyList<IDisposable> Owned { get; init; } = [];

    public static FileFindings Unreadable(Reason problem) => new(FileState.Unreadable, [], problem);

    public static FileFindings Of(MessageValidation message) =>
        new(message.State, message.Findings, message.Problem)
        {
            Encrypted = message.Encrypted,
            EnvelopeFindings = message.EnvelopeFindings,
            HeaderFindings = message.HeaderFindings,
            OpenEnvelope = message.OpenEnvelope,
            Owned = [message],
        };
}
