using Dapper;
using Npgsql;
using SecureMail.Exchange;
using SecureMail.Gateway.Clock;
using SecureMail.Gateway.Directories;
using SecureMail.Gateway.Health;
using SecureMail.Gateway.Registers;
using SecureMail.Ledger;
using SecureMail.LedgerStore;
using SecureMail.Mail;
using SecureMail.Storage;
using SecureMail.Storage.Queue;

namespace SecureMail.Gateway.Inbound;

/// <summary>
/// Mail → received: the octets as they came, a row for each recipient, the ledger entry and the work to judge it are
/// committed before the answer 250. Until then the sender still has the message; from then on it is ours.
/// </summary>
internal sealed class Receive(
    GatewayDatabase database, BlobStore blobs, DirectoryStore directories, Admission admission, ClockWatch clock,
    GatewayOptions options, TimeProvider time)
{
    /// <summary>RCPT: only for agencies of the directory that this gateway serves.</summary>
    public async Task<SmtpReply> RecipientAsync(string address, CancellationToken cancellationToken)
    {
        var directory = await directories.CurrentAsync(cancellationToken);
        var agency = directory.FindByAddress(address, time.GetUtcNow());
        return agency is not null && agency.Record.Gateway == options.Name ? new SmtpReply(250, "2.1.5", "Recipient ok")
            // Names are dated: by a clock that is wrong an agency may not exist yet, or any more.
            : clock.IsDoubted ? new SmtpReply(451, "4.3.0", "The clock here is wrong; try again later")
            : new SmtpReply(550, "5.1.1", "No agency here has this address");
    }

    /// <summary>DATA: a reception whose commit is the commit.</summary>
    public async Task<SmtpReception> OpenAsync(SmtpEnvelope envelope, CancellationToken cancellationToken)
    {
        var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        try
        {
            var transaction = await connection.BeginTransactionAsync(cancellationToken);
            return new Reception(this, envelope, connection, transaction, blobs.Create(transaction));
        }
        catch
        {
            await connection.DisposeAsync();
            throw;
        }
    }

    private async Task CommitAsync(
        SmtpEnvelope envelope, NpgsqlTransaction transaction, StoredBlob blob, CancellationToken cancellationToken)
    {
        var now = time.GetUtcNow();
        // The snapshot that RCPT went by: asking the database would take a second connection while this reception holds
        // one, and enough receptions at once would wait for one another.
        var directory = directories.Known ?? await directories.CurrentAsync(cancellationToken);
        var received = Guid.CreateVersion7(now);
        var salt = Commitment.NewSalt();
        await transaction.Connection!.ExecuteAsync(
            new CommandDefinition(
                "INSERT INTO gateway.received (received_id, peer, envelope_from, blob_id, salt, received_at, proof_asked) VALUES (@received, @Peer, @From, @Blob, @salt, @now, @Asked)",
                new
                {
                    received,
                    Peer = envelope.Session.Peer.Id ?? "",
                    From = envelope.From.Address ?? "",
                    Blob = blob.Id,
                    salt,
                    now = now.UtcDateTime,
                    Asked = EvidenceField.AskedIn(envelope.Session.Announced),
                },
                transaction,
                cancellationToken: cancellationToken));
        foreach (var recipient in envelope.Recipients.DistinctBy(r => r.Address, StringComparer.OrdinalIgnoreCase))
        {
            var agency = directory.FindByAddress(recipient.Address, now)
                ?? throw new InvalidOperationException("The directory changed between RCPT and the end of DATA.");
            var incoming = Guid.CreateVersion7(now);
            await transaction.Connection!.ExecuteAsync(
                new CommandDefinition(
                    $"INSERT INTO gateway.incoming (incoming_id, received_id, agency_id, address, state) VALUES (@incoming, @received, @Agency, @Address, '{IncomingState.Received}')",
                    new
                    {
                        incoming,
                        received,
                        Agency = agency.Id,
                        recipient.Address,
                    },
                    transaction,
                    cancellationToken: cancellationToken));
            await StoredLedger.AppendAsync(
                transaction,
                new LedgerEntry
                {
                    Time = now,
                    Agency = agency.Id,
                    Kind = EntryKind.MessageReceived,
                    Object = incoming.ToString(),
                    Commitments = new Dictionary<string, string> { ["octets"] = Commitment.Of(salt, blob.Sha256) },
                },
                cancellationToken);
            await WorkQueue.EnqueueAsync(transaction, WorkKind.Validate, incoming, cancellationToken: cancellationToken);
        }

        if (envelope.Session.Peer.Id is { } peer)
        {
            await DestinationQueues.CalledAsync(transaction, peer, cancellationToken);
        }

        // The commit point of reception: only after it may 250 be answered.
        await transaction.CommitAsync("inbound.receive", cancellationToken);
    }

    /// <summary>RFC 5321 §4.2.3: 452, insufficient system storage; the sender keeps the message.</summary>
    private SmtpRefusalException Full(PostgresException e)
    {
        admission.SawDiskFull();
        return new SmtpRefusalException(new SmtpReply(452, "4.3.1", "The disk is full, try again later"), e);
    }

    private sealed class Reception(
        Receive step, SmtpEnvelope envelope, NpgsqlConnection connection, NpgsqlTransaction transaction,
        BlobWriteStream blob) : SmtpReception
    {
        public override async Task WriteAsync(ReadOnlyMemory<byte> octets, CancellationToken cancellationToken)
        {
            try
            {
                await blob.WriteAsync(octets, cancellationToken);
            }
            catch (PostgresException e) when (e.SqlState == PostgresErrorCodes.DiskFull)
            {
                throw step.Full(e);
            }
        }

        public override async Task<SmtpReply> CommitAsync(CancellationToken cancellationToken)
        {
            try
            {
                await step.CommitAsync(
                    envelope, transaction, await blob.FinishAsync(cancellationToken), cancellationToken);
                return new SmtpReply(250, "2.6.0", "Taken and kept");
            }
            catch (PostgresException e) when (e.SqlState == PostgresErrorCodes.DiskFull)
            {
                throw step.Full(e);
            }
        }

        // Disposal rolls back where there is something to roll back: a server that ran out of disk takes the connection
        // with it, and asking it fails.
        public override async Task AbortAsync() => await transaction.DisposeAsync();

        public override async ValueTask DisposeAsync()
        {
            await blob.DisposeAsync();
            await transaction.DisposeAsync();
            await connection.DisposeAsync();
            await base.DisposeAsync();
        }
    }
}
