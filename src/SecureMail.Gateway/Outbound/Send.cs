using Dapper;
using Microsoft.Extensions.Logging;
using Npgsql;
using SecureMail.Exchange;
using SecureMail.Gateway.Clock;
using SecureMail.Gateway.Directories;
using SecureMail.Gateway.Keys;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Ledger;
using SecureMail.LedgerStore;
using SecureMail.Mail.Smtp.Client;
using SecureMail.Storage;
using SecureMail.Storage.Queue;

namespace SecureMail.Gateway.Outbound;

/// <summary>
/// Queued → sent | unknown: takes one message to one gateway, for all of its agencies that it is meant for, behind a
/// head that has those agencies alone, over mutual TLS with the key that the directory pins, with the proof that a
/// checkpoint covers it. A connection that is lost after the final dot leaves the transmissions unknown, and they are
/// sent again: the other side can tell a duplicate, nobody can tell a loss. What an answer means for a transmission and
/// for its destination is <see cref="SendResult"/>'s to say.
/// </summary>
internal sealed class Send(
    GatewayDatabase database, BlobStore blobs, DirectoryStore directories, GatewayIdentity identity, PeerLedger peers,
    DestinationQueues destinations, ClockWatch clock, DeliveryOptions options, DirectoryOptions self, TimeProvider time,
    ILogger<Send> logger)
{
    private readonly RecentCheckpointSizes _shown = new();

    public async Task<WorkOutcome> SendAsync(WorkItem item, CancellationToken cancellationToken)
    {
        var ids = item.All.Select(i => i.Subject).ToArray();
        var transmissions = await QueuedTransmission.LoadAsync(database, ids, options.GiveUpAfter, cancellationToken);
        if (transmissions.Values.Any(t => t.IsTooOld))
        {
            // A clock that leapt this very second made it old: then it is not.
            await clock.LookAsync(cancellationToken);
            transmissions = await QueuedTransmission.LoadAsync(database, ids, options.GiveUpAfter, cancellationToken);
        }

        var directory = await directories.CurrentAsync(cancellationToken);
        List<(WorkItem, WorkOutcome)> outcomes = [];
        List<Addressed> addressed = [];
        foreach (var one in item.All)
        {
            var (ready, outcome) = await AddressAsync(
                one, transmissions.GetValueOrDefault(one.Subject), directory, cancellationToken);
            if (ready is not null)
            {
                addressed.Add(ready);
            }
            else
            {
                outcomes.Add((one, outcome!));
            }
        }

        foreach (
            var mail in addressed
                .GroupBy(a => (a.Gateway.Name, a.Transmission.MessageBlob, a.Transmission.Head))
                .Select(g => g.ToList()))
        {
            var results = await AttemptAsync(mail, ReturnPath(mail[0].Transmission, directory), cancellationToken);
            outcomes.AddRange(await SettleAsync(mail, results, cancellationToken));
        }

        return new WorkOutcome.Each(outcomes);
    }

    /// <summary>Where it goes; or its outcome, when it goes nowhere now.</summary>
    private async Task<(Addressed? Ready, WorkOutcome? Outcome)> AddressAsync(
        WorkItem item, QueuedTransmission? transmission, DirectorySnapshot directory,
        CancellationToken cancellationToken)
    {
        if (transmission is null)
        {
            return (null, await item.DropAsync(database.Source, cancellationToken));
        }

        var recipient = directory.Find(transmission.RecipientId);
        var address = (recipient?.NameAt(time.GetUtcNow()) ?? recipient?.LastName)?.Address;
        if (recipient is null || address is null || directory.FindGateway(recipient.Record.Gateway) is not { } gateway)
        {
            return (
                null, await FailAsync(item, transmission, ReasonCode.RecipientNotInDirectory, null, cancellationToken));
        }

        if (transmission.IsTooOld)
        {
            return (null, await FailAsync(item, transmission, ReasonCode.GivenUp, null, cancellationToken));
        }

        // A row of an older node, or an agency that moved to another gateway meanwhile: it waits in the destination of
        // the place it goes to.
        return item.Destination != gateway.Name
            ? (null, new WorkOutcome.Move(gateway.Name))
            : (new Addressed(item, transmission, gateway, address), null);
    }

    /// <summary>One result for each, in order; what was delivered is recorded.</summary>
    private async Task<IReadOnlyList<SendResult>> AttemptAsync(
        IReadOnlyList<Addressed> mail, string? from, CancellationToken cancellationToken)
    {
        var (first, gateway) = (mail[0].Transmission, mail[0].Gateway);
        SmtpClient client;
        try
        {
            client = await SmtpClient.ConnectAsync(
                identity.CallTo(gateway, self.Name, options.SmtpTimeouts), time, cancellationToken);
        }
        catch (SmtpException e)
        {
            return [.. mail.Select(_ => SendResult.NoSession(e))];
        }

        IReadOnlyList<SmtpRecipientResult> answers;
        await using (client)
        {
            client.Capabilities.Has(EvidenceField.Capability, out var seen);
            await using var message = await OpenAsync(
                first, await FieldAsync(first, gateway, EvidenceField.ReadSizes(seen), cancellationToken),
                cancellationToken);
            // Checked just before the octets leave: a slow connection may have outlived the leases, and then another
            // node sends.
            await WorkItem.RequireLeasesAsync([.. mail.Select(m => m.Item)], database.Source, cancellationToken);
            try
            {
                answers = await client.SendAsync(from, [.. mail.Select(m => m.Address)], message, cancellationToken);
            }
            catch (SmtpException e)
            {
                return [.. mail.Select(_ => SendResult.Unfit(e))];
            }

            if (mail.Where((_, n) => answers[n].Outcome == SmtpOutcome.Delivered).ToList() is { Count: > 0 } delivered)
            {
                // Recorded before the farewell: what becomes of QUIT changes nothing.
                await RecordAsync(
                    [.. delivered.Select(d => (d.Item, d.Transmission))], TransmissionState.Sent, null, complete: true,
                    cancellationToken);
            }
        }

        return [.. answers.Select(SendResult.Of)];
    }

    // RFC 8098 §3: a report has a null return path, so that no report answers a report.
    private string? ReturnPath(QueuedTransmission transmission, DirectorySnapshot directory) =>
        transmission.Kind == TransmissionKind.Receipt
            ? null
            : directory.Find(transmission.AgencyId)?.NameAt(time.GetUtcNow())?.Address;

    /// <summary>The mail that leaves: the ledger's field, the head that has this recipient, and what stands behind any
    /// head.</summary>
    private async Task<Stream> OpenAsync(
        QueuedTransmission transmission, byte[] field, CancellationToken cancellationToken)
    {
        // Without a head of its own the whole message, which has everybody.
        var (head, cut) = (
            transmission.Head is { } own ? await HeadAsync(transmission.MessageBlob, own, cancellationToken) : null
        ) ?? ([], 0);
        return new ConcatenatedStream(
            [.. field, .. head], await blobs.OpenAsync(transmission.MessageBlob, cancellationToken), cut);
    }

    private async Task<(byte[] Head, long Cut)?> HeadAsync(
        Guid message, string gateway, CancellationToken cancellationToken)
    {
        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        return await connection.QuerySingleOrDefaultAsync<(byte[], long)?>(
            new CommandDefinition(
                "SELECT head, cut FROM gateway.message_head WHERE message_blob = @message AND gateway = @gateway",
                new { message, gateway }, cancellationToken: cancellationToken));
    }

    private async Task<byte[]> FieldAsync(
        QueuedTransmission transmission, GatewayRecord gateway, IReadOnlyList<long> seenSizes,
        CancellationToken cancellationToken)
    {
        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        await using var transaction = await connection.BeginTransactionAsync(cancellationToken);
        var cosignature = await peers.CosignHighestAsync(transaction, gateway.Name, cancellationToken);
        var evidence = await EvidenceBuilder.BuildAsync(
            connection, transmission.EntryId, _shown.ProofsFor(gateway.Name, seenSizes),
            cosignature is null ? [] : [cosignature], cancellationToken);
        await transaction.CommitAsync("send.evidence", cancellationToken);
        _shown.Add(gateway.Name, evidence.Checkpoint.Size);
        return EvidenceField.Write(evidence);
    }

    private async Task<IReadOnlyList<(WorkItem, WorkOutcome)>> SettleAsync(
        IReadOnlyList<Addressed> mail, IReadOnlyList<SendResult> results, CancellationToken cancellationToken)
    {
        var gateway = mail[0].Gateway;
        foreach (var (one, result) in mail.Zip(results).Where(r => r.Second.Reason is not null))
        {
            OutboundLog.NotSent(logger, one.Transmission.Id, gateway.Name, result.Reason!);
        }

        // First what happened to the transmissions: it cannot be learnt again. A destination's back-off can.
        foreach (
            var unknown in mail.Zip(results)
                .Where(r => r.Second.Outcome == SmtpOutcome.Unknown)
                .GroupBy(r => r.Second.Reason))
        {
            await RecordAsync(
                [.. unknown.Select(u => (u.First.Item, u.First.Transmission))], TransmissionState.Unknown, unknown.Key,
                complete: false, cancellationToken);
        }

        if (results.Any(r => r.Host == HostState.Answered))
        {
            await destinations.ReachedAsync(gateway.Name, cancellationToken);
        }
        else
        {
            await destinations.FailedAsync(gateway.Name, mail[0].Item.LeasedAt, results[0].Reason!, cancellationToken);
        }

        List<(WorkItem, WorkOutcome)> outcomes = [];
        foreach (var (one, result) in mail.Zip(results))
        {
            outcomes.Add(
                (
                    one.Item,
                    result switch
                    {
                        { Outcome: SmtpOutcome.Delivered } => new WorkOutcome.Done(),
                        { Outcome: SmtpOutcome.Permanent } => await FailAsync(
                            one.Item, one.Transmission, result.Reason!, result.Reason, cancellationToken),
                        // Nothing was said about this message: it waits behind its destination, and has not used up an
                        // attempt.
                        { Host: HostState.NoSession } => new WorkOutcome.Snooze(TimeSpan.Zero, result.Reason!),
                        _ => new WorkOutcome.Retry(result.Reason!),
                    }));
        }

        return outcomes;
    }

    private async Task<WorkOutcome> FailAsync(
        WorkItem item, QueuedTransmission transmission, string reason, string? diagnostic,
        CancellationToken cancellationToken)
    {
        await RecordAsync(
            [(item, transmission)], TransmissionState.Failed, reason, complete: true, cancellationToken, diagnostic);
        OutboundLog.GivenUp(logger, transmission.Id, reason);
        return new WorkOutcome.Done();
    }

    /// <summary>Writes down what became of these, all or none.</summary>
    private async Task RecordAsync(
        IReadOnlyList<(WorkItem Item, QueuedTransmission Transmission)> sent, string state, string? reason,
        bool complete, CancellationToken cancellationToken, string? diagnostic = null)
    {
        var now = time.GetUtcNow();
        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        await using var transaction = await connection.BeginTransactionAsync(cancellationToken);
        // In one order everywhere, so that two that meet on the same rows wait and do not lock each other out.
        foreach (var (item, transmission) in sent.OrderBy(s => s.Transmission.Id))
        {
            // A receipt may have overtaken us: what is acknowledged stays acknowledged.
            var changed = await connection.ExecuteAsync(
                new CommandDefinition(
                    $"""
                    UPDATE gateway.transmission SET state = @state, reason = @reason,
                      first_sent_at = CASE WHEN @state IN ('{TransmissionState.Sent}',
                      '{TransmissionState.Unknown}') THEN coalesce(first_sent_at, now()) ELSE first_sent_at END,
                      closed_at = CASE WHEN @state = '{TransmissionState.Failed}' THEN @now END
                    WHERE transmission_id = @Id AND state IN ('{TransmissionState.Queued}',
                      '{TransmissionState.Sent}', '{TransmissionState.Unknown}')
                    """,
                    new
                    {
                        state,
                        reason,
                        now = now.UtcDateTime,
                        transmission.Id,
                    },
                    transaction,
                    cancellationToken: cancellationToken));
            if (changed == 1 && state == TransmissionState.Failed)
            {
                await Notice.AddAsync(
                    transaction, [transmission.Id], NoticeAction.Failed, reason, diagnostic, cancellationToken);
            }

            if (changed == 1)
            {
                await StoredLedger.AppendAsync(
                    transaction,
                    new LedgerEntry
                    {
                        Time = now,
                        Agency = transmission.AgencyId,
                        Kind = TransmissionKind.EntryOf(transmission.Kind, state),
                        Object = transmission.Id.ToString(),
                    },
                    cancellationToken);
            }

            if (complete)
            {
                await connection.ExecuteAsync(
                    new CommandDefinition(
                        "UPDATE gateway.transmission SET resend_at = NULL WHERE transmission_id = @Id AND resend_at IS "
                            + "NOT NULL",
                        new { transmission.Id },
                        transaction,
                        cancellationToken: cancellationToken));
                await item.CompleteAsync(transaction, cancellationToken);
            }
        }

        // Before this commit a crash repeats the sending; the other side answers the duplicate with the same receipt.
        await transaction.CommitAsync("send.outcome", cancellationToken);
    }

    private sealed record Addressed(
        WorkItem Item, QueuedTransmission Transmission, GatewayRecord Gateway, string Address);
}

