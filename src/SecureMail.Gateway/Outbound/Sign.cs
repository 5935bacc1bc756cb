using System.Security.Cryptography;
using Microsoft.Extensions.Logging;
using SecureMail.Cms;
using SecureMail.Exchange;
using SecureMail.Gateway.Directories;
using SecureMail.Gateway.Keys;
using SecureMail.Gateway.Registers;
using SecureMail.Mail.Mime;
using SecureMail.Smime;
using SecureMail.Storage;
using SecureMail.Trust;

namespace SecureMail.Gateway.Outbound;

/// <summary>A dispatch with its signature, accepted by our own verifier.</summary>
/// <param name="Inner">The bytes that were signed. From here on they are copied and never written anew.</param>
/// <param name="ContentDigest">SHA-256 of <paramref name="Inner"/>, whatever digest the signature uses.</param>
internal sealed record SignedDispatch(
    AuthorisedDispatch Authorised, OutgoingMessage Message, SecretSpool Inner, PreparedSignature Prepared,
    byte[] SignedData, byte[] ContentDigest) : IAsyncDisposable
{
    public ValueTask DisposeAsync()
    {
        Inner.Dispose();
        return ValueTask.CompletedTask;
    }
}

/// <summary>
/// Authorised → signed: prepare the bytes, have the token sign the digest, complete; then validate the result as a
/// recipient would. What our own validator does not accept never leaves.
/// </summary>
internal sealed class Sign(
    GatewayDatabase database, BlobStore blobs, AgencyKeys keys, GatewayTrust trust, DirectoryOptions self,
    TimeProvider time, ILogger<Sign> logger)
{
    /// <exception cref="KeyUnavailableException">The token or key is not there; the dispatch waits for it.</exception>
    /// <exception cref="SelfCheckException">Our own validator does not accept the signature.</exception>
    public async Task<SignedDispatch> SignAsync(AuthorisedDispatch authorised, CancellationToken cancellationToken)
    {
        var now = time.GetUtcNow();
        var message = MessageOf(authorised, now);
        var inner = new SecretSpool();
        try
        {
            var signer = keys.SignerOf(authorised.Sender, CertificateUse.Dispatch);
            await using var writing = inner.OpenWrite();
            var prepared = await SmimeComposer.PrepareAsync(
                message, willBeEncrypted: true, signer.Request(now), writing, cancellationToken);
            var signedData = signer.Sign(prepared);
            return new SignedDispatch(
                authorised, message, inner, prepared, signedData,
                await RequireAcceptedAsync(inner, signedData, now, cancellationToken));
        }
        catch
        {
            inner.Dispose();
            throw;
        }
    }

    /// <summary>Notes that the dispatch waits for its signature, and why, so that the clerk sees it.</summary>
    public async Task AwaitAsync(Guid dispatch, string reason, CancellationToken cancellationToken)
    {
        await database.Source.InTransactionAsync(
            "outbound.await-signature",
            transaction => OutgoingTable.AwaitSignatureAsync(transaction, dispatch, reason, cancellationToken),
            cancellationToken);
        OutboundLog.AwaitsSignature(logger, dispatch, reason);
    }

    private OutgoingMessage MessageOf(AuthorisedDispatch authorised, DateTimeOffset now)
    {
        var (accepted, manifest) = (authorised.Accepted, authorised.Accepted.Manifest);
        var bytes = manifest.ToBytes();
        return new OutgoingMessage
        {
            From = new Mailbox(manifest.Sender.Name, authorised.Sender.NameAt(now)!.Address),
            To = [.. authorised.Addressees.Select(a => new Mailbox(a.Name.Name, a.Name.Address))],
            Subject = manifest.Fields.Subject,
            Date = now,
            MessageId = $"<{accepted.Id}@{self.Name}>",
            Parts =
            [
                new OutgoingPart(MimeContentType.Of(Manifest.MediaType), null, () => new MemoryStream(bytes)),
                .. manifest.Documents.Zip(accepted.Documents, (document, blob) =>
                    new OutgoingPart(MimeContentType.Parse(document.MediaType), document.Name, () => blobs.Open(blob))),
            ],
        };
    }

    /// <summary>Validates the signature and answers SHA-256 of what was signed, taken in the same pass.</summary>
    private async Task<byte[]> RequireAcceptedAsync(
        SecretSpool inner, byte[] signedData, DateTimeOffset now, CancellationToken cancellationToken)
    {
        using var data = await CmsSignedData.ReadAsync(
            new MemoryStream(signedData), cancellationToken: cancellationToken);
        await using var content = inner.OpenRead();
        var findings = await SignatureValidator.ValidateAsync(
            data, content, trust.ValidationOptions(now), cancellationToken);
        // A revocation list that is late stops no mail, because the addressee validates for itself.
        if (findings is not [{ Indication: Indication.TotalPassed } or { SubIndication: SubIndication.TryLater }])
        {
            throw new SelfCheckException(
                ReasonCode.SelfCheck(findings.Count == 1 ? findings[0].Reason.Code : "SIGNERS"));
        }

        content.Position = 0;
        return data.ContentDigest(HashAlgorithmName.SHA256) ?? await SHA256.HashDataAsync(content, cancellationToken);
    }
}

/// <summary>Our own validator does not accept a signature that was just made. The dispatch waits for a
/// person.</summary>
/// <param name="code"><see cref="ReasonCode.SelfCheck"/> of the finding.</param>
internal sealed class SelfCheckException(string code) : Exception($"The signature just made is not accepted: {code}.")
{
    public string Code => code;
}
