using System.Security.Cryptography.X509Certificates;
using Npgsql;
using SecureMail.Exchange;
using SecureMail.Gateway.Directories;
using SecureMail.Gateway.Keys;
using SecureMail.Gateway.Policy;
using SecureMail.Gateway.Registers;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Ledger;
using SecureMail.LedgerStore;
using SecureMail.Storage;

namespace SecureMail.Gateway.Outbound;

/// <summary>A dispatch that policy lets go, with the addressees that can be reached and the cipher that all of them
/// read.</summary>
internal sealed record AuthorisedDispatch(
    AcceptedDispatch Accepted, Agency Sender, IReadOnlyList<Addressee> Addressees, DispatchCipher Cipher);

/// <summary>An addressee that can be reached: what it is called now, and the certificate to encrypt to.</summary>
internal sealed record Addressee(Agency Agency, AgencyName Name, X509Certificate2 EncryptTo);

/// <summary>
/// Accepted → authorised: the policy is asked again, because days may have passed, and each addressee's best valid
/// certificate is chosen. An addressee without a certificate fails alone. The dispatch is refused when no addressee is
/// left or when it may not be sent at all.
/// </summary>
internal sealed class Authorise(
    GatewayDatabase database, DirectoryStore directories, SendingPolicy policy, CertificateChoice certificates,
    TimeProvider time)
{
    /// <summary>Answers null when the dispatch was refused; its row says why.</summary>
    public async Task<AuthorisedDispatch?> AuthoriseAsync(
        AcceptedDispatch accepted, CancellationToken cancellationToken)
    {
        var directory = await directories.CurrentAsync(cancellationToken);
        var sender = directory.Find(accepted.AgencyId);
        // An addressee that fails here has failed with this commit, whatever becomes of the others.
        var (addressees, cipher, refusal) = await database.Source.InTransactionAsync(
            "outbound.authorise",
            async transaction =>
            {
                var connection = transaction.Connection!;
                var refusal = sender is null
                    ? ReasonCode.SenderUnknown
                    : (
                        await policy.MaySendAsync(
                            connection, sender, accepted.Manifest.Fields.Secrecy, cancellationToken)
                    )?.Code;
                var addressees = refusal is null
                    ? await AddresseesAsync(transaction, directory, sender!, accepted, cancellationToken)
                    : [];
                var cipher = addressees.Count == 0
                    ? null
                    : await AgencyCapabilities.ChooseAsync(
                        connection, [.. addressees.Select(a => a.Agency)], cancellationToken);
                return (addressees, cipher, refusal);
            },
            cancellationToken);
        if (cipher is not null)
        {
            return new AuthorisedDispatch(accepted, sender!, addressees, cipher);
        }

        // The refusal and its entry stand with this commit; nothing has left.
        await database.Source.InTransactionAsync(
            "outbound.refuse",
            transaction =>
                RefuseAsync(transaction, accepted, refusal ?? ReasonCode.NoRecipient, cancellationToken),
            cancellationToken);
        return null;
    }

    /// <summary>The addressees that can be reached; the others fail.</summary>
    private async Task<List<Addressee>> AddresseesAsync(
        NpgsqlTransaction transaction, DirectorySnapshot directory, Agency sender, AcceptedDispatch accepted,
        CancellationToken cancellationToken)
    {
        var routes = await policy.RoutesAsync(transaction.Connection!, directory, sender, cancellationToken);
        List<Addressee> addressees = [];
        foreach (var party in accepted.Manifest.Recipients)
        {
            var recipient = directory.Find(party.Id);
            var reason = recipient is null ? ReasonCode.RecipientUnknown : routes.MayReach(recipient)?.Code;
            var certificate = reason is null ? certificates.BestForEncryption(recipient!) : null;
            if (certificate is null)
            {
                await FailAsync(
                    transaction, accepted, party.Id, reason ?? ReasonCode.RecipientCertificate, cancellationToken);
                continue;
            }

            addressees.Add(new Addressee(recipient!, recipient!.NameAt(time.GetUtcNow())!, certificate));
        }

        return addressees;
    }

    private async Task FailAsync(
        NpgsqlTransaction transaction, AcceptedDispatch accepted, Guid recipient, string reason,
        CancellationToken cancellationToken)
    {
        var failed = await TransmissionTable.FailWaitingAsync(
            transaction, accepted.Id, recipient, reason, time.GetUtcNow(), cancellationToken);
        if (failed is { } transmission)
        {
            await TransmissionTable.AddNoticesAsync(
                transaction, [transmission], NoticeAction.Failed, reason, null, cancellationToken);
            await EntryAsync(transaction, accepted, EntryKind.DispatchFailed, transmission, cancellationToken);
        }
    }

    private async Task RefuseAsync(
        NpgsqlTransaction transaction, AcceptedDispatch accepted, string reason, CancellationToken cancellationToken)
    {
        await OutgoingTable.RefuseAsync(transaction, accepted.Id, reason, cancellationToken);
        await TransmissionTable.FailAllWaitingAsync(
            transaction, accepted.Id, reason, time.GetUtcNow(), cancellationToken);
        await EntryAsync(transaction, accepted, EntryKind.DispatchRefused, accepted.Id, cancellationToken);
    }

    private Task EntryAsync(
        NpgsqlTransaction transaction, AcceptedDispatch accepted, string kind, Guid subject,
        CancellationToken cancellationToken) =>
        StoredLedger.AppendAsync(
            transaction,
            new LedgerEntry
            {
                Time = time.GetUtcNow(),
                Agency = accepted.AgencyId,
                Kind = kind,
                Object = subject.ToString(),
            },
            cancellationToken);
}
