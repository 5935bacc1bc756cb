using Npgsql;
using SecureMail.Exchange;
using SecureMail.Gateway.Policy;
using SecureMail.Gateway.Registers;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Ledger;
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
    /// <summary>What a quarantined message waits for; null: no arrival can cure it.</summary>
    public Awaited? Awaits { get; init; }

    public bool IsDuplicate => FirstIncoming is not null;

    /// <summary>Whether a person must look at the sender, and not only at the message.</summary>
    public bool RaisesAlarm => Reason is ReasonCode.LedgerFork or ReasonCode.ContentConflict;
}

/// <summary>What a quarantined message waits for.</summary>
/// <param name="Arrival">One of <see cref="AwaitedArrival"/>.</param>
/// <param name="Mark">By what it was decided: the version of the directory, or the size of the checkpoint that no proof
/// joins. Null: by nothing that is known to have been in force, so that it is validated again once.</param>
internal sealed record Awaited(string Arrival, long? Mark);

/// <summary>
/// Validated → decided: is the message for us, is it new, does it say what was signed, does the sender's ledger stand
/// behind it, what does policy say.
/// </summary>
/// <remarks>
/// Nothing of the content is read before the verdict is <c>valid</c>. Every check that fails ends in quarantine or
/// return with its reason; no message passes by default. The decision is made in the transaction that records the
/// message, because what is new is decided under a lock.
/// </remarks>
internal sealed class AcceptancePolicy(PeerEvidence evidence)
{
    /// <summary>Decides a message that need not wait (<see cref="WaitingRule"/>).</summary>
    public async Task<DecidedMessage> DecideAsync(
        NpgsqlTransaction transaction, ValidatedMessage validated, CancellationToken cancellationToken)
    {
        // Taken in first, whatever becomes of the message.
        var ledger = validated.Evidence is { } brought
            ? await evidence.TakeInAsync(transaction, validated, brought, cancellationToken)
            : new LedgerStanding(ReasonCode.LedgerEvidence, null);
        if (validated.Received.IsForPostmaster)
        {
            return Quarantine(validated, ReasonCode.ForPostmaster);
        }

        if (VerdictPolicy.Of(validated.Verdict, deadlinePassed: true) != VerdictOutcome.Accept)
        {
            return Quarantine(validated, ReasonCode.Of(validated.Verdict)) with { Awaits = AwaitsOf(validated) };
        }

        try
        {
            return validated.Payload switch
            {
                {
                    ContentType.MediaType: "multipart/mixed",
                    Children: [{ ContentType.MediaType: Manifest.MediaType } first, ..] children
                } => await DispatchAsync(
                    transaction, validated, ledger, first, [.. children.Skip(1)], cancellationToken),
                { ContentType.MediaType: "multipart/report" } report => DecideReceipt(validated, ledger, report),
                _ => Quarantine(validated, ReasonCode.NotADispatch),
            };
        }
        catch (WireFormatException e)
        {
            return Quarantine(validated, e.Code);
        }
        catch (MimeException)
        {
            return Quarantine(validated, ReasonCode.PartDamaged);
        }
    }

