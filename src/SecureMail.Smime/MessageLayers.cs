using SecureMail.Cms;
using SecureMail.Mail.Mime;

namespace SecureMail.Smime;

/// <summary>One signature found in a message, and what it is over.</summary>
/// <param name="Data">Null when the signature part is damaged: a signature was meant and there is none.</param>
/// <param name="Content">The part whose received bytes are signed; null when the content is inside the CMS.</param>
/// <param name="CoversWhole">Nothing that a reader would see stands outside.</param>
/// <param name="Envelopes">So many envelopes were opened around it: the signature vouches for what came out of these,
/// not for ones inside.</param>
internal sealed record SignedLayer(CmsSignedData? Data, MimePart? Content, bool CoversWhole, int Envelopes);

/// <summary>
/// Takes the security layers off a message, outermost first, until something is left that is neither signed nor
/// encrypted: the payload. What is encrypted is opened only where it is the whole of its layer: a ciphertext among
/// other parts would let their author wrap its cleartext into his own text (EFAIL). A signature among other parts is
/// found, and does not cover the whole.
/// </summary>
internal sealed class MessageLayers : IDisposable
{
    private const int MaxLayers = 8;
    private const int MaxBuriedSignatures = 16;
    private readonly List<IDisposable> _owned = [];
    private readonly IReadOnlyList<RecipientKey> _keys;

    /// <summary>Nothing is opened yet; the message's stream stays the caller's and in use.</summary>
    public MessageLayers(MailMessage message, IReadOnlyList<RecipientKey> keys)
    {
        Message = message;
        _keys = keys;
        Payload = message.Root;
    }

    /// <summary>The message as received.</summary>
    public MailMessage Message { get; }

    /// <summary>Outermost first.</summary>
    public List<SignedLayer> Signatures { get; } = [];

    /// <summary>What is left when the layers are off; null when a signature is over something that is no MIME
    /// entity.</summary>
    public MimePart? Payload { get; private set; }

    /// <summary>An envelope was met, opened or not.</summary>
    public bool Encrypted { get; private set; }

    /// <summary>The envelopes opened, outermost first; not to be disposed by others.</summary>
    public List<CmsOpened> Envelopes { get; } = [];

    /// <summary>The innermost envelope that did not prove its content unchanged (CBC), counted from 1; 0 when every one
    /// did.</summary>
    public int LastUnauthenticated => Envelopes.FindLastIndex(e => !e.Authenticated) + 1;

    public void Dispose()
    {
        for (var i = _owned.Count - 1; i >= 0; i--)
        {
            _owned[i].Dispose();
        }
    }

    /// <summary>Takes the layers off. What was found before an exception stays found.</summary>
    /// <exception cref="MimeException">Not acceptable mail within an envelope, or a part that does not
    /// decode.</exception>
    /// <exception cref="CmsException">An envelope cannot be opened, or a signature with the content inside not be
    /// read.</exception>
    public async Task OpenAsync(CancellationToken cancellationToken)
    {
        var part = Message.Root;
        var whole = true;
        for (var depth = 0; ; depth++)
        {
            if (depth == MaxLayers)
            {
                throw new MimeException(
                    MimeReason.TooDeep, $"More than {MaxLayers} layers of security lie around each other.");
            }

            Payload = part;
            var next =
                IsMultipartSigned(part) ? await OpenMultipartSignedAsync(part, whole, cancellationToken)
                : IsCms(part) ? await OpenCmsAsync(part, whole, cancellationToken)
                : Signatures.Count == 0 ? await FindBuriedAsync(part, cancellationToken)
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
        // RFC 1847 §2.1: exactly two parts. A third would be shown by some reader and signed by nobody.
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
                // It says it is a layer and cannot be taken off: what is below it nobody knows, so "unsigned" would be
                // a guess.
                throw new MimeException(
                    MimeReason.Malformed,
                    kind == CmsKind.None
                        ? "What is declared as S/MIME is no CMS."
                        : "The kind of S/MIME (compressed or the like) is not read here.");
            default:
                return null;
        }
    }

    /// <summary>Signatures below a part that is no layer itself. A lone one with nothing beside it still covers the
    /// whole.</summary>
    private async Task<(MimePart? Part, bool Whole)?> FindBuriedAsync(
        MimePart part, CancellationToken cancellationToken)
    {
        List<MimePart> buried = [];
        var others = 0;
        await CollectAsync(part);
        if (buried.Count == 1 && others == 0)
        {
            return (buried[0], true);
        }

        foreach (var signed in buried.Take(MaxBuriedSignatures))
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
                buried.Add(at);
            }
            else if (at.Children.Count == 0
                || at.ContentType.MediaType.StartsWith("message/", StringComparison.Ordinal))
            {
                others++; // a forwarded message brings a header of its own into sight
            }

            foreach (var child in buried.Contains(at) ? [] : at.Children)
            {
                await CollectAsync(child);
            }
        }
    }

    private async Task<CmsSignedData> ReadSignatureAsync(MimePart part, CancellationToken cancellationToken)
    {
        // What is inside and not encoded stays where it lies, in the message or in the layer around it.
        var bytes = Own(part.OpenDecoded());
        return Own(await CmsSignedData.ReadInPlaceAsync(bytes, limits: null, cancellationToken));
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

    /// <summary>Null for what was encrypted without being a MIME entity (RFC 8551 §3.1 asks for one): a document, and
    /// no signature in it.</summary>
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
            // A signature without its MIME clothes is one all the same, and "unsigned" would be a lie.
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
            return null; // signed all the same, and judged; only not shown as mail
        }
    }

    /// <summary>
    /// Whether there is text behind the closing delimiter. RFC 2046 §5.1.1 tells readers to pass over it; relays put
    /// footers there, and plain readers show them.
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

    // RFC 8551 §3.5.3: the protocol parameter says it; the x- form is from before the RFC.
    private static bool IsMultipartSigned(MimePart part) =>
        part.ContentType.MediaType == "multipart/signed"
        && part.Children.Count >= 2
        && IsType(
            part.ContentType.Parameters.GetValueOrDefault("protocol") ?? part.Children[1].ContentType.MediaType,
            "pkcs7-signature");

    // RFC 8551 §3.9: the type, or bytes named like one.
    private static bool IsCms(MimePart part) =>
        IsType(part.ContentType.MediaType, "pkcs7-mime")
        || (
            part.ContentType.MediaType == "application/octet-stream"
            && part.FileName?.EndsWith(".p7m", StringComparison.OrdinalIgnoreCase) == true);

    private static bool IsType(string type, string subtype) =>
        type.Equals($"application/{subtype}", StringComparison.OrdinalIgnoreCase)
        || type.Equals($"application/x-{subtype}", StringComparison.OrdinalIgnoreCase);

    /// <summary>Found from the bytes; smime-type is a hint of the sender and may lie.</summary>
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
