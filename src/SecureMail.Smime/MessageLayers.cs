using System.Buffers;
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
/// around it could embed the cleartext in text of his own (EFAIL); one among other parts is reported. A signature among
/// other parts is found, but does not cover the whole. One part alone in a multipart is the whole of it.
/// </summary>
internal sealed class MessageLayers : IDisposable
{
    private const string OctetStream = "application/octet-stream";
    private const int MaxLayers = 8;
    private const int MaxInnerSignatures = 16;
    private static readonly SearchValues<byte> Blank = SearchValues.Create("\r\n \t"u8);
    private readonly List<IDisposable> _owned = [];
    private readonly IReadOnlyList<RecipientKey> _keys;
    private readonly IReadOnlySet<int> _canonical;

    /// <summary>Opens nothing yet. The caller owns the message's stream and keeps it open.</summary>
    /// <param name="canonical">The multipart/signed layers, counted from 0 at the outermost signature, whose content is
    /// read with CRLF in place of LF, because that is what was signed.</param>
    public MessageLayers(MailMessage message, IReadOnlyList<RecipientKey> keys, IReadOnlySet<int> canonical)
    {
        Message = message;
        _keys = keys;
        _canonical = canonical;
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

    /// <summary>Whether an envelope stands among other parts and was therefore not opened.</summary>
    public bool HasEnvelopeAmongParts { get; private set; }

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
                : await FindInnerLayersAsync(part, whole, cancellationToken);
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
        // RFC 1847 §2.1: exactly two parts. Some readers show a third part, which is not signed. They also show a
        // second part that is not declared as a signature.
        if (part.Children.Count == 0)
        {
            Signatures.Add(new SignedLayer(null, null, CoversWhole: false, Envelopes.Count));
            return null;
        }

        var data = part.Children.Count < 2 ? null : await TryReadSignatureAsync(part.Children[1], cancellationToken);
        whole &=
            part.Children.Count == 2
            && IsSignaturePart(part.Children[1])
            && data is not { HasExtraOctets: true }
            && !HasEpilogue(part);
        var content = part.Children[0];
        if (_canonical.Contains(Signatures.Count))
        {
            content = await ReadCanonicalAsync(content, cancellationToken);
        }

        Signatures.Add(new SignedLayer(data, content, whole, Envelopes.Count));
        return (content, whole);
    }

    /// <summary>The part with CRLF in place of each LF.</summary>
    private async Task<MimePart> ReadCanonicalAsync(MimePart part, CancellationToken cancellationToken)
    {
        var spool = Own(new SecretSpool());
        await using (var lines = new CrlfStream(part.OpenRaw()))
        {
            await lines.CopyToAsync(spool.OpenWrite(), cancellationToken);
        }

        return MailMessage.ParseEntity(Own(spool.OpenRead()), MimeReaderOptions.Stored);
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
                    whole &= !opened.HasExtraOctets;
                    return (await ParseOpenedAsync(Own(opened.OpenContent()), cancellationToken), whole);
                }

            case CmsKind.SignedData:
                var data = await ReadSignatureAsync(part, cancellationToken);
                // RFC 8551 §3.2.2: certs-only messages carry certificates and sign nothing.
                if (data.Signers.Count == 0)
                {
                    return null;
                }