    private static async Task<DecidedMessage> DispatchAsync(
        NpgsqlTransaction transaction, ValidatedMessage validated, LedgerStanding ledger, MimePart first,
        IReadOnlyList<MimePart> documents, CancellationToken cancellationToken)
    {
        var manifest = Manifest.Parse(ManifestAgreement.ReadPart(first, Manifest.MaxBytes));
        if (
            SenderBinding.Find(validated, manifest.Sender.Id, CertificateUse.Dispatch, out var unbound)
            is not { } sender)
        {
            return Quarantine(validated, unbound) with { Awaits = NewerDirectory(validated) };
        }

        DecidedMessage Decide(string disposition, string? reason, Guid? firstIncoming = null) =>
            new(validated, MessageKind.Dispatch, disposition, reason, sender, manifest, null, documents, firstIncoming);

        var agency = validated.Received.AgencyId;
        if (PeerEvidence.OfSender(ledger, validated, sender) is { Reason: { } unproven } standing)
        {
            return Decide(Disposition.Quarantine, unproven) with { Awaits = standing.Awaits };
        }

        // The sender's ledger must commit to these very bytes. The salt is inside the signature, the commitment in the
        // ledger.
        if (
            !PeerEvidence.IsCommitted(
                validated.Evidence!.Entry, EntryKind.DispatchSigned, manifest.DispatchId, manifest.Salt,
                validated.SignedDigest))
        {
            return Decide(Disposition.Quarantine, ReasonCode.LedgerEvidence);
        }

        if (manifest.Recipients.All(r => r.Id != agency))
        {
            return Decide(Disposition.Returned, ReasonCode.NotAddressedToUs);
        }

        if (
            manifest.Fields.Secrecy is { } mark
            && await IsSecrecyRefusedAsync(transaction, agency, mark, cancellationToken))
        {
            return Decide(Disposition.Returned, ReasonCode.SecrecyRefused);
        }

        if (
            await IncomingTable.FindSeenAsync(
                transaction, agency, sender.Id, manifest.DispatchId, cancellationToken) is { } seen)
        {
            return seen.Digest.AsSpan().SequenceEqual(validated.SignedDigest)
                ? Decide(Disposition.Duplicate, ReasonCode.Duplicate, seen.Incoming)
                : Decide(Disposition.Quarantine, ReasonCode.ContentConflict);
        }

        return ManifestAgreement.Holds(manifest, documents)
            ? Decide(Disposition.Inbox, null)
            : Decide(Disposition.Quarantine, ReasonCode.DocumentsDiffer);
    }

    private static DecidedMessage DecideReceipt(ValidatedMessage validated, LedgerStanding ledger, MimePart report)
    {
        var part = report.Children.FirstOrDefault(c => c.ContentType.MediaType == Receipt.MediaType);
        if (MailReport.Read(report) is null || part is null)
        {
            return Quarantine(validated, ReasonCode.NotAReceipt);
        }

        var receipt = Receipt.Parse(ManifestAgreement.ReadPart(part, Receipt.MaxBytes));
        if (receipt.Sender != validated.Received.AgencyId)
        {
            return Quarantine(validated, ReasonCode.NotAddressedToUs);
        }

        if (SenderBinding.Find(validated, receipt.Recipient, CertificateUse.Receipt, out var unbound) is not { } signer)
        {
            return Quarantine(validated, unbound) with { Awaits = NewerDirectory(validated) };
        }

        var standing = PeerEvidence.OfSender(ledger, validated, signer);
        // A receipt of a gateway whose ledger was rewritten is quarantined like every message of it.
        return new(
            validated, MessageKind.Receipt, standing.Reason is null ? Disposition.Inbox : Disposition.Quarantine,
            standing.Reason, signer, null, receipt, [], null)
        {
            Awaits = standing.Awaits,
        };
    }

    /// <summary>What may give a verdict to a message that has none. What is missing in the message itself does not
    /// come.</summary>
    private static Awaited? AwaitsOf(ValidatedMessage validated) =>
        validated.Verdict != Verdict.Indeterminate ? null
        : validated.Findings.Any(f => f.SubIndication == SubIndication.TryLater) ? new(AwaitedArrival.Revocation, null)
        : validated.Findings.Count == 0 ? new(AwaitedArrival.Key, null)
        : null;

    private static Awaited NewerDirectory(ValidatedMessage validated) =>
        new(AwaitedArrival.Directory, validated.Directory.Version);

    private static async Task<bool> IsSecrecyRefusedAsync(
        NpgsqlTransaction transaction, Guid agency, string mark, CancellationToken cancellationToken)
    {
        var permitted = await PolicyBook.HighestSecrecyAsync(transaction.Connection!, agency, cancellationToken);
        return permitted is null || SecrecyMark.RankOrHighest(mark) > SecrecyMark.Rank(permitted);
    }

    private static DecidedMessage Quarantine(ValidatedMessage validated, string reason) =>
        new(validated, MessageKind.Other, Disposition.Quarantine, reason, null, null, null, [], null);
}
