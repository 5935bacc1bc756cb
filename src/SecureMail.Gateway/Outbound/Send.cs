using Dapper;
using Microsoft.Extensions.Logging;
using Npgsql;
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
/// side can tell a duplicate, nobody can tell a loss.
/// </summary>
internal sealed class Send(
    GatewayDatabase database, BlobStore blobs, DirectoryStore directories, GatewayIdentity identity, PeerLedger peers, GatewayOptions options, TimeProvider time, ILogger logger)
{
    private readonly ShownSizes _shown = new();

    public async Task<WorkOutcome> SendAsync(WorkItem item, CancellationToken cancellationToken)
    {
        var transmission = await QueuedTransmission.LoadAsync(database, item.Subject, cancellationToken);
        if (transmission is null)
        {
            return await item.DropAsync(database.Source, cancellationToken);
        }

        var directory = await directories.CurrentAsync(cancellationToken);
        var now = time.GetUtcNow();
        var recipient = directory.Find(transmission.RecipientId);
        var address = (recipient?.NameAt(now) ?? recipient?.LastName)?.Address;
        if (recipient is null || address is null || directory.FindGateway(recipient.Record.Gateway) is not { } gateway)
        {
            return await FailAsync(item, transmission, "RECIPIENT_NOT_IN_DIRECTORY", cancellationToken);
        }

        if (now - transmission.QueuedAt > options.GiveUpAfter)
        {
            return await FailAsync(item, transmission, "GIVEN_UP", cancellationToken);
        }

        try
        {
            await using var client = await SmtpClient.ConnectAsync(OptionsFor(gateway), time, cancellationToken);
            client.Capabilities.Has(EvidenceField.Capability, out var seen);
            await using var message = new PrefixedStream(await FieldAsync(transmission, gateway, EvidenceField.ReadSizes(seen), cancellationToken), await blobs.OpenAsync(transmission.MessageBlob, cancellationToken));
            // Checked just before the octets leave: a slow connection may have outlived the lease, and then another node sends.
            await item.RequireLeaseAsync(database.Source, cancellationToken);
            var results = await client.SendAsync(ReturnPath(transmission, directory), [address], message, cancellationToken);
            return await SettleAsync(item, transmission, results[0].Outcome, Describe(results[0].Failure, results[0].Reply), cancellationToken);
        }
        catch (SmtpException e)
        {
            OutboundLog.NotSent(logger, transmission.Id, gateway.Name, e.Failure.ToString());
            return await SettleAsync(item, transmission, e.Outcome, Describe(e.Failure, e.Reply), cancellationToken);
        }
    }

    private SmtpClientOptions OptionsFor(GatewayRecord gateway) => new()
    {
        Host = gateway.Host,
        Port = gateway.Port,
        EhloName = options.Name,
        RequireTls = true,
        ClientCertificate = identity.Tls,
        PinServer = certificate => gateway.TlsKeys.Any(pin => GatewayIdentity.Pin(certificate).AsSpan().SequenceEqual(pin)),
    };

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

    private async Task<WorkOutcome> SettleAsync(WorkItem item, QueuedTransmission transmission, SmtpOutcome outcome, string reason, CancellationToken cancellationToken)
    {
        switch (outcome)
        {
            case SmtpOutcome.Delivered:
                await RecordAsync(item, transmission, "sent", null, "sent", complete: true, cancellationToken);
                return new WorkOutcome.Done();
            case SmtpOutcome.Permanent:
                return await FailAsync(item, transmission, reason, cancellationToken);
            case SmtpOutcome.Unknown:
                await RecordAsync(item, transmission, "unknown", reason, "unknown", complete: false, cancellationToken);
                return new WorkOutcome.Retry(reason);
            default:
                return new WorkOutcome.Retry(reason);
        }
    }

    private async Task<WorkOutcome> FailAsync(WorkItem item, QueuedTransmission transmission, string reason, CancellationToken cancellationToken)
    {
        await RecordAsync(item, transmission, "failed", reason, "failed", complete: true, cancellationToken);
        OutboundLog.GivenUp(logger, transmission.Id, reason);
        return new WorkOutcome.Done();
    }

    private async Task RecordAsync(WorkItem item, QueuedTransmission transmission, string state, string? reason, string kind, bool complete, CancellationToken cancellationToken)
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
        if (changed == 1)
        {
            await LedgerStore.AppendAsync(transaction, new LedgerEntry
            {
                Time = now,
                Agency = transmission.AgencyId,
                Kind = $"{transmission.Kind}.{kind}",
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

    private static string Describe(SmtpFailure? failure, SmtpReply? reply) =>
        reply is null ? $"{failure}" : $"{failure} {reply.Code} {reply.Enhanced}".Trim();
}

/// <summary>A transmission that may be sent: its row says queued, unknown or sent, or its recipient's gateway lost it and asked for it again.</summary>
internal sealed record QueuedTransmission(Guid Id, string Kind, Guid DispatchId, Guid AgencyId, Guid RecipientId, Guid MessageBlob, long EntryId, DateTimeOffset QueuedAt)
{
    /// <summary>Null when the row is closed or not yet to be sent.</summary>
    public static async Task<QueuedTransmission?> LoadAsync(GatewayDatabase database, Guid id, CancellationToken cancellationToken)
    {
        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        var row = await connection.QuerySingleOrDefaultAsync<(string Kind, Guid Dispatch, Guid Agency, Guid Recipient, Guid Blob, long Entry, DateTime Queued)?>(new CommandDefinition(
            """
            SELECT kind, dispatch_id, agency_id, recipient_id, message_blob, entry_id, coalesce(resend_at, queued_at) FROM gateway.transmission
            WHERE transmission_id = @id AND (state IN ('queued', 'unknown', 'sent') OR resend_at IS NOT NULL) AND message_blob IS NOT NULL
            """,
            new { id }, cancellationToken: cancellationToken));
        return row is { } r ? new QueuedTransmission(id, r.Kind, r.Dispatch, r.Agency, r.Recipient, r.Blob, r.Entry, new DateTimeOffset(r.Queued, TimeSpan.Zero)) : null;
    }
}

/// <summary>Octets of our own, then a stream: one seekable message. The SMTP client reads it twice, once to inspect and once to send.</summary>
internal sealed class PrefixedStream(byte[] prefix, Stream rest) : Stream
{
    private long _position;

    public override bool CanRead => true;

    public override bool CanSeek => true;

    public override bool CanWrite => false;

    public override long Length => prefix.Length + rest.Length;

    public override long Position
    {
        get => _position;
        set => _position = value;
    }

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        int read;
        if (_position < prefix.Length)
        {
            read = (int)Math.Min(buffer.Length, prefix.Length - _position);
            prefix.AsSpan((int)_position, read).CopyTo(buffer.Span);
        }
        else
        {
            rest.Position = _position - prefix.Length;
            read = await rest.ReadAsync(buffer, cancellationToken);
        }

        _position += read;
        return read;
    }

    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException("Read asynchronously.");

    public override long Seek(long offset, SeekOrigin origin) => Position = origin switch
    {
        SeekOrigin.Begin => offset,
        SeekOrigin.Current => _position + offset,
        _ => Length + offset,
    };

    public override void Flush()
    {
        // Nothing is written here.
    }

    public override void SetLength(long value) => throw new NotSupportedException();

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            rest.Dispose();
        }

        base.Dispose(disposing);
    }
}
