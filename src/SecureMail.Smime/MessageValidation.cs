using SecureMail.Mail.Mime;
using SecureMail.Trust;

namespace SecureMail.Smime;

/// <summary>
/// The result of validating a received message. Parts and headers are readable until this object is disposed. They lie
/// in the validated stream or, decrypted from an envelope, in memory and encrypted temporary files.
/// </summary>
public sealed class MessageValidation : IDisposable
{
    private readonly MessageLayers? _layers;

    /// <param name="provenEnvelopes">The number of envelopes, counted from the outermost, that hold an intact signature
    /// over their whole content.</param>
    internal MessageValidation(
        MessageLayers? layers, FileState state, IReadOnlyList<SignatureFinding> findings, byte[]? signedBytesDigest,
        int provenEnvelopes, Reason? problem)
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
        // The content of an envelope without authentication (CBC) is shown only where a signature inside it proves that
        // all of it is unchanged. A signature around the envelope proves nothing, because an attacker who changes a
        // ciphertext can sign the changed one (EFAIL).
        var mayBeShown = provenEnvelopes >= layers.LastUnauthenticated;
        EnvelopeFindings =
        [
            .. MessageReasons.OfEnvelopes(layers.Envelopes, mayBeShown),
            .. layers.HasEnvelopeAmongParts ? [MessageReasons.EnvelopeAmongParts] : Array.Empty<Reason>(),
        ];
        EnvelopeIsProven = layers.Envelopes is [var outermost, ..] && (outermost.Authenticated || provenEnvelopes > 0);
        Payload = state == FileState.Read && mayBeShown ? layers.Payload : null;
        Headers = MessageHeaders.Of(layers.Message, Payload);
        HeaderFindings = [.. Headers.Contradicted.Select(MessageReasons.Contradicts)];
        Parts = Payload is null ? [] : [.. Leaves(Payload)];
    }

    public Verdict Verdict { get; }

    public FileState State { get; }

    /// <summary>A finding for each signer of each signature, outermost signature first.</summary>
    public IReadOnlyList<SignatureFinding> Findings { get; }

    /// <summary>Whether the message has an envelope, opened or not.</summary>
    public bool Encrypted => _layers?.Encrypted == true;

    /// <summary>
    /// Whether an envelope was opened and the content of the outermost is proven unchanged, by its authentication tag
    /// (GCM) or by an intact signature inside.
    /// </summary>
    public bool EnvelopeIsProven { get; }

    /// <summary>
    /// Findings about the encryption: a weak cipher, content that may not be shown. The verdict is about signatures and
    /// does not include them. Empty when there are none.
    /// </summary>
    public IReadOnlyList<Reason> EnvelopeFindings { get; } = [];

    /// <summary>
    /// A finding for each field of the outer header that contradicts the protected one (RFC 9788). The verdict does not
    /// include them: what is shown is the protected header. Empty when there are none.
    /// </summary>
    public IReadOnlyList<Reason> HeaderFindings { get; } = [];

    /// <summary>Why the message is unreadable or locked; null when it was read.</summary>
    public Reason? Problem { get; }

    /// <summary>
    /// SHA-256 of the content of the innermost signature, which is the same in every copy of a dispatch; 32 bytes, null
    /// without a signature.
    /// </summary>
    public byte[]? SignedBytesDigest { get; }

    /// <summary>The message as received, outside of all layers; null when the bytes are not acceptable mail.</summary>
    public MailMessage? Message { get; }

    /// <summary>
    /// Sender, recipients, subject and other fields to show; null when the bytes are not acceptable mail.
    /// </summary>
    public MessageHeaders? Headers { get; }

    /// <summary>
    /// The entity inside all layers; null when it may not be shown or is not a MIME entity. When the verdict is
    /// partial, it holds signed and unsigned parts.
    /// </summary>
    public MimePart? Payload { get; }

    /// <summary>
    /// The parts of the payload that are not multiparts, in order: the manifest, the documents. Empty without a
    /// payload.
    /// </summary>
    public IReadOnlyList<MimePart> Parts { get; } = [];

    /// <summary>
    /// Opens the decrypted content of the outermost envelope, whatever it holds; null when no envelope was opened or
    /// <see cref="EnvelopeIsProven"/> is false.
    /// </summary>
    public Stream? OpenEnvelope() => EnvelopeIsProven ? _layers!.Envelopes[0].OpenContent() : null;

    public void Dispose() => _layers?.Dispose();

    private static IEnumerable<MimePart> Leaves(MimePart part) =>
        part.ContentType.MediaType.StartsWith("multipart/", StringComparison.Ordinal)
            ? part.Children.SelectMany(Leaves)
            : [part];
}
