using Npgsql;
using SecureMail.Exchange;
using SecureMail.Gateway.Directories;
using SecureMail.Gateway.Policy;
using SecureMail.Gateway.Registers;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Storage;

namespace SecureMail.Gateway.Outbound;

/// <summary>
/// A submission is accepted once, however often it comes: the caller chooses the dispatch's id, and a repetition gets
/// the answer of the first acceptance. All questions about one id are asked under its lock.
/// </summary>
internal static class RepeatedSubmission
{
    /// <summary>The id that the caller chose, or a new one.</summary>
    /// <exception cref="SubmissionRefusedException">The id is not a UUIDv7 (RFC 9562 §5.7).</exception>
    public static Guid IdOf(Submission submission, DateTimeOffset now) =>
        submission.DispatchId is not { } chosen ? Guid.CreateVersion7(now)
        : chosen.Version == 7 ? chosen
        : throw new SubmissionRefusedException(ReasonCode.IdInvalid);

    /// <summary>What was answered before; null where the id is new. The caller holds the id's lock.</summary>
    /// <exception cref="SubmissionRefusedException">The id belongs to another agency's dispatch.</exception>
    public static async Task<SubmissionAnswer?> FindAsync(
        NpgsqlTransaction transaction, Guid dispatch, Agency sender, DirectorySnapshot directory, DateTimeOffset now,
        CancellationToken cancellationToken)
    {
        if (await OutgoingTable.FindAsync(transaction, dispatch, cancellationToken) is not { } found)
        {
            return null;
        }

        if (found.Agency != sender.Id)
        {
            throw new SubmissionRefusedException(ReasonCode.IdTaken);
        }

        var recipients = await TransmissionTable.ListAsync(transaction, dispatch, cancellationToken);
        return new SubmissionAnswer(
            dispatch,
            found.Number,
            [
                .. recipients.Select(r => new SubmissionRecipient(
                    r.Code,
                    r.Recipient is { } id && directory.Find(id) is { } agency
                        ? (agency.NameAt(now) ?? agency.LastName).Name
                        : null,
                    r.State == TransmissionState.Failed ? Refusal.OfReason(r.Reason!) : null)),
            ]);
    }

    /// <summary>
    /// Whether a dispatch was accepted whose COMMIT was sent and whose answer was lost. The question is asked on
    /// another connection, under the lock: it waits until the first transaction has ended on the server.
    /// </summary>
    /// <exception cref="StorageUnavailableException">The database cannot be asked: the dispatch may have been
    /// accepted.</exception>
    public static async Task<bool> WasAcceptedAsync(
        GatewayDatabase database, Guid dispatch, Exception lost, CancellationToken cancellationToken)
    {
        try
        {
            await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
            bool isThere;
            await using (var transaction = await connection.BeginTransactionAsync(cancellationToken))
            {
                await AdvisoryLock.Dispatch(dispatch).TakeAsync(transaction, cancellationToken);
                isThere = await OutgoingTable.FindAsync(transaction, dispatch, cancellationToken) is not null;
            }

            if (isThere)
            {
                await GatewayDatabase.WaitForDurabilityAsync(connection, cancellationToken);
            }

            return isThere;
        }
        catch (Exception e) when (DatabaseFault.Is(e))
        {
            throw new StorageUnavailableException(
                StorageFault.AcceptanceUnknown, [dispatch.ToString()],
                $"The database was lost while writing, and whether the dispatch {dispatch} was accepted is not known: "
                    + "send it again under the same id.",
                lost);
        }
    }
}
