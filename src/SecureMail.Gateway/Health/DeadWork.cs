using Microsoft.Extensions.Logging;
using SecureMail.Exchange;
using SecureMail.Gateway.Directories;
using SecureMail.Gateway.Telemetry;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Ledger;
using SecureMail.LedgerStore;
using SecureMail.Storage;
using SecureMail.Storage.Queue;

namespace SecureMail.Gateway.Health;

/// <summary>
/// Work that always fails is left dead, and nothing dead lies unseen: the alarm, the entry in the ledger and the state
/// of the row are one commit, and health says so until a person asks for the work again (<c>queue retry</c>) or drops
/// it. What was to be done stays owed: nothing of the subject changes.
/// </summary>
internal sealed class DeadWork(GatewayDatabase database, TimeProvider time, ILogger<DeadWork> logger)
{
    /// <summary>Gives work up.</summary>
    /// <param name="reason">The name of an exception's type, or <see cref="Worker.ProcessEnded"/>.</param>
    public async Task GiveUpAsync(WorkItem item, string reason, CancellationToken cancellationToken)
    {
        // Before this commit the work is tried again; after it the work is tried no more and a person knows.
        await database.Source.InTransactionAsync(
            "queue.dead",
            async transaction =>
            {
                await AlarmTable.AddWithEntryAsync(
                    transaction,
                    new LedgerEntry
                    {
                        Time = time.GetUtcNow(),
                        Agency = DirectoryStore.GatewayItself,
                        Kind = EntryKind.WorkGivenUp,
                        Object = item.Subject.ToString(),
                    },
                    AlarmKind.WorkGivenUp, item.Kind, $"{item.Subject}: {reason}", cancellationToken);
                await item.DieAsync(transaction, reason, cancellationToken);
            },
            cancellationToken);
        DeadWorkLog.GivenUp(logger, item.Kind, item.Subject, reason);
    }
}

internal static partial class DeadWorkLog
{
    [LoggerMessage(1505, LogLevel.Critical, "Work {Kind} {Subject} always fails and was given up: {Reason}")]
    public static partial void GivenUp(ILogger logger, string kind, Guid subject, string reason);
}
