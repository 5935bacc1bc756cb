using System.Security.Cryptography.X509Certificates;
using SecureMail.Exchange;
using SecureMail.Gateway.Clock;
using SecureMail.Gateway.Directories;
using SecureMail.Gateway.Keys;
using SecureMail.Ledger;
using SecureMail.Mail.Mime;
using SecureMail.Pkcs11;
using SecureMail.Smime;
using SecureMail.Storage;
using SecureMail.Trust;

namespace SecureMail.Gateway.Inbound;

/// <summary>
/// A message of which it is known what its signature is worth. Only <see cref="IncomingValidator"/> makes one. Judged
/// is not accepted: <see cref="AcceptancePolicy"/> decides.
/// </summary>
/// <param name="Evidence">The sender's ledger evidence beside the message; null when there is none that can be
/// read.</param>
/// <param name="SignedDigest">SHA-256 of the octets that were signed; empty when nothing is.</param>
/// <param name="Signer">The certificate of the one signature; null when there is none, or several.</param>
/// <param name="SignedAt">The time that the signature claims, or the time of reception where it claims none or a later
/// one.</param>
/// <param name="From">The one address of From inside the signature; null otherwise.</param>
/// <param name="Payload">What was signed; null unless the verdict is valid.</param>
/// <param name="Ahead">How far the claimed time lay ahead of the reception, where that is more than clocks differ; else
/// zero.</param>
/// <param name="NotBefore">A wrong clock, ours or the signer's, makes the message come too early: when its time has
/// come. Null where it is not early.</param>
/// <param name="Announced">What the signer says its reader can do, at the time that its signature claims; null unless
/// the verdict is valid and a time is claimed.</param>
internal sealed record ValidatedMessage(
    ReceivedMessage Received, Verdict Verdict, IReadOnlyList<SignatureFinding> Findings, LedgerEvidence? Evidence,
    byte[] SignedDigest, X509Certificate2? Signer, DateTimeOffset SignedAt, string? From, MimePart? Payload,
    TimeSpan Ahead, DateTimeOffset? NotBefore, ReaderCapabilities? Announced,
    params IReadOnlyList<IDisposable> Owned) : IAsyncDisposable
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
/// Received → judged: parse the octets as they came, open them with the addressee's keys, judge every signature.
/// Whatever the octets are, this answers with a verdict; it throws only for what is ours (a token that is not there,
/// the database).
/// </summary>
internal sealed class IncomingValidator(
    BlobStore blobs, DirectoryStore directories, AgencyKeys keys, GatewayTrust trust, TimeProvider time)
{
    internal const string NotYetValid = "certificate-not-yet-valid";
    internal const string InFuture = "time-in-future";
    internal const string Expired = "certificate-expired";

    /// <exception cref="KeyUnavailableException">The addressee's token is not there; the message waits for
    /// it.</exception>
    public async Task<ValidatedMessage> ValidateAsync(ReceivedMessage received, CancellationToken cancellationToken)
    {
        var directory = await directories.CurrentAsync(cancellationToken);
        var agency = directory.Find(received.AgencyId);
        var octets = await blobs.OpenAsync(received.Blob, cancellationToken);
        MessageValidation? judgement = null;
        try
        {
            // Judged by the time it came: what arrived in time is not worth less because a token was missing for days.
            // Unless that time was a wrong clock's: one that has not come yet, or one at which the signature did not
            // exist yet. Then now is what is known.
            var now = time.GetUtcNow();
            var at = received.ReceivedAt < now ? received.ReceivedAt : now;
            judgement = await ValidateAsync(octets, agency, at, cancellationToken);
            if (at < now && judgement.Findings.Any(f => f.Reason.Code is NotYetValid or InFuture))
            {
                judgement.Dispose();
                octets.Position = 0;
                judgement = await ValidateAsync(octets, agency, at = now, cancellationToken);
            }

            var only = judgement.Findings.Count == 1 ? judgement.Findings[0] : null;
            return new ValidatedMessage(
                received, judgement.Verdict, judgement.Findings,
                judgement.Message is { } message ? EvidenceOf(message) : null, judgement.SignedBytesDigest ?? [],
                only?.SignerCertificate, only?.ClaimedTime is { } claimed && claimed < at ? claimed : at,
                judgement.Headers?.From is [var from] ? from.Address : null,
                judgement.Verdict == Verdict.Valid ? judgement.Payload : null, AheadOf(received.ReceivedAt, judgement),
                EarlyUntil(now, judgement), judgement.Verdict == Verdict.Valid ? AnnouncedBy(only) : null, judgement,
                octets);
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

    /// <summary>
    /// The claimed time proves nothing, so it does not decide whether the signature is good; when it lies ahead it
    /// decides when a dispatch is let in. A certificate that is not valid yet is not valid, whatever anybody claims.
    /// </summary>
    private Task<MessageValidation> ValidateAsync(
        Stream octets, Agency? agency, DateTimeOffset at, CancellationToken cancellationToken) =>
        MessageValidator.ValidateAsync(
            octets,
            agency is null ? [] : keys.DecryptersOf(agency),
            trust.ValidationOptions(at) with
            {
                ClockTolerance = ClockWatch.PeerLimit,
            },
            cancellationToken);

    private static TimeSpan AheadOf(DateTimeOffset received, MessageValidation judgement) =>
        judgement.Findings.Max(f => f.ClaimedTime) - received is { } ahead && ahead > ClockWatch.PeerTolerance
            ? ahead
            : TimeSpan.Zero;

    private static DateTimeOffset? EarlyUntil(DateTimeOffset now, MessageValidation judgement)
    {
        if (judgement.Findings.Max(f => f.ClaimedTime) - ClockWatch.PeerTolerance is { } claimed
            && claimed > now
            && judgement.Verdict == Verdict.Valid)
        {
            return claimed;
        }

        var young = judgement
            .Findings.Where(f => f.Reason.Code == NotYetValid)
            .Max(f => (DateTimeOffset?)f.SignerCertificate?.NotBefore);
        return young > now && young < now + ClockWatch.PeerLimit ? young : null;
    }

    /// <summary>
    /// By the time that is claimed, as it is: put at the reception, an old message would be new each time that somebody
    /// sends it again. So one that claims no time announces nothing.
    /// </summary>
    private static ReaderCapabilities? AnnouncedBy(SignatureFinding? signature) =>
        signature is { Capabilities: { } capabilities, ClaimedTime: { } claimed }
            ? new ReaderCapabilities(capabilities, claimed)
            : null;

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
