using System.Security.Cryptography;
using Npgsql;
using SecureMail.Exchange;
using SecureMail.Gateway.Clock;
using SecureMail.Gateway.Directories;
using SecureMail.Gateway.Policy;
using SecureMail.Gateway.Registers;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Ledger;
using SecureMail.LedgerStore;
using SecureMail.Storage;
using SecureMail.Storage.Queue;

namespace SecureMail.Gateway.Outbound;

/// <summary>
/// Submission → accepted. The encrypted documents, the manifest, the number, a row for each addressee, the ledger entry
/// and the work to sign and encrypt are one transaction: after its commit the clerk may be told; before it nothing was
/// there.
/// </summary>
internal sealed class Accept(
    GatewayDatabase database, BlobStore blobs, CardCipher cards, DirectoryStore directories, SendingPolicy policy,
    ClockWatch clock, DeliveryOptions options, TimeProvider time)
{
    /// <exception cref="SubmissionRefusedException">The dispatch as a whole cannot be sent; nothing was
    /// kept.</exception>
    /// <exception cref="StorageUnavailableException">The commit's answer was lost and the database cannot be asked: it
    /// may have been kept.</exception>
    public async Task<SubmissionAnswer> AcceptAsync(Submission submission, CancellationToken cancellationToken)
    {
        var now = time.GetUtcNow();
        try
        {
            await clock.RequireYearAsync(now, cancellationToken);
        }
        catch (ClockSuspectException e)
        {
            throw new SubmissionRefusedException(e.Message);
        }

        var directory = await directories.CurrentAsync(cancellationToken);
        var sender = directory.FindByCode(submission.Sender, now)
            ?? throw new SubmissionRefusedException(ReasonCode.SenderUnknown, submission.Sender);
        var dispatch = RepeatedSubmission.IdOf(submission, now);
        SubmissionAnswer? answer = null;
        var (isRepeated, isCommitting) = (false, false);
        try
        {
            // From this commit on the dispatch is ours to deliver; a crash before it leaves nothing, and the clerk was
            // told nothing.
            await database.Source.InTransactionAsync(
                "outbound.accept",
                async transaction =>
                {
                    // Whoever asks about this id waits until this transaction has ended, one way or the other.
                    await AdvisoryLock.Dispatch(dispatch).TakeAsync(transaction, cancellationToken);
                    answer = submission.DispatchId is null
                        ? null
                        : await RepeatedSubmission.FindAsync(
                            transaction, dispatch, sender, directory, now, cancellationToken);
                    isRepeated = answer is not null;
                    answer ??= await AcceptAsync(
                        transaction, submission, dispatch, sender, directory, now, cancellationToken);
                    isCommitting = true;
                },
                cancellationToken);
        }
        catch (Exception e) when (isCommitting && DatabaseFault.Is(e))
        {
            // COMMIT was sent and its answer lost: the database alone knows.
            if (!await RepeatedSubmission.WasAcceptedAsync(database, dispatch, e, cancellationToken))
            {
                throw;
            }
        }

        if (isRepeated)
        {
            await database.WaitForDurabilityAsync(cancellationToken);
        }

        return answer!;
    }

    private async Task<SubmissionAnswer> AcceptAsync(
        NpgsqlTransaction transaction, Submission submission, Guid dispatch, Agency sender,
        DirectorySnapshot directory, DateTimeOffset now, CancellationToken cancellationToken)
    {
        var connection = transaction.Connection!;
        if (await policy.MaySendAsync(connection, sender, submission.Fields.Secrecy, cancellationToken) is { } refused)
        {
            throw new SubmissionRefusedException(refused);
        }

        var recipients = await ResolveAsync(
            connection, directory, sender, submission.Recipients, now, cancellationToken);
        if (recipients.All(r => r.Refusal is not null))
        {
            throw recipients is [{ Refusal: { } only }]
                ? new SubmissionRefusedException(only)
                : new SubmissionRefusedException(ReasonCode.NoRecipient);
        }

        // The number is drawn last: it holds the register's counter to the commit, and documents may come slowly.
        var documents = await StoreAsync(transaction, submission.Documents, cancellationToken);
        var (number, series) = await NumberAsync(transaction, sender, submission, now, cancellationToken);
        var manifest = new Manifest
        {
            DispatchId = dispatch,
            Issued = now,
            Sender = PartyOf(sender, now),
            Recipients =
            [
                .. recipients.Where(r => r.Refusal is null).Select(r =>
                    PartyOf(r.Agency!, now) with { Attention = submission.Attention.GetValueOrDefault(r.Code) }),
            ],
            Fields = submission.Fields with { Number = number.ToString() },
            Documents = [.. documents.Select(d => d.Digest)],
            Salt = Commitment.NewSalt(),
            Action = submission.Action,
            RelatesTo = submission.RelatesTo,
            Series = new SeriesName(series.Body, series.Type, series.Period),
            DeliverAt = submission.DeliverAt,
            // A reader of an earlier build would take a recall for a document.
            Crit = submission.Action == DispatchAction.New ? null : ["action"],
        };
        if (!DispatchAction.All.Contains(manifest.Action))
        {
            throw new SubmissionRefusedException(ReasonCode.FieldInvalid, "action");
        }

        if (manifest.Validate() is { } field)
        {
            throw new SubmissionRefusedException(ReasonCode.FieldInvalid, field);
        }

        await WriteAsync(transaction, manifest, series, documents, submission.By, now, cancellationToken);
        await TransmissionTable.InsertAsync(
            transaction, dispatch, sender.Id,
            [.. recipients.Select(r => new NewTransmission(r.Agency?.Id, r.Code, r.Refusal?.Code))], now,
            cancellationToken);
        await WorkQueue.EnqueueAsync(
            transaction, WorkKind.SignAndEncrypt, dispatch, cancellationToken: cancellationToken);
        return new SubmissionAnswer(
            dispatch,
            manifest.Fields.Number,
            [
                .. recipients.Select(r => new SubmissionRecipient(
                    r.Code, r.Agency?.NameAt(now)?.Name ?? r.Agency?.LastName.Name, r.Refusal)),
            ]);
    }

    private async Task<List<Named>> ResolveAsync(
        NpgsqlConnection connection, DirectorySnapshot directory, Agency sender, IReadOnlyList<string> codes,
        DateTimeOffset now, CancellationToken cancellationToken)
    {
        var routes = await policy.RoutesAsync(connection, directory, sender, cancellationToken);
        List<Named> named = [];
        foreach (var code in codes.Distinct(StringComparer.Ordinal))
        {
            var agency = directory.FindByCode(code, now) ?? directory.FindEverByCode(code);
            var refusal = agency is null
                ? Refusal.Of(ReasonCode.RecipientUnknown, code)
                : routes.MayReach(agency);
            named.Add(new Named(code, agency, refusal));
        }

        return named;
    }

    private static async Task<(NumberAndNotation Number, NumberSeries Series)> NumberAsync(
        NpgsqlTransaction transaction, Agency sender, Submission submission, DateTimeOffset now,
        CancellationToken cancellationToken)
    {
        if (submission.Number is not null)
        {
            var given = NumberAndNotation.TryParse(submission.Number)
                ?? throw new SubmissionRefusedException(ReasonCode.NumberInvalid);
            var series = await Register.HoldAsync(transaction, sender.Id, given, now, cancellationToken);
            return await Register.IsTakenAsync(transaction, series, given.Value, cancellationToken)
                ? throw new SubmissionRefusedException(ReasonCode.NumberTaken, submission.Number)
                : (given, series);
        }

        var notation = submission.Notation ?? "CV";
        return NumberAndNotation.IsNotation(notation)
            ? await Register.DrawOutgoingAsync(transaction, sender.Id, notation, now, cancellationToken)
            : throw new SubmissionRefusedException(ReasonCode.NumberInvalid);
    }

    private async Task<List<StoredDocument>> StoreAsync(
        NpgsqlTransaction transaction, IAsyncEnumerable<SubmittedDocument> documents,
        CancellationToken cancellationToken)
    {
        List<StoredDocument> stored = [];
        long total = 0;
        await foreach (var document in documents.WithCancellation(cancellationToken))
        {
            await using var content = document.Open();
            var blob = await blobs.WriteAsync(transaction, content, cancellationToken);
            total += blob.Length;
            // base64 adds a third, twice: once for the signed part, once for the envelope.
            if (total / 9 * 16 > options.LargestMessage)
            {
                throw new SubmissionRefusedException(ReasonCode.TooLarge, options.LargestMessage >> 20);
            }

            stored.Add(
                new StoredDocument(
                    blob.Id, new DocumentDigest(document.Name, document.MediaType, blob.Length, blob.Sha256)));
        }

        return stored;
    }

    /// <summary>The manifest, the ledger entry that commits to it, and the dispatch's row.</summary>
    private async Task WriteAsync(
        NpgsqlTransaction transaction, Manifest manifest, NumberSeries series, List<StoredDocument> documents,
        Authority? by, DateTimeOffset now, CancellationToken cancellationToken)
    {
        var bytes = manifest.ToBytes();
        var blob = await blobs.WriteAsync(transaction, new MemoryStream(bytes), cancellationToken);
        var entry = await StoredLedger.AppendAsync(
            transaction,
            new LedgerEntry
            {
                Time = now,
                Agency = manifest.Sender.Id,
                Kind = EntryKind.DispatchAccepted,
                Object = manifest.DispatchId.ToString(),
                Actor = by?.Actor,
                Grant = by?.Grant,
                Commitments = new Dictionary<string, string>
                {
                    ["manifest"] = Commitment.Of(manifest.Salt, SHA256.HashData(bytes)),
                },
            },
            cancellationToken);
        await OutgoingTable.InsertAsync(
            transaction, manifest, series, DispatchCard.Of(manifest).Encrypt(cards, manifest.DispatchId), blob.Id,
            [.. documents.Select(d => d.Blob)], entry.EntryId, now, cancellationToken);
    }

    private static Party PartyOf(Agency agency, DateTimeOffset now) =>
        agency.NameAt(now) is { } name
            ? new Party(agency.Id, name.Code, name.Name)
            : throw new InvalidOperationException($"The agency {agency.Id} has no name at {now:O}.");

    /// <summary>Whom the clerk named, and why it cannot be reached, if so.</summary>
    private sealed record Named(string Code, Agency? Agency, Refusal? Refusal);

    private sealed record StoredDocument(Guid Blob, DocumentDigest Digest);
}
