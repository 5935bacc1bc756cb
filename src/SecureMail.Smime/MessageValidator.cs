using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using SecureMail.Cms;
using SecureMail.Mail.Mime;
using SecureMail.Trust;

namespace SecureMail.Smime;

/// <summary>
/// Judges a received message in three steps: its structure is read (SecureMail.Mail), its layers are taken off
/// (<see cref="MessageLayers"/>), each signature is judged (SecureMail.Trust) over the bytes as received. To each
/// finding is added what only the mail shows: whether the signature covers everything a reader sees, and whether its
/// signer is the sender. Hostile input is a verdict, not an exception. It leaves out: what to do about it (policy),
/// HTML, and signatures inside documents.
/// </summary>
public static class MessageValidator
{
    /// <summary>Judges one message.</summary>
    /// <param name="received">Seekable, the bytes as they came; stays the caller's and in use until the validation is
    /// disposed. A file stored with LF line ends is read too.</param>
    /// <param name="keys">Keys that may open envelopes; none leaves an encrypted message locked.</param>
    /// <param name="options">What signatures are judged by.</param>
    /// <param name="cancellationToken">Stops between pieces.</param>
    /// <exception cref="IOException">The stream cannot be read, or a temporary file not written.</exception>
    public static async Task<MessageValidation> ValidateAsync(
        Stream received, IReadOnlyList<RecipientKey> keys, ValidationOptions options,
        CancellationToken cancellationToken = default)
    {
        MessageLayers? layers = null;
        try
        {
            var (state, problem) = await OpenAsync();
            if (layers is null)
            {
                return new MessageValidation(null, state, [], null, 0, problem);
            }

            var judged =
                state == FileState.Unreadable && layers.LastUnauthenticated == 0
                    ? []
                    : await ValidateLayersAsync(layers, options, cancellationToken);
            var proven = judged
                .Where(l => l.Layer.CoversWhole && l.Findings.Any(f => f.Intact))
                .Select(l => l.Layer.Envelopes)
                .DefaultIfEmpty()
                .Max();
            if (proven < layers.LastUnauthenticated)
            {
                // What came out of this envelope may be anything that whoever changed it wished. Nothing that is said
                // may depend on it, not even that it could not be read: every such message is one without a signature,
                // by whatever is (or is not) inside.
                var unproven = layers.Envelopes.FindIndex(proven, e => !e.Authenticated) + 1;
                (state, problem) = (FileState.Read, null);
                judged = [.. judged.Where(l => l.Layer.Envelopes < unproven)];
            }
            else if (state == FileState.Unreadable)
            {
                judged = [];
            }

            return new MessageValidation(
                layers, state, [.. judged.SelectMany(l => l.Findings)], judged.Count == 0 ? null : judged[^1].Digest,
                proven, problem);
        }
        catch
        {
            layers?.Dispose();
            throw;
        }

        async Task<(FileState State, Reason? Problem)> OpenAsync()
        {
            try
            {
                layers = new MessageLayers(MailMessage.Parse(received, MimeReaderOptions.Stored), keys);
                await layers.OpenAsync(cancellationToken);
                return (FileState.Read, null);
            }
            catch (MimeException e)
            {
                return (FileState.Unreadable, MessageReasons.Of(e));
            }
            catch (CmsException e)
            {
                return (e.Error == CmsError.NotForUs ? FileState.Locked : FileState.Unreadable, MessageReasons.Of(e));
            }
        }
    }

    /// <summary>What was found out about each signed layer, outermost first, and the digest of what it is
    /// over.</summary>
    private static async Task<
        List<(SignedLayer Layer, IReadOnlyList<SignatureFinding> Findings, byte[]? Digest)>
    > ValidateLayersAsync(MessageLayers layers, ValidationOptions options, CancellationToken cancellationToken)
    {
        var sender = MessageHeaders.SoleSender(layers.Message, MessageHeaders.Of(layers.Message, layers.Payload));
        List<(SignedLayer, IReadOnlyList<SignatureFinding>, byte[]?)> all = [];
        foreach (var layer in layers.Signatures)
        {
            (IReadOnlyList<SignatureFinding> findings, var digest) = layer.Data is null
                ? ([MessageReasons.BrokenSignature()], null)
                : await ValidateLayerAsync(layer.Data, layer.Content, options, cancellationToken);
            all.Add(
                (
                    layer,
                    [
                        .. findings.Select(f =>
                            f with
                            {
                                CoversWhole = layer.CoversWhole,
                                SignerIsSender = IsSender(f.SignerCertificate, sender),
                            }),
                    ],
                    digest));
        }

        return all;
    }

    private static async Task<(IReadOnlyList<SignatureFinding> Findings, byte[] Digest)> ValidateLayerAsync(
        CmsSignedData data, MimePart? content, ValidationOptions options, CancellationToken cancellationToken)
    {
        if (content is null)
        {
            var attached = await SignatureValidator.ValidateAsync(data, null, options, cancellationToken);
            return (
                attached,
                data.ContentDigest(HashAlgorithmName.SHA256) ?? await HashAsync(data.OpenContent(), cancellationToken));
        }

        // DESIGN §7: a detached signature's own content, if it brings one, is never used.
        var (findings, digest) = await ValidateDetachedAsync(data, content.OpenRaw, options, cancellationToken);
        if (findings.Any(f => f.Intact) || !CrlfStream.HasBareLf(content.OpenRaw()))
        {
            return (findings, digest);
        }

        // A file stored with LF line ends: what was signed had CRLF (RFC 8551 §3.1.1). Over SMTP no bare LF comes in.
        var (again, canonical) = await ValidateDetachedAsync(
            data, () => new CrlfStream(content.OpenRaw()), options, cancellationToken);
        return again.Any(f => f.Intact) ? (again, canonical) : (findings, digest);
    }

    /// <summary>The digest comes out of the pass that the signature needs; only a signature by another digest takes one
    /// more.</summary>
    private static async Task<(IReadOnlyList<SignatureFinding> Findings, byte[] Digest)> ValidateDetachedAsync(
        CmsSignedData data, Func<Stream> open, ValidationOptions options, CancellationToken cancellationToken)
    {
        await using var bytes = open();
        var findings = await SignatureValidator.ValidateAsync(data, bytes, options, cancellationToken);
        return (findings, data.ContentDigest(HashAlgorithmName.SHA256) ?? await HashAsync(open(), cancellationToken));
    }

    private static bool IsSender(X509Certificate2? certificate, Mailbox? sender) =>
        certificate is not null
        && sender is not null
        && CertificateAddresses.Contains(certificate, sender.Address);

    private static async Task<byte[]> HashAsync(Stream bytes, CancellationToken cancellationToken)
    {
        await using (bytes)
        {
            return await SHA256.HashDataAsync(bytes, cancellationToken);
        }
    }
}
