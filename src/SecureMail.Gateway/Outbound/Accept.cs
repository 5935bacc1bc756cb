using System.Security.Cryptography;
using Dapper;
using Npgsql;
using SecureMail.Exchange;
using SecureMail.Gateway.Clock;
using SecureMail.Gateway.Directories;
using SecureMail.Gateway.Policy;
using SecureMail.Gateway.Registers;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Gateway.Words;
using SecureMail.Ledger;
using SecureMail.LedgerStore;
using SecureMail.Storage;
using SecureMail.Storage.Queue;

namespace SecureMail.Gateway.Outbound;

/// <summary>
/// Submission → accepted. The documents (sealed), the manifest, the number, a row for each addressee, the ledger entry
/// and the work to be done are one transaction: after its commit the clerk may be told, before it nothing was there.
/// </summary>
internal sealed class Accept(
    GatewayDatabase database, BlobStore blobs, DirectoryStore directories, SendingPolicy policy, ClockWatch clock,
    DeliveryOptions options, TimeProvider time)
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
            throw Refuse(
                e.Message,
                "Đồng hồ của cổng đáng ngờ và đang ở một năm khác; chưa nhận gì. Hãy chỉnh giờ rồi gửi lại.",
                "The gateway's clock is doubted and shows another year; nothing was taken. Set it right and send again."
            );
        }

        var directory = await directories.CurrentAsync(cancellationToken);
        var sender = directory.FindByCode(submission.Sender, now)
            ?? throw Refuse(
                ReasonCode.SenderUnknown, $"Không có cơ quan gửi {submission.Sender} trong danh bạ.",
                $"The sending agency {submission.Sender} is not in the directory.");
        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        await using var transaction = await connection.BeginTransactionAsync(cancellationToken);
        var dispatchId = IdOf(submission, now);
        // Whoever asks about this id waits until this transaction has ended, one way or the other.
        await LockAsync(transaction, dispatchId, cancellationToken);
        if (
            submission.DispatchId is not null
            && await AcceptedBeforeAsync(connection, dispatchId, sender, directory, now, cancellationToken)
                is { } before)
        {
            await transaction.RollbackAsync(cancellationToken);
            await GatewayDatabase.WaitForDurabilityAsync(connection, cancellationToken);
            return before;
        }

        if (await policy.MaySendAsync(connection, sender, submission.Fields.Secrecy, cancellationToken) is { } refused)
        {
            throw new SubmissionRefusedException(refused);
        }

        var recipients = await ResolveAsync(
            connection, directory, sender, submission.Recipients, now, cancellationToken);
        if (recipients.All(r => r.Refusal is not null))
        {
            throw new SubmissionRefusedException(
                recipients is [{ Refusal: { } only }]
                    ? only
                    : Refuse(
                        ReasonCode.NoRecipient, "Không gửi được tới nơi nhận nào.",
                        "No addressee can be reached.").Refusal);
        }

        var number = await NumberAsync(transaction, sender, submission, now, cancellationToken);
        var documents = await StoreAsync(transaction, submission.Documents, cancellationToken);
        var manifest = new Manifest
        {
            DispatchId = dispatchId,
            Issued = now,
            Sender = PartyOf(sender, now),
            Recipients = [.. recipients.Where(r => r.Refusal is null).Select(r => PartyOf(r.Agency!, now))],
            Fields = submission.Fields with { Number = number.ToString() },
            Documents = [.. documents.Select(d => d.Digest)],
            Salt = Commitment.NewSalt(),
        };
        if (manifest.Validate() is { } field)
        {
            throw Refuse(
                ReasonCode.FieldInvalid, $"Trường \"{field}\" không hợp lệ.", $"The field \"{field}\" is not valid.");
        }

        var octets = manifest.ToBytes();
        var manifestBlob = await blobs.WriteAsync(transaction, new MemoryStream(octets), cancellationToken);
        var entry = await StoredLedger.AppendAsync(
            transaction,
            new LedgerEntry
            {
                Time = now,
                Agency = sender.Id,
                Kind = EntryKind.DispatchAccepted,
                Object = dispatchId.ToString(),
                Commitments = new Dictionary<string, string>
                {
                    ["manifest"] = Commitment.Of(manifest.Salt, SHA256.HashData(octets)),
                },
            },
            cancellationToken);
        await InsertAsync(
            transaction, manifest, sender, now, manifestBlob.Id, entry.EntryId, documents, cancellationToken);
        await InsertRecipientsAsync(transaction, dispatchId, sender.Id, recipients, now, cancellationToken);
        await WorkQueue.EnqueueAsync(
            transaction, WorkKind.SignAndEncrypt, dispatchId, cancellationToken: cancellationToken);

        // From this commit on the dispatch is ours to deliver; a crash before it leaves nothing, and the clerk was told
        // nothing.
        try
        {
            await transaction.CommitAsync("outbound.accept", cancellationToken);
        }
        catch (Exception e) when (e is NpgsqlException or IOException or TimeoutException)
        {
            if (!await WasCommittedAsync(dispatchId, e, cancellationToken))
            {
                throw;
            }
        }

        return new SubmissionAnswer(
            dispatchId,
            manifest.Fields.Number,
            [
                .. recipients.Select(r => new SubmissionRecipient(
                    r.Code, r.Agency?.NameAt(now)?.Name ?? r.Agency?.LastName.Name, r.Refusal)),
            ]);
    }

    private static Guid IdOf(Submission submission, DateTimeOffset now) =>
        submission.DispatchId is not { } chosen ? Guid.CreateVersion7(now)
        : chosen.Version == 7 ? chosen
        : throw Refuse(ReasonCode.IdInvalid, "Mã văn bản phải là UUIDv7.", "The dispatch's id must be a UUIDv7.");

    private static Task LockAsync(
        NpgsqlTransaction transaction, Guid dispatchId, CancellationToken cancellationToken) =>
        transaction.Connection!.ExecuteAsync(
            new CommandDefinition(
                "SELECT pg_advisory_xact_lock(hashtextextended(@id, 0))", new { id = "dispatch " + dispatchId },
                transaction, cancellationToken: cancellationToken));

    /// <summary>COMMIT was sent and its answer lost: the database alone knows. Asked on another connection, once the
    /// first is at its end there.</summary>
    private async Task<bool> WasCommittedAsync(Guid dispatchId, Exception lost, CancellationToken cancellationToken)
    {
        try
        {
            await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
            await using var transaction = await connection.BeginTransactionAsync(cancellationToken);
            await LockAsync(transaction, dispatchId, cancellationToken);
            var isThere = await connection.ExecuteScalarAsync<bool>(
                new CommandDefinition(
                    "SELECT EXISTS (SELECT FROM gateway.outgoing WHERE dispatch_id = @dispatchId)", new { dispatchId },
                    transaction, cancellationToken: cancellationToken));
            await transaction.RollbackAsync(cancellationToken);
            if (isThere)
            {
                await GatewayDatabase.WaitForDurabilityAsync(connection, cancellationToken);
            }

            return isThere;
        }
        catch (Exception e) when (e is NpgsqlException or IOException or TimeoutException)
        {
            throw new StorageUnavailableException(
                $"Mất kết nối cơ sở dữ liệu khi ghi; chưa rõ văn bản đã được tiếp nhận hay chưa. Hãy gửi lại với cùng "
                    + $"mã {dispatchId}. / The database was lost while writing, and whether the dispatch was accepted "
                    + $"is not known: send it again under the same id.",
                lost);
        }
    }

    private static async Task<SubmissionAnswer?> AcceptedBeforeAsync(
        NpgsqlConnection connection, Guid dispatchId, Agency sender, DirectorySnapshot directory, DateTimeOffset now,
        CancellationToken cancellationToken)
    {
        var row = await connection.QuerySingleOrDefaultAsync<(Guid Agency, string Number)?>(
            new CommandDefinition(
                "SELECT agency_id, number_text FROM gateway.outgoing WHERE dispatch_id = @dispatchId",
                new { dispatchId }, cancellationToken: cancellationToken));
        if (row is not { } found)
        {
            return null;
        }

        if (found.Agency != sender.Id)
        {
            throw Refuse(ReasonCode.IdTaken, "Mã văn bản đã được dùng.", "The dispatch's id is already used.");
        }

        var recipients = await connection.QueryAsync<(string Code, Guid? Id, string State, string? Reason)>(
            new CommandDefinition(
                $"""
                SELECT recipient_code, recipient_id, state, reason FROM gateway.transmission
                  WHERE kind = '{TransmissionKind.Dispatch}' AND dispatch_id = @dispatchId ORDER BY transmission_id
                """,
                new { dispatchId },
                cancellationToken: cancellationToken));
        return new SubmissionAnswer(
            dispatchId,
            found.Number,
            [
                .. recipients.Select(r => new SubmissionRecipient(
                    r.Code,
                    r.Id is { } id && directory.Find(id) is { } agency
                        ? (agency.NameAt(now) ?? agency.LastName).Name
                        : null,
                    r.State == TransmissionState.Failed
                        ? new Refusal(
                            r.Reason!, Catalogue.Reason(r.Reason!, Catalogue.Vietnamese),
                            Catalogue.Reason(r.Reason!, Catalogue.English))
                        : null)),
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
                ? new Refusal(
                    ReasonCode.RecipientUnknown, $"Không có cơ quan {code} trong danh bạ; hãy kiểm tra mã.",
                    $"The directory has no agency {code}: check the code.")
                : routes.MayReach(agency);
            named.Add(new Named(code, agency, refusal));
        }

        return named;
    }

    private static async Task<NumberAndNotation> NumberAsync(
        NpgsqlTransaction transaction, Agency sender, Submission submission, DateTimeOffset now,
        CancellationToken cancellationToken)
    {
        if (submission.Number is not null)
        {
            return NumberAndNotation.TryParse(submission.Number)
                ?? throw Refuse(
                    ReasonCode.NumberInvalid, "Số và ký hiệu không đúng dạng, ví dụ 36-HD/VPTW hoặc 15/QĐ-BNV.",
                    "The number and notation is not of the form 36-HD/VPTW or 15/QĐ-BNV.");
        }

        var notation = submission.Notation ?? "CV";
        if (!NumberAndNotation.IsNotation(notation))
        {
            throw Refuse(
                ReasonCode.NumberInvalid, "Ký hiệu không hợp lệ, ví dụ CV/TU.",
                "The notation is not valid; an example is CV/TU.");
        }

        var year = Register.YearOf(now);
        while (true)
        {
            var drawn = NumberAndNotation.Of(
                await Register.NextAsync(transaction, sender.Id, RegisterDirection.Outgoing, year, cancellationToken),
                '-', notation);
            var taken = await transaction.Connection!.ExecuteScalarAsync<bool>(
                new CommandDefinition(
                    "SELECT EXISTS (SELECT FROM gateway.outgoing WHERE agency_id = @Id AND number_year = @year AND "
                        + "number_text = @Text)",
                    new
                    {
                        sender.Id,
                        year,
                        Text = drawn.ToString(),
                    },
                    transaction,
                    cancellationToken: cancellationToken));
            // A number that a clerk gave by hand is part of the sequence: the register goes on behind it.
            if (!taken)
            {
                return drawn;
            }
        }
    }

    private async Task<List<StoredDocument>> StoreAsync(
        NpgsqlTransaction transaction, IReadOnlyList<SubmittedDocument> documents, CancellationToken cancellationToken)
    {
        List<StoredDocument> stored = [];
        long total = 0;
        foreach (var document in documents)
        {
            await using var content = document.Open();
            var blob = await blobs.WriteAsync(transaction, content, cancellationToken);
            total += blob.Length;
            // base64 adds a third, twice: once for the signed part, once for the envelope.
            if (total / 9 * 16 > options.LargestMessage)
            {
                throw Refuse(
                    ReasonCode.TooLarge,
                    $"Văn bản lớn hơn mức cổng này gửi được ({options.LargestMessage >> 20} MiB cả thư).",
                    $"The documents are larger than this gateway sends ({options.LargestMessage >> 20} MiB a message)."
                );
            }

            stored.Add(
                new StoredDocument(
                    blob.Id, new DocumentDigest(document.Name, document.MediaType, blob.Length, blob.Sha256)));
        }

        return stored;
    }

    private static async Task InsertAsync(
        NpgsqlTransaction transaction, Manifest manifest, Agency sender, DateTimeOffset now, Guid manifestBlob,
        long entry, List<StoredDocument> documents, CancellationToken cancellationToken)
    {
        try
        {
            await transaction.Connection!.ExecuteAsync(
                new CommandDefinition(
                    $"""
                    INSERT INTO gateway.outgoing (dispatch_id, agency_id, state, number_year, number_text,
                      manifest_blob, accepted_entry, accepted_at)
                    VALUES (@DispatchId, @Agency, '{OutgoingState.Accepted}', @Year, @Number, @manifestBlob, @entry,
                      @now)
                    """,
                    new
                    {
                        manifest.DispatchId,
                        Agency = sender.Id,
                        Year = Register.YearOf(now),
                        manifest.Fields.Number,
                        manifestBlob,
                        entry,
                        now = now.UtcDateTime,
                    },
                    transaction,
                    cancellationToken: cancellationToken));
        }
        catch (PostgresException e) when (e.SqlState == PostgresErrorCodes.UniqueViolation)
        {
            throw Refuse(
                ReasonCode.NumberTaken, $"Số {manifest.Fields.Number} đã được dùng trong năm nay.",
                $"The number {manifest.Fields.Number} is already used this year.");
        }

        for (var n = 0; n < documents.Count; n++)
        {
            await transaction.Connection!.ExecuteAsync(
                new CommandDefinition(
                    "INSERT INTO gateway.outgoing_document (dispatch_id, n, blob_id) VALUES (@DispatchId, @n, @Blob)",
                    new
                    {
                        manifest.DispatchId,
                        n = n + 1,
                        documents[n].Blob,
                    },
                    transaction,
                    cancellationToken: cancellationToken));
        }
    }

    private static Task InsertRecipientsAsync(
        NpgsqlTransaction transaction, Guid dispatchId, Guid sender, IReadOnlyList<Named> recipients,
        DateTimeOffset now, CancellationToken cancellationToken) =>
        transaction.Connection!.ExecuteAsync(
            new CommandDefinition(
                $"""
                INSERT INTO gateway.transmission (transmission_id, kind, dispatch_id, agency_id, recipient_id,
                  recipient_code, state, reason, closed_at)
                SELECT id, '{TransmissionKind.Dispatch}', @dispatchId, @sender, recipient, code,
                  CASE WHEN reason IS NULL THEN '{TransmissionState.Waiting}' ELSE '{TransmissionState.Failed}'
                  END, reason, CASE WHEN reason IS NOT NULL THEN @now END
                FROM unnest(@ids, @agencies, @codes, @reasons) r(id, recipient, code, reason)
                """,
                new
                {
                    dispatchId,
                    sender,
                    now = now.UtcDateTime,
                    ids = recipients.Select(_ => Guid.CreateVersion7(now)).ToArray(),
                    agencies = recipients.Select(r => r.Agency?.Id).ToArray(),
                    codes = recipients.Select(r => r.Code).ToArray(),
                    reasons = recipients.Select(r => r.Refusal?.Code).ToArray(),
                },
                transaction,
                cancellationToken: cancellationToken));

    private static Party PartyOf(Agency agency, DateTimeOffset now) =>
        agency.NameAt(now) is { } name
            ? new Party(agency.Id, name.Code, name.Name)
            : throw new InvalidOperationException();

    private static SubmissionRefusedException Refuse(string code, string vi, string en) =>
        new(new Refusal(code, vi, en));

    /// <summary>Whom the clerk named, and why it cannot be reached, if so.</summary>
    private sealed record Named(string Code, Agency? Agency, Refusal? Refusal);

    private sealed record StoredDocument(Guid Blob, DocumentDigest Digest);
}
