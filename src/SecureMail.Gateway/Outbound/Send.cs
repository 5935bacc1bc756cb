using Dapper;
using Microsoft.Extensions.Logging;
using Npgsql;
using SecureMail.Gateway.Clock;
using SecureMail.Gateway.Directory;
using SecureMail.Gateway.Exchange;
using SecureMail.Gateway.Keys;
using SecureMail.Gateway.Queue;
using SecureMail.Gateway.Storage;
using SecureMail.Ledger;
using SecureMail.Mail;

namespace SecureMail.Gateway.Outbound;

/// <summary>
/// Queued → sent | unknown: takes one message to one recipient's gateway, over mutual TLS with the key that the directory pins, with the proof
/// that a checkpoint covers it. A connection that is lost after the final dot leaves the transmission unknown, and it is sent again: the other
/// side can tell a duplicate, nobody can tell a loss. What an answer means for the transmission and for its destination is <see cref="SendResult"/>'s to say.
/// </summary>
internal sealed class Send(
    GatewayDatabase database, BlobStore blobs, DirectoryStore directories, GatewayIdentity identity, PeerLedger peers, Lanes lanes, ClockWatch clock, GatewayOptions options, TimeProvider time, ILogger logger)
{
    private readonly ShownSizes _shown = new();

    public async Task<WorkOutcome> SendAsync(WorkItem item, CancellationToken cancellationToken)
    {
        var transmission = await QueuedTransmission.LoadAsync(database, item.Subject, options.GiveUpAfter, cancellationToken);
        if (transmission is null)
        {
            return await item.DropAsync(database.Source, cancellationToken);
        }

        var directory = await directories.CurrentAsync(cancellationToken);
        var recipient = directory.Find(transmission.RecipientId);
        var address = (recipient?.NameAt(time.GetUtcNow()) ?? recipient?.LastName)?.Address;
        if (recipient is null || address is null || directory.FindGateway(recipient.Record.Gateway) is not { } gateway)
        {
            return await FailAsync(item, transmission, "RECIPIENT_NOT_IN_DIRECTORY", null, cancellationToken);
        }

        if (transmission.IsTooOld)
        {
            // A clock that leapt this very second made it old: then it is not.
            await clock.LookAsync(cancellationToken);
            transmission = await QueuedTransmission.LoadAsync(database, item.Subject, options.GiveUpAfter, cancellationToken) ?? transmission;
        }

        if (transmission.IsTooOld)
        {
            return await FailAsync(item, transmission, GiveUp.Reason, null, cancellationToken);
        }

        if (item.Lane != gateway.Name)
        {
            // A row of an older node, or an agency that moved to another gateway meanwhile: it waits in the lane of the place it goes to.
            return new WorkOutcome.Move(gateway.Name);
        }

        var result = await AttemptAsync(item, transmission, gateway, ReturnPath(transmission, directory), address, cancellationToken);
        return await SettleAsync(item, transmission, gateway, result, cancellationToken);
    }

    private async Task<SendResult> AttemptAsync(WorkItem item, QueuedTransmission transmission, GatewayRecord gateway, string? from, string to, CancellationToken cancellationToken)
    {
        SmtpClient client;
        try
        {
            client = await SmtpClient.ConnectAsync(identity.CallTo(gateway, options.Name, options.SmtpTimeouts), time, cancellationToken);
        }
        catch (SmtpException e)
        {
            return SendResult.NoSession(e);
        }

        SmtpRecipientResult answer;
        await using (client)
        {
            client.Capabilities.Has(EvidenceField.Capability, out var seen);
            await using var message = new PrefixedStream(await FieldAsync(transmission, gateway, EvidenceField.ReadSizes(seen), cancellationToken), await blobs.OpenAsync(transmission.MessageBlob, cancellationToken));
            // Checked just before the octets leave: a slow connection may have outlived the lease, and then another node sends.
            await item.RequireLeaseAsync(database.Source, cancellationToken);
            try
            {
                answer = (await client.SendAsync(from, [to], message, cancellationToken))[0];
            }
            catch (SmtpException e)
            {
                return SendResult.Unfit(e);
            }

            if (answer.Outcome == SmtpOutcome.Delivered)
            {
                // Recorded before the farewell: what becomes of QUIT changes nothing.
                await RecordAsync(item, transmission, "sent", null, complete: true, cancellationToken);
            }
        }

        return SendResult.Of(answer);
    }

    // RFC 8098 §3: a report has a null return path, so that no report answers a report.
    private string? ReturnPath(QueuedTransmission transmission, DirectorySnapshot directory) =>
        transmission.Kind == "receipt" ? null : directory.Find(transmission.AgencyId)?.NameAt(time.GetUtcNow())?.Address;

    private async Task<byte[]> FieldAsync(QueuedTransmission transmission, GatewayRecord gateway, IReadOnlyList<long> seenSizes, CancellationToken cancellationToken)
    {
        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        await using var transaction = await connection.BeginTransactionAsync(cancellationToken);
        var cosignature = await peers.CosignHighestAsync(transaction, gateway.Name, cancellationToken);
        var evidence = await LedgerEvidence.BuildAsync(connection, transmission.EntryId, _shown.ProofsFor(gateway.Name, seenSizes), cosignature is null ? [] : [cosignature], cancellationToken);
        await transaction.CommitAsync("send.evidence", cancellationToken);
        _shown.Add(gateway.Name, evidence.Checkpoint.Size);
        return EvidenceField.Write(evidence);
    }

    private async Task<WorkOutcome> SettleAsync(WorkItem item, QueuedTransmission transmission, GatewayRecord gateway, SendResult result, CancellationToken cancellationToken)
    {
        if (result.Reason is not null)
        {
            OutboundLog.NotSent(logger, transmission.Id, gateway.Name, result.Reason);
        }

        // First what happened to the transmission: it cannot be learnt again. A destination's back-off can.
        if (result.Outcome == SmtpOutcome.Unknown)
        {
            await RecordAsync(item, transmission, "unknown", result.Reason, complete: false, cancellationToken);
        }

        if (result.Host == HostState.Answered)
        {
            await lanes.ReachedAsync(gateway.Name, cancellationToken);
        }
        else
        {
            await lanes.FailedAsync(gateway.Name, item.LeasedAt, result.Reason!, cancellationToken);
        }

        return result switch
        {
            { Outcome: SmtpOutcome.Delivered } => new WorkOutcome.Done(),
            { Outcome: SmtpOutcome.Permanent } => await FailAsync(item, transmission, result.Reason!, result.Reason, cancellationToken),
            // Nothing was said about this message: it waits behind its lane, and has not used up an attempt.
            { Host: HostState.NoSession } => new WorkOutcome.Snooze(TimeSpan.Zero, result.Reason!),
            _ => new WorkOutcome.Retry(result.Reason!),
        };
    }

    private async Task<WorkOutcome> FailAsync(WorkItem item, QueuedTransmission transmission, string reason, string? diagnostic, CancellationToken cancellationToken)
    {
        await RecordAsync(item, transmission, "failed", reason, complete: true, cancellationToken, diagnostic);
        OutboundLog.GivenUp(logger, transmission.Id, reason);
        return new WorkOutcome.Done();
    }

    private async Task RecordAsync(WorkItem item, QueuedTransmission transmission, string state, string? reason, bool complete, CancellationToken cancellationToken, string? diagnostic = null)
    {
        var now = time.GetUtcNow();
        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        await using var transaction = await connection.BeginTransactionAsync(cancellationToken);
        // A receipt may have overtaken us: what is acknowledged stays acknowledged.
        var changed = await connection.ExecuteAsync(new CommandDefinition(
            """
            UPDATE gateway.transmission SET state = @state, reason = @reason, first_sent_at = CASE WHEN @state IN ('sent', 'unknown') THEN coalesce(first_sent_at, now()) ELSE first_sent_at END,
              closed_at = CASE WHEN @state = 'failed' THEN @now END
            WHERE transmission_id = @Id AND state IN ('queued', 'sent', 'unknown')
            """,
            new { state, reason, now = now.UtcDateTime, transmission.Id }, transaction, cancellationToken: cancellationToken));
        if (changed == 1 && state == "failed")
        {
            await Notice.AddAsync(transaction, [transmission.Id], "failed", reason, diagnostic, cancellationToken);
        }

        if (changed == 1)
        {
            await LedgerStore.AppendAsync(transaction, new LedgerEntry
            {
                Time = now,
                Agency = transmission.AgencyId,
                Kind = $"{transmission.Kind}.{state}",
                Object = transmission.Id.ToString(),
            }, chain: true, cancellationToken);
        }

        if (complete)
        {
            await connection.ExecuteAsync(new CommandDefinition(
                "UPDATE gateway.transmission SET resend_at = NULL WHERE transmission_id = @Id AND resend_at IS NOT NULL", new { transmission.Id }, transaction, cancellationToken: cancellationToken));
            await item.CompleteAsync(transaction, cancellationToken);
        }

        // Before this commit a crash repeats the sending; the other side answers the duplicate with the same receipt.
        await transaction.CommitAsync("send.outcome", cancellationToken);
    }
}

