using SecureMail.Cms;
using SecureMail.Mail.Mime;

namespace SecureMail.Smime;

/// <summary>One signature of a message and its scope.</summary>
/// <param name="Data">The signature; null when the signature part is damaged.</param>
/// <param name="Content">The part whose received bytes are signed; null when the content is inside the CMS.</param>
/// <param name="CoversWhole">Whether everything that a reader would see is signed.</param>
/// <param name="Envelopes">The number of envelopes opened around the signature. The signature proves the content of
/// these, not of envelopes inside it.</param>
internal sealed record SignedLayer(CmsSignedData? Data, MimePart? Content, bool CoversWhole, int Envelopes);

/// <summary>
/// Removes the security layers of a message, outermost first, down to an entity that is neither signed nor encrypted:
/// the payload. A ciphertext is opened only where it is the whole of its layer, because the author of other parts
/// around it could embed the cleartext in text of his own (EFAIL). A signature among other parts is found, but does not
/// cover the whole.
/// </summary>
internal sealed class MessageLayers : IDisposable
{
    private const int MaxLayers = 8;
    private const int MaxInnerSignatures = 16;
    private readonly List<IDisposable> _owned = [];
    private readonly IReadOnlyList<RecipientKey> _keys;

    /// <summary>Opens nothing yet. The caller owns the message's stream and keeps it open.</summary>
    public MessageLayers(MailMessage message, IReadOnlyList<RecipientKey> keys)
    {
        Message = message;
        _keys = keys;
        Payload = message.Root;
    }

    /// <summary>The message as received.</summary>
    public MailMessage Message { get; }

    /// <summary>The signatures found, outermost first.</summary>
    public List<SignedLayer> Signatures { get; } = [];

    /// <summary>The entity inside all layers; null when the signed or encrypted content is not a MIME entity.</summary>
    public MimePart? Payload { get; private set; }

    /// <summary>Whether the message has an envelope, opened or not.</summary>
    public bool Encrypted { get; private set; }

    /// <summary>The envelopes opened, outermost first. This object disposes them.</summary>
    public List<DecryptedContent> Envelopes { get; } = [];

    /// <summary>
    /// The number of the innermost envelope without authentication (CBC), counted from 1 at the outermost; 0 when every
    /// envelope is authenticated.
    /// </summary>
    public int LastUnauthenticated => Envelopes.FindLastIndex(e => !e.Authenticated) + 1;

    public void Dispose()
    {
        for (var i = _owned.Count - 1; i >= 0; i--)
        {
            _owned[i].Dispose();
        }
    }

    /// <summary>Removes the layers. The properties keep what was found before an exception.</summary>
    /// <exception cref="MimeException">The content of an envelope is not acceptable mail, or a part does not
    /// decode.</exception>
    /// <exception cref="CmsException">An envelope cannot be opened, or a signature that encloses its content cannot be
    /// read.</exception>
    public async Task OpenAsync(CancellationToken cancellationToken)
    {
        var part = Message.Root;
        var whole = true;
        for (var depth = 0; ; depth++)
        {
            if (depth == MaxLayers)
            {
                throw new MimeException(MimeReason.TooDeep, $"The message has more than {MaxLayers} security layers.");
            }

            Payload = part;
            var next =
                IsMultipartSigned(part) ? await OpenMultipartSignedAsync(part, whole, cancellationToken)
                : IsCms(part) ? await OpenCmsAsync(part, whole, cancellationToken)
                : Signatures.Count == 0 ? await FindInnerSignaturesAsync(part, cancellationToken)
                : null;
            if (next is not { } layer)
            {
                return;
            }

            (part, whole) = layer;
            if (part is null)
            {
                Payload = null;
                return;
            }
        }
    }

