using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using SecureMail.Cms;
using SecureMail.Mail.Mime;
using SecureMail.Trust;

namespace SecureMail.Smime;

/// <summary>
/// Validates a received message in three steps: read its structure (SecureMail.Mail), remove its layers
/// (<see cref="MessageLayers"/>), validate each signature (SecureMail.Trust) over the bytes as received. Each finding
/// also says what only the mail shows: whether the signature covers everything a reader sees, and whether its signer is
/// the sender. Hostile input leads to a verdict, not to an exception. This class leaves out: policy (what to do about
/// the verdict), HTML, and signatures inside documents.
/// </summary>
public static class MessageValidator
{
    /// <summary>Validates one message.</summary>
    /// <param name="received">The message as received; seekable. The caller owns the stream and keeps it open until the
    /// result is disposed. A file stored with LF line ends is read too.</param>
    /// <param name="keys">Keys to open envelopes with. Without a fitting key an encrypted message stays locked.</param>
    /// <param name="options">What signatures are validated against.</param>
    /// <param name="cancellationToken">Cancels between pieces of content.</param>
    /// <exception cref="IOException">The stream cannot be read, or a temporary file cannot be written.</exception>
    public static async Task<MessageValidation> ValidateAsync(
        Stream received, IReadOnlyList<RecipientKey> keys, ValidationOptions options,
        CancellationToken cancellationToken = default)
    {
        // The signatures that are intact only over the form of their content with CRLF. The message is then read again,
        // so that what is handed out is what was verified.
        HashSet<int> canonical = [];
        while (true)
        {
            var (validation, found) = await ValidateAsync(received, keys, options, canonical, cancellationToken);
            if (found is null)
            {
                return validation;
            }

            validation.Dispose();
            canonical.Add(found.Value);
        }
    }

