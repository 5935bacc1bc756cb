using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Dapper;
using Npgsql;
using SecureMail.Exchange;
using SecureMail.Gateway.Clock;
using SecureMail.Gateway.Directories;
using SecureMail.Gateway.Policy;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Ledger;
using SecureMail.LedgerStore;
using SecureMail.Mail.Mime;
using SecureMail.Trust;

namespace SecureMail.Gateway.Inbound;

/// <summary>
/// A message of which it is known where it goes. Only <see cref="AcceptancePolicy"/> makes one, and only it can be
/// recorded.
/// </summary>
/// <param name="Kind">One of <see cref="MessageKind"/>.</param>
/// <param name="Disposition">One of <see cref="Vocabulary.Disposition"/>.</param>
/// <param name="Reason">Why it does not go to the inbox, as a code; null where it does.</param>
/// <param name="Sender">The agency that signed it, proven; null while nothing is.</param>
/// <param name="FirstIncoming">For a duplicate: the message that came first.</param>
internal sealed record DecidedMessage(
    ValidatedMessage Validated, string Kind, string Disposition, string? Reason, Agency? Sender, Manifest? Manifest,
    Receipt? Receipt, IReadOnlyList<MimePart> Documents, Guid? FirstIncoming)
{
    public bool IsDuplicate => FirstIncoming is not null;
}

