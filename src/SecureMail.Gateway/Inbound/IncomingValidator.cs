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
/// A message of which the worth of its signatures is known. Only <see cref="IncomingValidator"/> makes one. Validated
/// is not accepted: <see cref="AcceptancePolicy"/> decides.
/// </summary>
/// <param name="Directory">The directory that the message is validated and decided by.</param>
/// <param name="Evidence">The sender's ledger evidence beside the message; null when there is none that can be
/// read.</param>
/// <param name="SignedDigest">SHA-256 of the bytes that were signed; empty when nothing is.</param>
/// <param name="Signer">The certificate of the one signature; null when there is none, or several.</param>
/// <param name="SignedAt">The time that the signature claims, or the time of reception where it claims none or a later
/// one.</param>
/// <param name="From">The one address of From inside the signature; null otherwise.</param>
/// <param name="Payload">What was signed; null unless the verdict is valid.</param>
/// <param name="Ahead">How far the claimed time lay ahead of the reception, where that is more than clocks differ; else
/// zero.</param>
/// <param name="NotBefore">A wrong clock, ours or the signer's, makes the message come too early: when its time has
/// come. Null where it is not early.</param>
/// <param name="Bytes">The message as it came. The payload reads from it.</param>
/// <param name="Announced">What the signer says its reader can do, at the time that its signature claims; null unless
/// the verdict is valid and a time is claimed.</param>
internal sealed record ValidatedMessage(
    ReceivedMessage Received, DirectorySnapshot Directory, Verdict Verdict, IReadOnlyList<SignatureFinding> Findings,
    LedgerEvidence? Evidence, byte[] SignedDigest, X509Certificate2? Signer, DateTimeOffset SignedAt, string? From,
    MimePart? Payload,
    TimeSpan Ahead, DateTimeOffset? NotBefore, ReaderCapabilities? Announced, BlobReader Bytes,
    IDisposable Validation) : IAsyncDisposable
{
    /// <summary>The earliest time at which the signature is proven to have been there: that of a time-stamp, else of
    /// the reception.</summary>
    public DateTimeOffset ProvenAt { get; init; } = Received.ReceivedAt;

    /// <summary>Fields of the outer header that contradict the signed ones.</summary>
    public IReadOnlyList<Reason> HeaderFindings { get; init; } = [];

    /// <summary>What the findings rest on (<see cref="ValidationBasis"/>).</summary>
    public required string Basis { get; init; }

    public async ValueTask DisposeAsync()
    {
        Validation.Dispose();
        await Bytes.DisposeAsync();
    }
}

/// <summary>
/// Received → validated: parse the bytes as they came, open them with the addressee's keys, validate every signature.
/// Whatever the bytes are, the answer is a verdict; exceptions are for what is ours (a token that is not there, the
/// database).
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
        // One set of anchors and CRLs for the whole validation, so that the basis names what was used.
        var material = trust.Material;
        var bytes = await blobs.OpenReaderAsync(received.Blob, cancellationToken);
        MessageValidation? validation = null;
        try
        {
            // The message is validated as of its reception, because a signature that arrived in time is worth no less
            // when a token was missing for days. If a wrong clock showed that time (it has not come yet, or the
            // signature did not exist yet), the message is validated as of now.
            var now = time.GetUtcNow();
            var at = received.ReceivedAt < now ? received.ReceivedAt : now;
            validation = await ValidateAsync(bytes.Content, agency, material, at, cancellationToken);
            if (at < now && validation.Findings.Any(f => f.Reason.Code is NotYetValid or InFuture))
            {
                validation.Dispose();
                bytes.Content.Position = 0;
                validation = await ValidateAsync(bytes.Content, agency, material, at = now, cancellationToken);
            }

            var only = validation.Findings.Count == 1 ? validation.Findings[0] : null;
            return new ValidatedMessage(
                received, directory, validation.Verdict, validation.Findings,
                validation.Message is { } message ? EvidenceOf(message) : null, validation.SignedBytesDigest ?? [],
                only?.SignerCertificate, only?.ClaimedTime is { } claimed && claimed < at ? claimed : at,
                validation.Headers?.From is [var from] ? from.Address : null,
                validation.Verdict == Verdict.Valid ? validation.Payload : null,
                AheadOf(received.ReceivedAt, validation), EarlyUntil(now, validation),
                validation.Verdict == Verdict.Valid ? AnnouncedBy(only) : null, bytes, validation)
            {
                ProvenAt = only?.ProvenTime is { } stamped && stamped < at ? stamped : at,
                HeaderFindings = validation.HeaderFindings,
                Basis = ValidationBasis.Write(at, directory, material),
            };
        }
        catch (Exception e)
        {
            validation?.Dispose();
            await bytes.DisposeAsync();
            if (e is Pkcs11Exception token)
            {
                throw KeyUnavailableException.Of(token);
            }

            throw;
        }
    }

    /// <summary>
    /// The claimed time proves nothing, so it does not decide whether the signature is good. A claimed time that lies
    /// ahead decides when a dispatch is let in. A certificate that is not valid yet is not valid, whatever is claimed.
    /// </summary>
    private Task<MessageValidation> ValidateAsync(
        Stream bytes, Agency? agency, TrustMaterial material, DateTimeOffset at,
        CancellationToken cancellationToken) =>
        MessageValidator.ValidateAsync(
            bytes,
            agency is null ? [] : keys.DecryptersOf(agency),
            trust.ValidationOptions(at) with
            {
                Trust = material,
                ClockTolerance = ClockWatch.PeerLimit,
            },
            cancellationToken);

    private static TimeSpan AheadOf(DateTimeOffset received, MessageValidation validation) =>
        validation.Findings.Max(f => f.ClaimedTime) - received is { } ahead && ahead > ClockWatch.PeerTolerance
            ? ahead
            : TimeSpan.Zero;

    private static DateTimeOffset? EarlyUntil(DateTimeOffset now, MessageValidation validation)
    {
        if (validation.Findings.Max(f => f.ClaimedTime) - ClockWatch.PeerTolerance is { } claimed
            && claimed > now
            && validation.Verdict == Verdict.Valid)
        {
            return claimed;
        }

        var young = validation
            .Findings.Where(f => f.Reason.Code == NotYetValid)
            .Max(f => (DateTimeOffset?)f.SignerCertificate?.NotBefore);
        return young > now && young < now + ClockWatch.PeerLimit ? young : null;
    }

    /// <summary>
    /// Capabilities count from the claimed time, because an old message that is sent again must not be new. A signature
    /// that claims no time announces nothing.
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
