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
    ClockWatch clock, SendRecorder recorder, DeliveryOptions options, DirectoryOptions self, TimeProvider time)
{
    private readonly RecentCheckpointSizes _shown = new();

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
        var address = (recipient?.NameAt(time.GetUtcNow()) ?? recipient?.LastName)?.Address;
        if (recipient is null || address is null || directory.FindGateway(recipient.Record.Gateway) is not { } gateway)
        {
            return (
                null,
                await recorder.FailAsync(
                    item, transmission, ReasonCode.RecipientNotInDirectory, null, cancellationToken));
        }

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

/// <summary>A transmission with its work and where it goes.</summary>
/// <param name="Address">The recipient agency's address now.</param>
internal sealed record Addressed(
    WorkItem Item, QueuedTransmission Transmission, GatewayRecord Gateway, string Address);