    private async Task<(MimePart? Part, bool Whole)?> OpenMultipartSignedAsync(
        MimePart part, bool whole, CancellationToken cancellationToken)
    {
        // RFC 1847 §2.1: exactly two parts. Some readers show a third part, which is not signed.
        whole &= part.Children.Count == 2 && !HasEpilogue(part);
        Signatures.Add(
            new SignedLayer(
                await TryReadSignatureAsync(part.Children[1], cancellationToken), part.Children[0], whole,
                Envelopes.Count));
        return (part.Children[0], whole);
    }

    private async Task<(MimePart? Part, bool Whole)?> OpenCmsAsync(
        MimePart part, bool whole, CancellationToken cancellationToken)
    {
        switch (await KindOfAsync(part, cancellationToken))
        {
            case CmsKind.EnvelopedData or CmsKind.AuthEnvelopedData:
                Encrypted = true;
                await using (var envelope = part.OpenDecoded())
                {
                    var opened = Own(await CmsDecryptor.DecryptAsync(envelope, _keys, limits: null, cancellationToken));
                    Envelopes.Add(opened);
                    return (await ParseOpenedAsync(Own(opened.OpenContent()), cancellationToken), whole);
                }

            case CmsKind.SignedData:
                var data = await ReadSignatureAsync(part, cancellationToken);
                // RFC 8551 §3.2.2: certs-only messages carry certificates and sign nothing.
                if (data.Signers.Count == 0 || !data.HasContent)
                {
                    return null;
                }

                Signatures.Add(new SignedLayer(data, null, whole, Envelopes.Count));
                return (TryParse(Own(data.OpenContent())), whole);
            case var kind when IsType(part.ContentType.MediaType, "pkcs7-mime"):
                // The part is declared as a layer and cannot be removed. Its content is unknown, so the verdict
                // "unsigned" could be wrong.
                throw new MimeException(
                    MimeReason.Malformed,
                    kind == CmsKind.None
                        ? "A part is declared as S/MIME, but is not CMS."
                        : "A part is of a kind of S/MIME that is not supported, such as compressed data.");
            default:
                return null;
        }
    }

    /// <summary>
    /// Finds signatures inside a part that is not a layer itself. A single signature without other parts beside it
    /// still covers the whole.
    /// </summary>
    private async Task<(MimePart? Part, bool Whole)?> FindInnerSignaturesAsync(
        MimePart part, CancellationToken cancellationToken)
    {
        List<MimePart> inner = [];
        var others = 0;
        await CollectAsync(part);
        if (inner.Count == 1 && others == 0)
        {
            return (inner[0], true);
        }

        foreach (var signed in inner.Take(MaxInnerSignatures))
        {
            if (IsMultipartSigned(signed))
            {
                await OpenMultipartSignedAsync(signed, whole: false, cancellationToken);
            }
            else
            {
                Signatures.Add(
                    new SignedLayer(
                        await ReadSignatureAsync(signed, cancellationToken), null, CoversWhole: false, Envelopes.Count)
                );
            }
        }

        return null;

        async Task CollectAsync(MimePart at)
        {
            if (
                at != part
                && (
                    IsMultipartSigned(at)
                    || (IsCms(at) && await KindOfAsync(at, cancellationToken) == CmsKind.SignedData)))
            {
                inner.Add(at);
            }
            else if (at.Children.Count == 0
                || at.ContentType.MediaType.StartsWith("message/", StringComparison.Ordinal))
            {
                others++; // a forwarded message has a header of its own, which a reader shows
            }

            foreach (var child in inner.Contains(at) ? [] : at.Children)
            {
                await CollectAsync(child);
            }
        }
    }

    private async Task<CmsSignedData> ReadSignatureAsync(MimePart part, CancellationToken cancellationToken)
    {
        // Enclosed content without transfer encoding is not copied: it is read from the message or from the layer
        // around it.
        var content = Own(part.OpenDecoded());
        return Own(await CmsSignedData.ReadInPlaceAsync(content, limits: null, cancellationToken));
    }

