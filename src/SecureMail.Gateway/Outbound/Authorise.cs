using System.Security.Cryptography.X509Certificates;
using Dapper;
using Npgsql;
using SecureMail.Exchange;
using SecureMail.Gateway.Directories;
using SecureMail.Gateway.Keys;
using SecureMail.Gateway.Policy;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Ledger;
using SecureMail.LedgerStore;
using SecureMail.Storage;

namespace SecureMail.Gateway.Outbound;

/// <summary>A dispatch that was accepted and is not yet signed: its row says accepted or awaiting-signature.</summary>
internal sealed record AcceptedDispatch(Guid Id, Guid AgencyId, Manifest Manifest, IReadOnlyList<Guid> Documents)
{
    /// <summary>Null when it was queued or refused already.</summary>
    public static async Task<AcceptedDispatch?> LoadAsync(
        GatewayDatabase database, BlobStore blobs, Guid id, CancellationToken cancellationToken)
    {
        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        var row = await connection.QuerySingleOrDefaultAsync<(Guid Agency, Guid Manifest)?>(
            new CommandDefinition(
                $"""
                SELECT agency_id, manifest_blob FROM gateway.outgoing WHERE dispatch_id = @id
                  AND state IN ('{OutgoingState.Accepted}', '{OutgoingState.AwaitingSignature}')
                """,
                new { id },
                cancellationToken: cancellationToken));
        if (row is not { } found)
        {
            return null;
        }

        var documents = await connection.QueryAsync<Guid>(
            new CommandDefinition(
                "SELECT blob_id FROM gateway.outgoing_document WHERE dispatch_id = @id ORDER BY n", new { id },
                cancellationToken: cancellationToken));
        return new AcceptedDispatch(
            id, found.Agency,
            Manifest.Parse(await blobs.ReadAllAsync(found.Manifest, Manifest.MaxBytes, cancellationToken)),
            [.. documents]);
    }
}

/// <summary>A dispatch that policy lets go, with the addressees that can be reached and the cipher that all of them
/// read.</summary>
internal sealed record AuthorisedDispatch(
    AcceptedDispatch Accepted, Agency Sender, IReadOnlyList<Addressee> Addressees, DispatchCipher Cipher);

/// <summary>An addressee that can be reached: what it is called now, and the certificate to encrypt to.</summary>
internal sealed record Addressee(Agency Agency, AgencyName Name, X509Certificate2 EncryptTo);

/// <summary>
/// Accepted → authorised: the policy is asked again, since days may have passed, and each addressee's best valid
/// certificate is chosen. An addressee without one fails by itself; the dispatch is refused only when nobody is left,
/// or when it may not be sent at all.
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
        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        await using var transaction = await connection.BeginTransactionAsync(cancellationToken);
        var sender = directory.Find(accepted.AgencyId);
        var refusal = sender is null
            ? ReasonCode.SenderUnknown
            : (
                await policy.MaySendAsync(connection, sender, accepted.Manifest.Fields.Secrecy, cancellationToken)
            )?.Code;
        var routes = refusal is null
            ? await policy.RoutesAsync(connection, directory, sender!, cancellationToken)
            : null;
        List<Addressee> addressees = [];
        foreach (var party in routes is null ? [] : accepted.Manifest.Recipients)
        {
            var recipient = directory.Find(party.Id);
            var reason = recipient is null ? ReasonCode.RecipientUnknown : routes!.MayReach(recipient)?.Code;
            var certificate = reason is null ? certificates.BestForEncryption(recipient!) : null;
            if (certificate is null)
            {
                await FailAsync(
                    transaction, accepted, party.Id, reason ?? ReasonCode.RecipientCertificate, cancellationToken);
                continue;
            }

            addressees.Add(new Addressee(recipient!, recipient!.NameAt(time.GetUtcNow())!, certificate));
        }

        if (addressees.Count > 0)
        {
            var cipher = await AgencyCapabilities.ChooseAsync(
                connection, [.. addressees.Select(a => a.Agency)], cancellationToken);
            await transaction.CommitAsync("outbound.authorise", cancellationToken);
            return new AuthorisedDispatch(accepted, sender!, addressees, cipher);
        }

        await RefuseAsync(transaction, accepted, refusal ?? ReasonCode.NoRecipient, cancellationToken);
        // The refusal and its entry stand with this commit; nothing has left.
        await transaction.CommitAsync("outbound.refuse", cancellationToken);
        return null;
    }

    private async Task FailAsync(
        NpgsqlTransaction transaction, AcceptedDispatch accepted, Guid recipient, string reason,
        CancellationToken cancellationToken)
    {
        var failed = await transaction.Connection!.QuerySingleOrDefaultAsync<Guid?>(
            new CommandDefinition(
                $"""
                UPDATE gateway.transmission SET state = '{TransmissionState.Failed}', reason = @reason, closed_at = @now
                WHERE kind = '{TransmissionKind.Dispatch}' AND dispatch_id = @Id AND recipient_id = @recipient
                  AND state = '{TransmissionState.Waiting}' RETURNING transmission_id
                """,
                new
                {
                    reason,
                    now = time.GetUtcNow().UtcDateTime,
                    accepted.Id,
                    recipient,
                },
                transaction,
                cancellationToken: cancellationToken));
        if (failed is { } transmission)
        {
            await Notice.AddAsync(transaction, [transmission], NoticeAction.Failed, reason, null, cancellationToken);
            await EntryAsync(transaction, accepted, EntryKind.DispatchFailed, transmission, cancellationToken);
        }
    }

    private async Task RefuseAsync(
        NpgsqlTransaction transaction, AcceptedDispatch accepted, string reason, CancellationToken cancellationToken)
    {
        await transaction.Connection!.ExecuteAsync(
            new CommandDefinition(
                $"""
                UPDATE gateway.outgoing SET state = '{OutgoingState.Refused}', reason = @reason WHERE dispatch_id = @Id;
                UPDATE gateway.transmission SET state = '{TransmissionState.Failed}', reason = @reason,
                  closed_at = @now WHERE kind = '{TransmissionKind.Dispatch}' AND dispatch_id = @Id
                  AND state = '{TransmissionState.Waiting}';
                """,
                new
                {
                    reason,
                    accepted.Id,
                    now = time.GetUtcNow().UtcDateTime,
                },
                transaction,
                cancellationToken: cancellationToken));
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