                whole &= !data.HasExtraOctets;
                Signatures.Add(new SignedLayer(data, null, whole, Envelopes.Count));
                return data.HasContent ? (TryParse(Own(data.OpenContent())), whole) : null;
            case var kind:
                throw NotALayer(kind);
        }
    }

    /// <summary>
    /// The error of a part that is declared as a layer and cannot be removed. Its content is unknown, so the verdict
    /// "unsigned" could be wrong.
    /// </summary>
    private static MimeException NotALayer(CmsKind kind) =>
        new(
            MimeReason.Malformed,
            kind == CmsKind.None
                ? "A part is declared as S/MIME, but is not CMS."
                : "A part is of a kind of S/MIME that is not supported, such as compressed data.");

    /// <summary>
    /// Finds layers inside a part that is not a layer itself. A single one without other parts beside it is still the
    /// whole. Inside a signature only envelopes count, because what is signed there needs no second signature.
    /// </summary>
    private async Task<(MimePart? Part, bool Whole)?> FindInnerLayersAsync(
        MimePart part, bool whole, CancellationToken cancellationToken)
    {
        var isSigned = Signatures.Count > 0;
        List<MimePart> signed = [];
        List<MimePart> sealedParts = [];
        var others = 0;
        var epilogues = false;
        await CollectAsync(part);
        whole &= !epilogues;
        Encrypted |= sealedParts.Count > 0;
        if (others == 0 && signed.Count + sealedParts.Count == 1 && (signed.Count == 1 || whole))
        {
            return (signed.Count == 1 ? signed[0] : sealedParts[0], whole);
        }

        HasEnvelopeAmongParts |= sealedParts.Count > 0;
        foreach (var one in signed.Take(MaxInnerSignatures))
        {
            if (IsMultipartSigned(one))
            {
                await OpenMultipartSignedAsync(one, whole: false, cancellationToken);
            }
            else
            {
                Signatures.Add(
                    new SignedLayer(
                        await ReadSignatureAsync(one, cancellationToken), null, CoversWhole: false, Envelopes.Count));
            }
        }

        return null;

        async Task CollectAsync(MimePart at)
        {
            if (await IsLayerAsync(at))
            {
                return;
            }

            if (at.Children.Count == 0 || at.ContentType.MediaType.StartsWith("message/", StringComparison.Ordinal))
            {
                others++; // a forwarded message has a header of its own, which a reader shows
            }
            else
            {
                epilogues |= !isSigned && HasEpilogue(at);
            }

            foreach (var child in at.Children)
            {
                await CollectAsync(child);
            }
        }

        async Task<bool> IsLayerAsync(MimePart at)
        {
            if (at == part)
            {
                return false;
            }

            if (!isSigned && IsMultipartSigned(at))
            {
                signed.Add(at);
                return true;
            }

            if (!IsCms(at))
            {
                return false;
            }

            CmsKind found;
            try
            {
                found = await KindOfAsync(at, cancellationToken);
            }
            catch (MimeException) when (isSigned)
            {
                return false; // a damaged attachment, as the signer sent it
            }

            switch (found)
            {
                case CmsKind.EnvelopedData or CmsKind.AuthEnvelopedData:
                    sealedParts.Add(at);
                    return true;
                case CmsKind.SignedData when !isSigned:
                    signed.Add(at);
                    return true;
                case var kind when !isSigned && kind != CmsKind.SignedData:
                    throw NotALayer(kind);
                default:
                    return false;
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

    /// <summary>The signature of a multipart/signed; null when it is damaged.</summary>
    /// <exception cref="MimeException">The part does not decode, which says nothing about the signature.</exception>
    private async Task<CmsSignedData?> TryReadSignatureAsync(MimePart part, CancellationToken cancellationToken)
    {
        try
        {
            return await ReadSignatureAsync(part, cancellationToken);
        }
        catch (CmsException)
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
    /// Whether text follows the closing delimiter, however far behind. RFC 2046 §5.1.1 tells readers to ignore it, but
    /// relays put footers there, and readers without MIME show them.
    /// </summary>
    private static bool HasEpilogue(MimePart multipart)
    {
        using var body = multipart.OpenBody();
        body.Position = multipart.Children[^1].Offset + multipart.Children[^1].Length - multipart.BodyOffset;
        var buffer = ArrayPool<byte>.Shared.Rent(16 * 1024);
        try
        {
            // The line end before the delimiter, the delimiter, then the epilogue.
            var (atDelimiter, atEpilogue) = (false, false);
            for (int count; (count = body.Read(buffer)) > 0;)
            {
                ReadOnlySpan<byte> text = buffer.AsSpan(0, count);
                if (!atDelimiter)
                {
                    text = text.TrimStart("\r\n"u8);
                    atDelimiter = !text.IsEmpty;
                }

                if (!atEpilogue)
                {
                    var end = text.IndexOf((byte)'\n');
                    atEpilogue = end >= 0;
                    text = atEpilogue ? text[end..] : default;
                }

                if (text.ContainsAnyExcept(Blank))
                {
                    return true;
                }
            }

            return false;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    /// <summary>
    /// Whether the part is an S/MIME signature by RFC 8551 §3.5.3: the protocol parameter names the type, or the second
    /// part is of it. The x- form is older than the RFC.
    /// </summary>
    private static bool IsMultipartSigned(MimePart part) =>
        part.ContentType.MediaType == "multipart/signed"
        && (
            IsType(part.ContentType.Parameters.GetValueOrDefault("protocol") ?? "", "pkcs7-signature")
            || (part.Children.Count >= 2 && IsSignatureType(part.Children[1])));

    /// <summary>Whether readers take the part for a signature and do not show it: declared as one, and in base64 or
    /// binary.</summary>
    private static bool IsSignaturePart(MimePart part) =>
        IsSignatureType(part) && part.TransferEncoding is "base64" or "7bit" or "8bit" or "binary";

    private static bool IsSignatureType(MimePart part) =>
        IsType(part.ContentType.MediaType, "pkcs7-signature")
        || (part.ContentType.MediaType == OctetStream && part.HasExtension(".p7s"));

    // RFC 8551 §3.9: the media type, or application/octet-stream with a file name of S/MIME. Some writers declare the
    // media type of a signature, or application/pkcs7, for a message that encloses its content.
    private static bool IsCms(MimePart part) =>
        IsType(part.ContentType.MediaType, "pkcs7-mime")
        || IsType(part.ContentType.MediaType, "pkcs7-signature")
        || IsType(part.ContentType.MediaType, "pkcs7")
        || (part.ContentType.MediaType == OctetStream && part.HasExtension(".p7m", ".p7s", ".p7c", ".p7z"));

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
        return CmsFormat.DetectBer(head.AsSpan(0, count));
    }

    private T Own<T>(T owned)
        where T : IDisposable
    {
        _owned.Add(owned);
        return owned;
    }
}