    private async Task<CmsSignedData?> TryReadSignatureAsync(MimePart part, CancellationToken cancellationToken)
    {
        try
        {
            return await ReadSignatureAsync(part, cancellationToken);
        }
        catch (Exception e) when (e is CmsException or MimeException)
        {
            return null;
        }
    }

    /// <summary>
    /// Parses the content of an envelope. Returns null when it is not a MIME entity, as RFC 8551 §3.1 requires, but a
    /// plain document without signature.
    /// </summary>
    private static async Task<MimePart?> ParseOpenedAsync(Stream content, CancellationToken cancellationToken)
    {
        try
        {
            return MailMessage.Parse(content, MimeReaderOptions.Stored).Root;
        }
        catch (MimeException e) when (e.Reason == MimeReason.Malformed)
        {
            content.Position = 0;
            var head = new byte[CmsFormat.DetectionLength];
            var count = await content.ReadAtLeastAsync(head, head.Length, throwOnEndOfStream: false, cancellationToken);
            // A bare CMS structure without MIME header may be a signature, so the verdict "unsigned" would be wrong.
            if (CmsFormat.Detect(head.AsSpan(0, count)) != CmsKind.None)
            {
                throw;
            }

            return null;
        }
    }

    private static MimePart? TryParse(Stream content)
    {
        try
        {
            return MailMessage.Parse(content, MimeReaderOptions.Stored).Root;
        }
        catch (MimeException)
        {
            return null; // the signature is validated all the same; its content is just not shown as mail
        }
    }

    /// <summary>
    /// Whether text follows the closing delimiter. RFC 2046 §5.1.1 tells readers to ignore it, but relays put footers
    /// there, and readers without MIME show them.
    /// </summary>
    private static bool HasEpilogue(MimePart part)
    {
        using var body = part.OpenBody();
        body.Position = part.Children[^1].Offset + part.Children[^1].Length - part.BodyOffset;
        var tail = new byte[4096];
        var text = tail.AsSpan(0, body.ReadAtLeast(tail, tail.Length, throwOnEndOfStream: false)).TrimStart("\r\n"u8);
        var end = text.IndexOf((byte)'\n');
        return end >= 0 && text[end..].IndexOfAnyExcept("\r\n \t"u8) >= 0;
    }

    // RFC 8551 §3.5.3: the protocol parameter names the type. The x- form is older than the RFC.
    private static bool IsMultipartSigned(MimePart part) =>
        part.ContentType.MediaType == "multipart/signed"
        && part.Children.Count >= 2
        && IsType(
            part.ContentType.Parameters.GetValueOrDefault("protocol") ?? part.Children[1].ContentType.MediaType,
            "pkcs7-signature");

    // RFC 8551 §3.9: the media type, or application/octet-stream with a file name of S/MIME.
    private static bool IsCms(MimePart part) =>
        IsType(part.ContentType.MediaType, "pkcs7-mime")
        || (
            part.ContentType.MediaType == "application/octet-stream"
            && part.FileName?.EndsWith(".p7m", StringComparison.OrdinalIgnoreCase) == true);

    private static bool IsType(string type, string subtype) =>
        type.Equals($"application/{subtype}", StringComparison.OrdinalIgnoreCase)
        || type.Equals($"application/x-{subtype}", StringComparison.OrdinalIgnoreCase);

    /// <summary>
    /// Detects the kind from the bytes, because the smime-type parameter is only a hint of the sender and may be wrong.
    /// </summary>
    private static async Task<CmsKind> KindOfAsync(MimePart part, CancellationToken cancellationToken)
    {
        await using var bytes = part.OpenDecoded();
        var head = new byte[CmsFormat.DetectionLength];
        var count = await bytes.ReadAtLeastAsync(head, head.Length, throwOnEndOfStream: false, cancellationToken);
        return CmsFormat.Detect(head.AsSpan(0, count));
    }

    private T Own<T>(T owned)
        where T : IDisposable
    {
        _owned.Add(owned);
        return owned;
    }
}