/// <summary>A transmission that may be sent: its row says queued, unknown or sent, or its recipient's gateway lost it
/// and asked for it again.</summary>
/// <param name="Head">Which of the message's heads has its recipient: that of the gateway that served it when the
/// message was composed. Null: the message's own.</param>
internal sealed record QueuedTransmission(
    Guid Id, string Kind, Guid DispatchId, Guid AgencyId, Guid RecipientId, Guid MessageBlob, string? Head,
    long EntryId, bool IsTooOld)
{
    /// <summary>Those that are not closed and may be sent now. How old they are is the database's to say: a node with a
    /// wrong clock gives nothing up.</summary>
    public static async Task<IReadOnlyDictionary<Guid, QueuedTransmission>> LoadAsync(
        GatewayDatabase database, Guid[] ids, TimeSpan giveUpAfter, CancellationToken cancellationToken)
    {
        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        var rows = await connection.QueryAsync<(
            Guid Id, string Kind, Guid Dispatch, Guid Agency, Guid Recipient, Guid Blob, string? Head, long Entry,
            bool TooOld)>(
            new CommandDefinition(
                $"""
                SELECT transmission_id, kind, dispatch_id, agency_id, recipient_id, message_blob, head_gateway,
                  entry_id, state <> '{TransmissionState.Sent}'
                  AND coalesce(resend_at, queued_at) < gateway.cutoff(@giveUpAfter)
                FROM gateway.transmission WHERE transmission_id = ANY(@ids)
                  AND (state IN ('{TransmissionState.Queued}', '{TransmissionState.Unknown}',
                  '{TransmissionState.Sent}') OR resend_at IS NOT NULL) AND message_blob IS NOT NULL
                """,
                new { ids, giveUpAfter },
                cancellationToken: cancellationToken));
        return rows.ToDictionary(
            r => r.Id,
            r => new QueuedTransmission(
                r.Id, r.Kind, r.Dispatch, r.Agency, r.Recipient, r.Blob, r.Head, r.Entry, r.TooOld));
    }
}