    /// <summary>Validates the message with the given layers in their form with CRLF. Returns also the next layer that
    /// is intact only in that form, or null.</summary>
    private static async Task<(MessageValidation Validation, int? Canonical)> ValidateAsync(
        Stream received, IReadOnlyList<RecipientKey> keys, ValidationOptions options, HashSet<int> canonical,
        CancellationToken cancellationToken)
    {
        MessageLayers? layers = null;
        try
        {
            var (state, problem) = await OpenAsync();
            if (layers is null)
            {
                return (new MessageValidation(null, state, [], null, 0, problem), null);
            }

            var validated =
                state == FileState.Unreadable && layers.LastUnauthenticated == 0
                    ? []
                    : await ValidateLayersAsync(layers, options, cancellationToken);
            var needsCanonical = validated.FindIndex(l => l.IntactWithCrlf);
            var provenEnvelopes = validated
                .Where(l => l.Layer.CoversWhole && l.Findings.Any(f => f.Intact))
                .Select(l => l.Layer.Envelopes)
                .DefaultIfEmpty()
                .Max();
            if (provenEnvelopes < layers.LastUnauthenticated)
            {
                // An attacker who changed the ciphertext may have chosen the content of this envelope. So nothing in
                // the result depends on that content, not even on whether it could be read: every such message is
                // reported as read and without the signatures inside this envelope.
                var firstUnproven = layers.Envelopes.FindIndex(provenEnvelopes, e => !e.Authenticated) + 1;
                (state, problem) = (FileState.Read, null);
                validated = [.. validated.Where(l => l.Layer.Envelopes < firstUnproven)];
            }
            else if (state == FileState.Unreadable)
            {
                validated = [];
            }

            return (
                new MessageValidation(
                    layers, state, [.. validated.SelectMany(l => l.Findings)],
                    validated.Count == 0 ? null : validated[^1].Digest, provenEnvelopes, problem),
                needsCanonical < 0 ? null : needsCanonical);
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
                layers = new MessageLayers(MailMessage.Parse(received, MimeReaderOptions.Stored), keys, canonical);
                await layers.OpenAsync(cancellationToken);
                // What a signature beside the envelope covers is not in it, so the signature inside is unknown.
                return layers is { HasEnvelopeAmongParts: true, Signatures.Count: 0 }
                    ? (FileState.Locked, MessageReasons.EnvelopeAmongParts)
                    : (FileState.Read, null);
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

    /// <summary>One signed layer with its findings.</summary>
    /// <param name="Digest">SHA-256 of the content; null when there is none.</param>
    /// <param name="IntactWithCrlf">Whether the signature is intact only over the content with CRLF in place of
    /// LF.</param>
    private sealed record ValidatedLayer(
        SignedLayer Layer, IReadOnlyList<SignatureFinding> Findings, byte[]? Digest, bool IntactWithCrlf);

    /// <summary>The findings of each signed layer, outermost first.</summary>
    private static async Task<List<ValidatedLayer>> ValidateLayersAsync(
        MessageLayers layers, ValidationOptions options, CancellationToken cancellationToken)
    {
        var sender = MessageHeaders.SoleSender(layers.Message, MessageHeaders.Of(layers.Message, layers.Payload));
        List<ValidatedLayer> all = [];
        foreach (var layer in layers.Signatures)
        {
            var validated = await ValidateLayerAsync(layer, options, cancellationToken);
            all.Add(
                validated with
                {
                    Findings =
                    [
                        .. validated.Findings.Select(f =>
                            f with
                            {
                                CoversWhole = layer.CoversWhole,
                                SignerIsSender = IsSender(f.SignerCertificate, sender),
                            }),
                    ],
                });
        }

        return all;
    }

    private static async Task<ValidatedLayer> ValidateLayerAsync(
        SignedLayer layer, ValidationOptions options, CancellationToken cancellationToken)
    {
        if (layer.Data is not { } data)
        {
            return new ValidatedLayer(layer, [MessageReasons.BrokenSignature()], null, IntactWithCrlf: false);
        }

        if (layer.Content is not { } content)
        {
            var attached = await SignatureValidator.ValidateAsync(data, null, options, cancellationToken);
            var own = !data.HasContent ? null
                : data.ContentDigest(HashAlgorithmName.SHA256)
                    ?? await HashAsync(data.OpenContent(), cancellationToken);
            return new ValidatedLayer(layer, attached, own, IntactWithCrlf: false);
        }

        // DESIGN §7: content enclosed in a detached signature is never used.
        var (findings, digest) = await ValidateDetachedAsync(data, content.OpenRaw, options, cancellationToken);
        if (findings.Any(f => f.Intact) || !CrlfStream.HasBareLf(content.OpenRaw()))
        {
            return new ValidatedLayer(layer, findings, digest, IntactWithCrlf: false);
        }

        // The file may have been stored with LF line ends, but the signed text had CRLF (RFC 8551 §3.1.1). Mail
        // received over SMTP holds no bare LF.
        var (again, _) = await ValidateDetachedAsync(
            data, () => new CrlfStream(content.OpenRaw()), options, cancellationToken);
        return new ValidatedLayer(layer, findings, digest, IntactWithCrlf: again.Any(f => f.Intact));
    }

    /// <summary>
    /// Validates a signature over detached content and returns the SHA-256 of the content. The digest comes from the
    /// pass that verifies the signature. Only a signature with another digest algorithm needs a second pass.
    /// </summary>
    private static async Task<(IReadOnlyList<SignatureFinding> Findings, byte[] Digest)> ValidateDetachedAsync(
        CmsSignedData data, Func<Stream> open, ValidationOptions options, CancellationToken cancellationToken)
    {
        await using var bytes = open();
        var findings = await SignatureValidator.ValidateAsync(data, bytes, options, cancellationToken);
        return (findings, data.ContentDigest(HashAlgorithmName.SHA256) ?? await HashAsync(open(), cancellationToken));
    }

    private static bool IsSender(X509Certificate2? certificate, Mailbox? sender) =>
        certificate is not null && sender is not null && CertificateAddresses.Contains(certificate, sender.Address);

    private static async Task<byte[]> HashAsync(Stream bytes, CancellationToken cancellationToken)
    {
        await using (bytes)
        {
            return await SHA256.HashDataAsync(bytes, cancellationToken);
        }
    }
}
