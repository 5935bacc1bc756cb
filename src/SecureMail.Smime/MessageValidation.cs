using SecureMail.Mail.Mime;
using SecureMail.Trust;

namespace SecureMail.Smime;

/// <summary>
/// Everything found out about a received message. Parts and headers are readable until this is disposed; they lie in
/// the stream that was judged or, opened from an envelope, in memory and sealed temporary files.
/// </summary>
public sealed class MessageValidation : IDisposable
{
    private readonly MessageLayers? _layers;

    /// <param name="proven">So many envelopes, counted from outside, have an intact signature over the whole inside
    /// them.</param>
    internal MessageValidation(
        MessageLayers? layers, FileState state, IReadOnlyList<SignatureFinding> findings, byte[]? signedBytesDigest,
        int proven, Reason? problem)
    {
        _layers = layers;
        State = state;
        Findings = findings;
        SignedBytesDigest = signedBytesDigest;
        Problem = problem;
        Verdict = Verdicts.Of(state, findings);
        Message = layers?.Message;
        if (layers is null)
        {
            return;
        }
        // What came out of an envelope without authentication (CBC) is shown only where a signature inside it proves
        // all of it unchanged. One around it proves nothing: who changes a ciphertext can sign the changed one (EFAIL).
        var mayBeShown = proven >= layers.LastUnauthenticated;
        EnvelopeFindings = MessageReasons.OfEnvelopes(layers.Envelopes, mayBeShown);
        EnvelopeIsProven = layers.Envelopes is [var outermost, ..] && (outermost.Authenticated || proven > 0);
        Payload = state == FileState.Read && mayBeShown ? layers.Payload : null;
        Headers = MessageHeaders.Of(layers.Message, Payload);
        Parts = Payload is null ? [] : [.. Leaves(Payload)];
    }

    public Verdict Verdict { get; }

    public FileState State { get; }

    /// <summary>A finding for each signer of each signature, outermost signature first.</summary>
    public IReadOnlyList<SignatureFinding> Findings { get; }

    /// <summary>An envelope was met, opened or not.</summary>
    public bool Encrypted => _layers?.Encrypted == true;

    /// <summary>An envelope was opened, and what came out of the outermost is as it was encrypted: its tag says so
    /// (GCM), or an intact signature inside.</summary>
    public bool EnvelopeIsProven { get; }

    /// <summary>What is to be said about the encryption, beside the verdict, which is about signatures: a weak cipher,
    /// content that may not be shown. Empty when nothing is.</summary>
    public IReadOnlyList<Reason> EnvelopeFindings { get; } = [];

    /// <summary>Why it is unreadable or locked; null when it was read.</summary>
    public Reason? Problem { get; }

    /// <summary>SHA-256 of the bytes that the innermost signature is over: the same for every copy of a dispatch. Null
    /// without a signature.</summary>
    public byte[]? SignedBytesDigest { get; }

    /// <summary>The message as received, outside of all layers; null when it is no mail.</summary>
    public MailMessage? Message { get; }

    /// <summary>Who, to whom, about what; null when it is no mail.</summary>
    public MessageHeaders? Headers { get; }

    /// <summary>
    /// What is left when all layers are off; null when that may not be shown, or is no MIME entity. For a verdict of
    /// partial it holds signed and unsigned parts.
    /// </summary>
    public MimePart? Payload { get; }

    /// <summary>The parts of the payload that are no multiparts, in order: the manifest, the documents. Empty without a
    /// payload.</summary>
    public IReadOnlyList<MimePart> Parts { get; } = [];

    /// <summary>
    /// What came out of the outermost envelope, byte for byte as it was encrypted, whatever is inside; null when none
    /// was opened, or it is not <see cref="EnvelopeIsProven"/>.
    /// </summary>
    public Stream? OpenEnvelope() => EnvelopeIsProven ? _layers!.Envelopes[0].OpenContent() : null;

    public void Dispose() => _layers?.Dispose();

    private static IEnumerable<MimePart> Leaves(MimePart part) =>
        part.ContentType.MediaType.StartsWith("multipart/", StringComparison.Ordinal)
            ? part.Children.SelectMany(Leaves)
            : [part];
}
