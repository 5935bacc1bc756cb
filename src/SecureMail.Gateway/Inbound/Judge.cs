using System.Security.Cryptography.X509Certificates;
using SecureMail.Gateway.Directory;
using SecureMail.Gateway.Exchange;
using SecureMail.Gateway.Keys;
using SecureMail.Gateway.Storage;
using SecureMail.Ledger;
using SecureMail.Mail;
using SecureMail.Pkcs11;
using SecureMail.Smime;
using SecureMail.Trust;

namespace SecureMail.Gateway.Inbound;

/// <summary>
/// A message of which it is known what its signature is worth. Only <see cref="Judge"/> makes one. Judged is not accepted: <see cref="Screen"/> decides.
/// </summary>
/// <param name="Evidence">The sender's ledger evidence beside the message; null when there is none that can be read.</param>
/// <param name="SignedDigest">SHA-256 of the octets that were signed; empty when nothing is.</param>
/// <param name="Signer">The certificate of the one signature; null when there is none, or several.</param>
/// <param name="SignedAt">The time that the signature claims, or the time of reception.</param>
/// <param name="From">The one address of From inside the signature; null otherwise.</param>
/// <param name="Payload">What was signed; null unless the verdict is valid.</param>
internal sealed record JudgedMessage(
    ReceivedMessage Received, Verdict Verdict, IReadOnlyList<SignatureFinding> Findings, LedgerEvidence? Evidence, byte[] SignedDigest, X509Certificate2? Signer,
    DateTimeOffset SignedAt, string? From, MimePart? Payload, params IReadOnlyList<IDisposable> Owned) : IAsyncDisposable
{
    public ValueTask DisposeAsync()
    {
        foreach (var owned in Owned)
        {
            owned.Dispose();
        }

        return ValueTask.CompletedTask;
    }
}

/// <summary>
/// Received → judged: parse the octets as they came, open them with the addressee's keys, judge every signature. Whatever the octets are, this
/// answers with a verdict; it throws only for what is ours (a token that is not there, the database).
/// </summary>
internal sealed class Judge(BlobStore blobs, DirectoryStore directories, AgencyKeys keys, GatewayTrust trust)
{
    /// <exception cref="KeyUnavailableException">The addressee's token is not there; the message waits for it.</exception>
    public async Task<JudgedMessage> JudgeAsync(ReceivedMessage received, CancellationToken cancellationToken)
    {
        var directory = await directories.CurrentAsync(cancellationToken);
        var agency = directory.Find(received.AgencyId);
        var octets = await blobs.OpenAsync(received.Blob, cancellationToken);
        MessageJudgement? judgement = null;
        try
        {
            // Judged by the time it came: what arrived in time is not worth less because a token was missing for days.
            judgement = await SmimeJudge.JudgeAsync(octets, agency is null ? [] : keys.DecryptersOf(agency), trust.JudgeOptions(received.ReceivedAt), cancellationToken);
            var only = judgement.Findings.Count == 1 ? judgement.Findings[0] : null;
            return new JudgedMessage(
                received, judgement.Verdict, judgement.Findings, judgement.Message is { } message ? EvidenceOf(message) : null, judgement.SignedOctetsDigest ?? [], only?.SignerCertificate,
                only?.ClaimedTime ?? received.ReceivedAt, judgement.Headers?.From is [var from] ? from.Address : null, judgement.Verdict == Verdict.Valid ? judgement.Payload : null, judgement, octets);
        }
        catch (Exception e)
        {
            judgement?.Dispose();
            await octets.DisposeAsync();
            if (e is Pkcs11Exception token)
            {
                throw KeyUnavailableException.Of(token);
            }

            throw;
        }
    }

    private static LedgerEvidence? EvidenceOf(MailMessage message)
    {
        try
        {
            return EvidenceField.Read(message);
        }
        catch (LedgerException)
        {
            return null;
        }
    }
}
