using System.Net;
using Npgsql;
using SecureMail.Exchange;
using SecureMail.Gateway.Clock;
using SecureMail.Gateway.Directories;
using SecureMail.Gateway.Registers;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Ledger;
using SecureMail.LedgerStore;
using SecureMail.Mail.Smtp.Messages;
using SecureMail.Mail.Smtp.Server;
using SecureMail.Storage;
using SecureMail.Storage.Queue;

namespace SecureMail.Gateway.Inbound;

/// <summary>
/// Mail → received: the bytes as they came, a row for each recipient, the ledger entry and the work to validate the
/// message are committed before the reply 250. Until then the sender still has the message; from then on it is ours.
/// </summary>
internal sealed class Receive(
    GatewayDatabase database, BlobStore blobs, DirectoryStore directories, ClockWatch clock, DirectoryOptions options,
    TimeProvider time)
{
    /// <summary>RCPT: only agencies of the directory that this gateway serves, and its administrator.</summary>
    public async Task<RecipientDecision> DecideRecipientAsync(string address, CancellationToken cancellationToken)
    {
        var now = time.GetUtcNow();
        // What is known is at most a second old. Whom it does not name, a version of this second may name.
        if (directories.Known is { } known && FindAddressee(known, address, now) is not null)
        {
            return RecipientDecision.Accepted;
        }

        var directory = await directories.CurrentAsync(cancellationToken);
        return FindAddressee(directory, address, now) is not null ? RecipientDecision.Accepted
            // Names are dated. By a wrong clock an agency may not exist yet, or may have ended.
            : clock.IsDoubted ? RecipientDecision.ClockDoubted
            : RecipientDecision.Unknown;
    }

    /// <summary>DATA: opens the transaction that the message is received in.</summary>
    public async Task<Reception> OpenAsync(SmtpEnvelope envelope, CancellationToken cancellationToken)
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

    /// <summary>A message of this gateway itself, for agencies that it serves, by no connection at all.</summary>
    /// <param name="seen">From which sizes of our own ledger the message brings proofs.</param>
    public async Task TakeHereAsync(
        string? from, IReadOnlyList<string> recipients, IReadOnlyList<long> seen, Stream message,
        CancellationToken cancellationToken)
    {
        var session = new SmtpSessionInfo(
            Guid.CreateVersion7().ToString(),
            new SmtpPeer(new IPEndPoint(IPAddress.Loopback, 0), IsTls: false, options.Name), options.Name,
            [$"{EvidenceField.Capability} {string.Join(' ', seen)}".TrimEnd()]);
        await using var reception = await OpenAsync(
            new SmtpEnvelope(session, new MailFrom(from, null, false), [.. recipients.Select(r => new RcptTo(r))]),
            cancellationToken);
        var buffer = new byte[64 * 1024];
        while (await message.ReadAsync(buffer, cancellationToken) is > 0 and var read)
        {
            await reception.WriteAsync(buffer.AsMemory(0, read), cancellationToken);
        }

        await reception.CommitAsync(cancellationToken);
    }

    /// <summary>The agency that an address is of, or <see cref="DirectoryStore.GatewayItself"/>; null for an address of
    /// nobody here.</summary>
    private Guid? FindAddressee(DirectorySnapshot directory, string address, DateTimeOffset at) =>
        directory.FindByAddress(address, at) is { } agency && agency.GatewayAt(at) == options.Name ? agency.Id
        : IsPostmaster(directory, address, at) ? DirectoryStore.GatewayItself
        : null;

    /// <summary>RFC 5321 §4.5.1: mail to postmaster is taken, in any case of letters, without a domain and with each
    /// domain that mail is taken for: the gateway's own, and those of the agencies that it serves.</summary>
    private bool IsPostmaster(DirectorySnapshot directory, string address, DateTimeOffset at)
    {
        var (local, domain) = address.LastIndexOf('@') is >= 0 and var sign
            ? (address[..sign], address[(sign + 1)..])
            : (address, null);
        return local.Equals("postmaster", StringComparison.OrdinalIgnoreCase)
            && (domain is null
                || domain.Equals(options.Name, StringComparison.OrdinalIgnoreCase)
                || directory
                    .Agencies.Where(a => a.GatewayAt(at) == options.Name)
                    .SelectMany(a => a.Record.Names)
                    .Any(n => n.Address.EndsWith("@" + domain, StringComparison.OrdinalIgnoreCase)));
    }

    private async Task CommitAsync(
        SmtpEnvelope envelope, NpgsqlTransaction transaction, StoredBlob blob, CancellationToken cancellationToken)
    {
        var now = time.GetUtcNow();
        // This is the snapshot that RCPT went by. Asking the database would take a second connection while this
        // reception holds one, and enough receptions at once would wait for one another.
        var directory = directories.Known ?? await directories.CurrentAsync(cancellationToken);
        var received = Guid.CreateVersion7(now);
        var salt = Commitment.NewSalt();
        List<NewIncoming> recipients =
        [
            .. envelope.Recipients
                .DistinctBy(r => r.Address, StringComparer.OrdinalIgnoreCase)
                .Select(r => new NewIncoming(
                    Guid.CreateVersion7(now),
                    FindAddressee(directory, r.Address, now)
                        ?? throw new InvalidOperationException("The directory changed between RCPT and DATA's end."),
                    r.Address)),
        ];
        await IncomingTable.AddReceivedAsync(
            transaction, received, envelope.Session.Peer.Id ?? "", envelope.From.Address ?? "", blob.Id, salt,
            EvidenceField.AskedIn(envelope.Session.AnnouncedLines), now, recipients, cancellationToken);
        foreach (var recipient in recipients)
        {
            await StoredLedger.AppendFirstAsync(
                transaction,
                new LedgerEntry
                {
                    Time = now,
                    Agency = recipient.Agency,
                    Kind = EntryKind.MessageReceived,
                    Object = recipient.Id.ToString(),
                    Commitments = new Dictionary<string, string> { ["octets"] = Commitment.Of(salt, blob.Sha256) },
                },
                cancellationToken);
        }

        await WorkQueue.EnqueueAsync(
            transaction, WorkKind.Validate, [.. recipients.Select(r => new NewWork(r.Id, null, null))],
            awaitsEntry: null, cancellationToken);
        if (envelope.Session.Peer.Id is { } peer)
        {
            await DestinationQueues.CalledAsync(transaction, peer, cancellationToken);
        }

        // The commit point of reception: only after it may 250 be answered.
        await transaction.CommitAsync("inbound.receive", cancellationToken);
    }

    /// <summary>One message that is being taken: an open transaction and the blob that it fills.</summary>
    public sealed class Reception(
        Receive step, SmtpEnvelope envelope, NpgsqlConnection connection, NpgsqlTransaction transaction,
        BlobWriter blob) : IAsyncDisposable
    {
        public ValueTask WriteAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken) =>
            blob.Content.WriteAsync(bytes, cancellationToken);

        /// <summary>When this returns, the message is ours.</summary>
        public async Task CommitAsync(CancellationToken cancellationToken) =>
            await step.CommitAsync(envelope, transaction, await blob.FinishAsync(cancellationToken), cancellationToken);

        /// <summary>Gives the message up. The transaction is disposed and not rolled back, because a server that ran
        /// out of disk closes the connection and a rollback would fail.</summary>
        public async Task AbortAsync() => await transaction.DisposeAsync();

        public async ValueTask DisposeAsync()
        {
            await blob.DisposeAsync();
            await transaction.DisposeAsync();
            await connection.DisposeAsync();
        }
    }
}

/// <summary>Whether this gateway takes mail for an address.</summary>
internal enum RecipientDecision
{
    Accepted,

    /// <summary>No agency that this gateway serves has the address.</summary>
    Unknown,

    /// <summary>The clock is doubted and names are dated; the sender comes again.</summary>
    ClockDoubted,
}
