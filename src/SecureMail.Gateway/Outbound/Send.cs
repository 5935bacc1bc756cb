using System.Collections.Concurrent;
using SecureMail.Exchange;
using SecureMail.Gateway.Clock;
using SecureMail.Gateway.Directories;
using SecureMail.Gateway.Keys;
using SecureMail.Gateway.Registers;
using SecureMail.Gateway.Vocabulary;
using SecureMail.LedgerStore;
using SecureMail.Mail.Smtp.Client;
using SecureMail.Storage;
using SecureMail.Storage.Queue;

namespace SecureMail.Gateway.Outbound;

/// <summary>
/// Queued → sent | unknown: takes one message to one gateway, for all of its agencies that the message is meant for,
/// over mutual TLS with the key that the directory pins, with the proof that a checkpoint covers it.
/// </summary>
/// <remarks>
/// A connection that is lost after the final dot leaves the transmissions unknown, and they are sent again, because the
/// other side can tell a duplicate and nobody can tell a loss. <see cref="SendResult"/> says what an answer means;
/// <see cref="SendRecorder"/> writes it down.
/// </remarks>
internal sealed class Send(
    GatewayDatabase database, BlobStore blobs, DirectoryStore directories, GatewayIdentity identity, PeerLedger peers,
    ClockWatch clock, SendRecorder recorder, TakeHere takeHere, DeliveryOptions options, DirectoryOptions self,
    TimeProvider time)
{
    // A peer admits few connections of one address before TLS (SmtpServerLimits.ConnectionsPerAddress), and another
    // node of ours may have the same address.
    private const int OpeningAtOnce = 2;

    private readonly RecentCheckpointSizes _shown = new();
    private readonly ConcurrentDictionary<string, SemaphoreSlim> _opening = new(StringComparer.Ordinal);

    public async Task<WorkOutcome> SendAsync(WorkItem item, CancellationToken cancellationToken)
    {
        var ids = item.All.Select(i => i.Subject).ToArray();
        var transmissions = await LoadAsync(ids, cancellationToken);
        if (transmissions.Values.Any(t => t.IsTooOld))
        {
            // A clock that leapt this very second may have made the transmission old. Look at the clocks and ask again.
            await clock.LookAsync(cancellationToken);
            transmissions = await LoadAsync(ids, cancellationToken);
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
                .GroupBy(a => (a.Gateway.Name, a.Transmission.MessageBlob, a.Transmission.PrefixOf))
                .Select(g => g.ToList()))
        {
            var results = await AttemptAsync(mail, ReturnPath(mail[0].Transmission, directory), cancellationToken);
            outcomes.AddRange(await recorder.ApplyResultsAsync(mail, results, cancellationToken));
        }

        return new WorkOutcome.Each(outcomes);
    }

    private async Task<IReadOnlyDictionary<Guid, QueuedTransmission>> LoadAsync(
        Guid[] ids, CancellationToken cancellationToken)
    {
        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        return await TransmissionTable.LoadQueuedAsync(connection, ids, options.GiveUpAfter, cancellationToken);
    }

    /// <summary>Where a transmission goes; or its outcome, where it goes nowhere now.</summary>
    private async Task<(Addressed? Ready, WorkOutcome? Outcome)> AddressAsync(
        WorkItem item, QueuedTransmission? transmission, DirectorySnapshot directory,
        CancellationToken cancellationToken)
    {
        if (transmission is null)
        {
            return (null, await item.DropAsync(database.Source, cancellationToken));
        }

        var recipient = directory.Find(transmission.RecipientId);
        if (recipient is null)
        {
            return (
                null,
                await recorder.FailAsync(
                    item, transmission, ReasonCode.RecipientNotInDirectory, null, cancellationToken));
        }

        var now = time.GetUtcNow();
        var address = (recipient.NameAt(now) ?? recipient.LastName).Address;
        var gateway = directory.GatewayOf(recipient, now);
        if (transmission.IsTooOld)
        {
            return (null, await recorder.FailAsync(item, transmission, ReasonCode.GivenUp, null, cancellationToken));
        }

        // An older node wrote the row, or the agency moved to another gateway meanwhile. The transmission waits in the
        // queue of the gateway that serves the agency now.
        return item.Destination != gateway.Name
            ? (null, new WorkOutcome.Move(gateway.Name))
            : (new Addressed(item, transmission, gateway, address), null);
    }

    /// <summary>Answers one result for each, in order. What was delivered is recorded already.</summary>
    private async Task<IReadOnlyList<SendResult>> AttemptAsync(
        IReadOnlyList<Addressed> mail, string? from, CancellationToken cancellationToken)
    {
        var (first, gateway) = (mail[0].Transmission, mail[0].Gateway);
        if (gateway.Name == self.Name)
        {
            return await DeliverHereAsync(mail, from, cancellationToken);
        }

        SmtpClient client;
        try
        {
            client = await ConnectAsync(gateway, cancellationToken);
        }
        catch (SmtpException e)
        {
            return [.. mail.Select(_ => SendResult.NoSession(e))];
        }

        IReadOnlyList<SmtpRecipientResult> answers;
        await using (client)
        {
            client.Capabilities.Has(EvidenceField.Capability, out var seen);
            if (client.Capabilities.Has(DirectoryStore.Capability, out var directory))
            {
                await directories.CompareAsync(gateway.Name, directory, cancellationToken);
            }

            await using var message = await OpenAsync(
                first, await FieldAsync(first, gateway, EvidenceField.ReadSizes(seen), cancellationToken),
                cancellationToken);
            // Check the leases again just before DATA. If the connection was slow, another node may own this work by
            // now.
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
                // The commit comes before QUIT, because a lost connection must not undo what the peer has taken.
                await recorder.RecordDeliveredAsync(delivered, cancellationToken);
            }
        }

        return [.. answers.Select(SendResult.Of)];
    }

    private async Task<SmtpClient> ConnectAsync(GatewayRecord gateway, CancellationToken cancellationToken)
    {
        var opening = _opening.GetOrAdd(gateway.Name, _ => new SemaphoreSlim(OpeningAtOnce));
        await opening.WaitAsync(cancellationToken);
        try
        {
            return await SmtpClient.ConnectAsync(
                identity.CallTo(gateway, self.Name, options.SmtpTimeouts, time), time, cancellationToken);
        }
        finally
        {
            opening.Release();
        }
    }

    /// <summary>A message for agencies that this gateway serves itself does not leave the process, because the listener
    /// takes nobody with our own key for a peer. It is received, validated and recorded like any other.</summary>
    private async Task<IReadOnlyList<SendResult>> DeliverHereAsync(
        IReadOnlyList<Addressed> mail, string? from, CancellationToken cancellationToken)
    {
        var (first, gateway) = (mail[0].Transmission, mail[0].Gateway);
        IReadOnlyList<long> seen;
        await using (var connection = await database.Source.OpenConnectionAsync(cancellationToken))
        {
            seen = await PeerLedger.SeenSizesAsync(connection, self.Name, cancellationToken);
        }

        await using var message = await OpenAsync(
            first, await FieldAsync(first, gateway, seen, cancellationToken), cancellationToken);
        await WorkItem.RequireLeasesAsync([.. mail.Select(m => m.Item)], database.Source, cancellationToken);
        // Between the commit of the reception and that of its record a crash sends again, and the duplicate is told.
        await takeHere(from, [.. mail.Select(m => m.Address)], seen, message, cancellationToken);
        await recorder.RecordDeliveredAsync(mail, cancellationToken);
        return [.. mail.Select(_ => new SendResult(SmtpOutcome.Delivered, HostState.Answered, null))];
    }

    // RFC 8098 §3: a report has a null return path, so that no report answers a report.
    private string? ReturnPath(QueuedTransmission transmission, DirectorySnapshot directory) =>
        transmission.Kind == TransmissionKind.Receipt
            ? null
            : directory.Find(transmission.AgencyId)?.NameAt(time.GetUtcNow())?.Address;

    /// <summary>The mail that leaves: the ledger's header field, the RecipientInfos prefix that has this recipient, and
    /// the body that stands behind every prefix.</summary>
    private async Task<Stream> OpenAsync(
        QueuedTransmission transmission, byte[] field, CancellationToken cancellationToken)
    {
        // Without a prefix of its own the transmission takes the whole message, whose prefix has every recipient.
        var (prefix, bodyOffset) = (
            transmission.PrefixOf is { } own
                ? await PrefixAsync(transmission.MessageBlob, own, cancellationToken)
                : null
        ) ?? ([], 0);
        return new ConcatenatedStream(
            [.. field, .. prefix], await blobs.OpenAsync(transmission.MessageBlob, cancellationToken), bodyOffset);
    }

    private async Task<(byte[] Prefix, long BodyOffset)?> PrefixAsync(
        Guid message, string gateway, CancellationToken cancellationToken)
    {
        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        return await TransmissionTable.FindPrefixAsync(connection, message, gateway, cancellationToken);
    }

    /// <summary>The header field with the proof that our ledger has the message's entry, and with our cosignature of
    /// the peer's ledger.</summary>
    private async Task<byte[]> FieldAsync(
        QueuedTransmission transmission, GatewayRecord gateway, IReadOnlyList<long> seenSizes,
        CancellationToken cancellationToken)
    {
        // A crash before this commit loses a cosignature that nobody has seen.
        var evidence = await database.Source.InTransactionAsync(
            "send.evidence",
            async transaction =>
            {
                var cosignature = await peers.CosignHighestAsync(transaction, gateway.Name, cancellationToken);
                return await EvidenceBuilder.BuildAsync(
                    transaction.Connection!, transmission.EntryId, _shown.ProofsFor(gateway.Name, seenSizes),
                    cosignature is null ? [] : [cosignature], cancellationToken);
            },
            cancellationToken);
        _shown.Add(gateway.Name, evidence.Checkpoint.Size);
        return EvidenceField.Write(evidence);
    }
}

/// <summary>Receives a message of this gateway for agencies that it serves itself; when it returns, the message is
/// received.</summary>
/// <param name="seen">From which sizes of our own ledger the message brings proofs.</param>
internal delegate Task TakeHere(
    string? from, IReadOnlyList<string> recipients, IReadOnlyList<long> seen, Stream message,
    CancellationToken cancellationToken);

/// <summary>A transmission with its work and where it goes.</summary>
/// <param name="Address">The recipient agency's address now.</param>
internal sealed record Addressed(
    WorkItem Item, QueuedTransmission Transmission, GatewayRecord Gateway, string Address);