/// <summary>A transmission that may be sent: its row says queued, unknown or sent, or its recipient's gateway lost it and asked for it again.</summary>
internal sealed record QueuedTransmission(Guid Id, string Kind, Guid DispatchId, Guid AgencyId, Guid RecipientId, Guid MessageBlob, long EntryId, bool IsTooOld)
{
    /// <summary>Null when the row is closed or not yet to be sent. How old it is is the database's to say: a node with a wrong clock gives nothing up.</summary>
    public static async Task<QueuedTransmission?> LoadAsync(GatewayDatabase database, Guid id, TimeSpan giveUpAfter, CancellationToken cancellationToken)
    {
        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        var row = await connection.QuerySingleOrDefaultAsync<(string Kind, Guid Dispatch, Guid Agency, Guid Recipient, Guid Blob, long Entry, bool TooOld)?>(new CommandDefinition(
            """
            SELECT kind, dispatch_id, agency_id, recipient_id, message_blob, entry_id, state <> 'sent' AND coalesce(resend_at, queued_at) < gateway.cutoff(@giveUpAfter) FROM gateway.transmission
            WHERE transmission_id = @id AND (state IN ('queued', 'unknown', 'sent') OR resend_at IS NOT NULL) AND message_blob IS NOT NULL
            """,
            new { id, giveUpAfter }, cancellationToken: cancellationToken));
        return row is { } r ? new QueuedTransmission(id, r.Kind, r.Dispatch, r.Agency, r.Recipient, r.Blob, r.Entry, r.TooOld) : null;
    }
}