/// <summary>
/// Judged → screened: is it for us, is it new, does it say what was signed, does the sender's ledger stand behind it,
/// what does policy say.
/// </summary>
/// <remarks>
/// Nothing of the content is read before the verdict is <c>valid</c>. Every check that fails ends in quarantine or
/// return with its reason; there is no way through by default. Works in the transaction that records the message: what
/// is new is decided under a lock.
/// </remarks>
internal sealed class AcceptancePolicy(
    DirectoryStore directories, PeerLedger peers, ClockWatch clock, InboundOptions options, TimeProvider time)
{
    private static readonly TimeSpan AskAgain = TimeSpan.FromMinutes(1);

    /// <summary>When a message that waits is judged again: soon, and at its deadline.</summary>
    public TimeSpan AskAgainAfter(ValidatedMessage validated)
    {
        if (DependsOnDoubtedClock(validated))
        {
            return clock.AskAgain;
        }

        // A clock may be set right at any time, ours too: so never longer than a while.
        var soonest = new[]
        {
            AskAgain,
            validated.Received.Left > TimeSpan.Zero ? validated.Received.Left : AskAgain,
            validated.NotBefore - time.GetUtcNow() ?? AskAgain,
        }.Min();
        return (soonest > TimeSpan.Zero ? soonest : TimeSpan.Zero) + TimeSpan.FromMilliseconds(100);
    }

    /// <summary>How long a message that cannot be judged may wait.</summary>
    public TimeSpan IndeterminateFor => options.IndeterminateFor;

    /// <summary>Why it waits, as a code.</summary>
    public string WhyWaits(ValidatedMessage validated) =>
        DependsOnDoubtedClock(validated) ? ReasonCode.ClockSuspect
        : validated.NotBefore is not null ? ReasonCode.SignedInFuture
        : validated.Verdict.ToString();

    /// <summary>Nothing is set aside for a reason of time while our own clock is doubted.</summary>
    private bool DependsOnDoubtedClock(ValidatedMessage validated) =>
        validated.Findings.Any(f =>
            f.Reason.Code is IncomingValidator.NotYetValid or IncomingValidator.InFuture or IncomingValidator.Expired
        ) && clock.IsDoubted;

    /// <summary>Answers null when the message must wait for what it takes to judge it.</summary>
    public async Task<DecidedMessage?> DecideAsync(
        NpgsqlTransaction transaction, ValidatedMessage validated, CancellationToken cancellationToken)
    {
        var directory = await directories.CurrentAsync(cancellationToken);
        var waited = validated.Received.Left <= TimeSpan.Zero;
        var outcome = VerdictPolicy.Of(validated.Verdict, waited);
        if (outcome == VerdictOutcome.Wait
            || DependsOnDoubtedClock(validated)
            || (validated.Verdict != Verdict.Valid && validated.NotBefore is not null && !waited))
        {
            return null;
        }

        if (validated is { NotBefore: not null, Payload: not { ContentType.MediaType: "multipart/report" } })
        {
            // Signed in our future: it is let in when its time has come, which the limit on peers' clocks bounds. A
            // receipt counts at once: it says that the dispatch is there, and a dispatch must not become overdue
            // because its addressee's clock is wrong.
            return null;
        }

        if (outcome != VerdictOutcome.Accept)
        {
            return Aside(validated, ReasonCode.Of(validated.Verdict));
        }

        try
        {
            return validated.Payload switch
            {
                {
                    ContentType.MediaType: "multipart/mixed",
                    Children: [{ ContentType.MediaType: Manifest.MediaType } first, ..] children
                } => await DispatchAsync(
                    transaction, directory, validated, first, [.. children.Skip(1)], cancellationToken),
                { ContentType.MediaType: "multipart/report" } report => await ReceiptAsync(
                    transaction, directory, validated, report, cancellationToken),
                _ => Aside(validated, ReasonCode.NotADispatch),
            };
        }
        catch (WireFormatException e)
        {
            return Aside(validated, e.Code);
        }
        catch (MimeException)
        {
            return Aside(validated, ReasonCode.PartDamaged);
        }
    }

    private async Task<DecidedMessage> DispatchAsync(
        NpgsqlTransaction transaction, DirectorySnapshot directory, ValidatedMessage validated, MimePart first,
        IReadOnlyList<MimePart> documents, CancellationToken cancellationToken)
    {
        var manifest = Manifest.Parse(ReadPart(first, Manifest.MaxBytes));
        if (SenderOf(directory, validated, manifest.Sender.Id, out var why) is not { } sender)
        {
            return Aside(validated, why);
        }

        DecidedMessage Put(string disposition, string? reason, Guid? firstIncoming = null) =>
            new(validated, MessageKind.Dispatch, disposition, reason, sender, manifest, null, documents, firstIncoming);

        var evidence = await EvidenceAsync(transaction, directory, validated, sender, cancellationToken);
        if (evidence is not null)
        {
            return Put(Disposition.Quarantine, evidence);
        }

        // The sender's ledger must commit to these very octets: the salt is inside the signature, the commitment in its
        // ledger.
        if (
            !IsCommitted(
                validated.Evidence!.Entry, EntryKind.DispatchSigned, manifest.DispatchId, manifest.Salt,
                validated.SignedDigest))
        {
            return Put(Disposition.Quarantine, ReasonCode.LedgerEvidence);
        }

        if (manifest.Recipients.All(r => r.Id != validated.Received.AgencyId))
        {
            return Put(Disposition.Returned, ReasonCode.NotAddressedToUs);
        }

        if (
            manifest.Fields.Secrecy is not null
            && await SecrecyRefusedAsync(
                transaction, validated.Received.AgencyId, manifest.Fields.Secrecy, cancellationToken))
        {
            return Put(Disposition.Returned, ReasonCode.SecrecyRefused);
        }

        // The same dispatch for the same agency is decided one at a time, to the commit.
        await transaction.Connection!.ExecuteAsync(
            new CommandDefinition(
                "SELECT pg_advisory_xact_lock(hashtextextended(@key, 0))",
                new { key = $"seen {validated.Received.AgencyId} {sender.Id} {manifest.DispatchId}" }, transaction,
                cancellationToken: cancellationToken));
        var seen = await transaction.Connection!.QuerySingleOrDefaultAsync<(byte[] Digest, Guid Incoming)?>(
            new CommandDefinition(
                "SELECT digest, incoming_id FROM gateway.seen WHERE recipient_id = @Recipient AND sender_id = @Sender "
                    + "AND dispatch_id = @DispatchId",
                new
                {
                    Recipient = validated.Received.AgencyId,
                    Sender = sender.Id,
                    manifest.DispatchId,
                },
                transaction,
                cancellationToken: cancellationToken));
        if (seen is { } before)
        {
            return before.Digest.AsSpan().SequenceEqual(validated.SignedDigest)
                ? Put(Disposition.Duplicate, ReasonCode.Duplicate, before.Incoming)
                : Put(Disposition.Quarantine, ReasonCode.ContentConflict);
        }

        return AgreesWithManifest(manifest, documents)
            ? Put(Disposition.Inbox, null)
            : Put(Disposition.Quarantine, ReasonCode.DocumentsDiffer);
    }

    private async Task<DecidedMessage> ReceiptAsync(
        NpgsqlTransaction transaction, DirectorySnapshot directory, ValidatedMessage validated, MimePart report,
        CancellationToken cancellationToken)
    {
        var part = report.Children.FirstOrDefault(c => c.ContentType.MediaType == Receipt.MediaType);
        if (MailReport.Read(report) is null || part is null)
        {
            return Aside(validated, ReasonCode.NotAReceipt);
        }

        var receipt = Receipt.Parse(ReadPart(part, Receipt.MaxBytes));
        if (receipt.Sender != validated.Received.AgencyId)
        {
            return Aside(validated, ReasonCode.NotAddressedToUs);
        }

        if (SenderOf(directory, validated, receipt.Recipient, out var why) is not { } signer)
        {
            return Aside(validated, why);
        }

        var evidence = await EvidenceAsync(transaction, directory, validated, signer, cancellationToken);
        // A receipt of a gateway whose ledger was rewritten is kept aside like everything of it.
        return new(
            validated, MessageKind.Receipt, evidence is null ? Disposition.Inbox : Disposition.Quarantine, evidence,
            signer, null, receipt, [], null);
    }

    /// <summary>The agency named, when the certificate that signed is one of its own in the directory and it was in
    /// force.</summary>
    private static Agency? SenderOf(DirectorySnapshot directory, ValidatedMessage validated, Guid named, out string why)
    {
        why = ReasonCode.SenderNotInDirectory;
        if (directory.Find(named) is not { } agency || validated.Signer is not { } certificate)
        {
            return null;
        }

        // RFC 3183's idea, by the directory: agency ↔ certificate ↔ address, valid when it was signed.
        why = IsListed(directory, certificate) ? ReasonCode.SenderBinding : ReasonCode.SenderNotInDirectory;
        var name = agency.NameAt(validated.SignedAt);
        return
            name is not null
            && string.Equals(name.Address, validated.From, StringComparison.OrdinalIgnoreCase)
            && agency.SigningCertificates.Any(c => c.RawDataMemory.Span.SequenceEqual(certificate.RawDataMemory.Span))
            ? agency
            : null;
    }

    private static bool IsListed(DirectorySnapshot directory, X509Certificate2 certificate) =>
        directory.Agencies.Any(a =>
            a.Record.Certificates.Any(c =>
                c.Use == "sign" && c.Der.AsSpan().SequenceEqual(certificate.RawDataMemory.Span)));

    /// <summary>Null when the sender's ledger stands behind the message; else the reason.</summary>
    private async Task<string?> EvidenceAsync(
        NpgsqlTransaction transaction, DirectorySnapshot directory, ValidatedMessage validated, Agency sender,
        CancellationToken cancellationToken)
    {
        if (validated.Evidence is not { } evidence
            || directory.FindGateway(sender.Record.Gateway) is not { } gateway
            || gateway.Name != validated.Received.Peer)
        {
            return ReasonCode.LedgerEvidence;
        }

        var key = VerifierKey.Parse(gateway.LedgerKey);
        if (evidence.Verify(key) is not null)
        {
            return ReasonCode.LedgerEvidence;
        }

        try
        {
            var observed = await peers.ObserveAsync(
                transaction, key, evidence.Checkpoint.Note, evidence.Consistency, cancellationToken);
            var cosigner = VerifierKey.Parse(gateway.CosignerKey);
            foreach (var cosignature in evidence.Cosignatures)
            {
                await PeerLedger.AddCosignatureAsync(transaction, cosigner, cosignature, cancellationToken);
            }

            return observed.State switch
            {
                PeerState.Fork => ReasonCode.LedgerFork,
                PeerState.BadSignature => ReasonCode.LedgerEvidence,
                PeerState.Pending when !IsExcused(observed, validated.Received) => ReasonCode.LedgerEvidence,
                _ => null,
            };
        }
        catch (LedgerException)
        {
            return ReasonCode.LedgerEvidence;
        }
    }

    /// <summary>
    /// Whether an honest peer could have brought no more than this. Deliveries overtake each other, so a checkpoint
    /// need not be joined to the highest verified by now; but it must be to what its session was asked for. Before
    /// anything was seen of the peer its first deliveries come at once, and only one of them can be the first. What is
    /// let through so is asked about in the next session: that brings the proof, or an alarm.
    /// </summary>
    private static bool IsExcused(PeerObservation observed, ReceivedMessage received) =>
        received.ProofAsked is { } asked && (asked == 0 || observed.JoinedFrom >= asked);

    internal static bool IsCommitted(
        LedgerEntry entry, string kind, Guid subject, ReadOnlySpan<byte> salt, ReadOnlySpan<byte> digest) =>
        entry.Kind == kind
        && entry.Object == subject.ToString()
        && entry.Commitments.TryGetValue("content", out var commitment)
        && commitment == Commitment.Of(salt, digest);

    private static async Task<bool> SecrecyRefusedAsync(
        NpgsqlTransaction transaction, Guid agency, string mark, CancellationToken cancellationToken)
    {
        var permitted = await transaction.Connection!.ExecuteScalarAsync<string?>(
            new CommandDefinition(
                "SELECT highest FROM gateway.secrecy_permission WHERE agency_id = @agency", new { agency }, transaction,
                cancellationToken: cancellationToken));
        return permitted is null || SecrecyMark.RankOrHighest(mark) > SecrecyMark.Rank(permitted);
    }

    private static bool AgreesWithManifest(Manifest manifest, IReadOnlyList<MimePart> parts)
    {
        if (manifest.Documents.Count != parts.Count)
        {
            return false;
        }

        foreach (var (document, part) in manifest.Documents.Zip(parts))
        {
            using var content = part.OpenDecoded();
            if (part.FileName != document.Name || !SHA256.HashData(content).AsSpan().SequenceEqual(document.Sha256))
            {
                return false;
            }
        }

        return true;
    }

    private static byte[] ReadPart(MimePart part, int limit)
    {
        using var content = part.OpenDecoded();
        using var octets = new MemoryStream();
        var buffer = new byte[16 * 1024];
        for (int read; (read = content.Read(buffer)) > 0;)
        {
            octets.Write(buffer, 0, read);
            if (octets.Length > limit)
            {
                throw new WireFormatException(ReasonCode.FormatTooLarge, $"The part is longer than {limit} bytes.");
            }
        }

        return octets.ToArray();
    }

    private static DecidedMessage Aside(ValidatedMessage validated, string reason) =>
        new(validated, MessageKind.Other, Disposition.Quarantine, reason, null, null, null, [], null);
}
