using System.Security.Cryptography;
using System.Text;
using Npgsql;
using SecureMail.Gateway.Directories;
using SecureMail.Ledger;
using SecureMail.LedgerStore;
using SecureMail.Storage;
using SecureMail.Storage.Queue;

namespace SecureMail.Gateway.Jobs;

/// <summary>What a person does about work that waits: asks for it again, or drops it. Each act is an entry in the
/// ledger.</summary>
public sealed class WaitingWork
{
    private readonly GatewayDatabase _database;
    private readonly JobTable _jobs;
    private readonly TimeProvider _time;

    internal WaitingWork(GatewayDatabase database, JobTable jobs, TimeProvider time) =>
        (_database, _jobs, _time) = (database, jobs, time);

    /// <summary>Makes work due now. A destination that backs off is probed at once, and a dispatch that waited to be
    /// signed is signed. False where there is no such row or a worker is at it.</summary>
    public async Task<bool> RetryAsync(long id, Authority by, CancellationToken cancellationToken)
    {
        // The act and its entry are one commit.
        var found = await _database.Source.InTransactionAsync(
            "queue.retry",
            async transaction =>
                await RecordAsync(
                    transaction, EntryKind.WorkRetried,
                    await WorkQueue.RetryAsync(transaction, id, cancellationToken), by, cancellationToken),
            cancellationToken);
        await _jobs.SignReleasedAsync(cancellationToken);
        return found;
    }

    /// <summary>Deletes work; its subject stays as it is. False where there is no such row, a worker is at it, or mail
    /// depends on it as a timer.</summary>
    public Task<bool> DropAsync(long id, Authority by, CancellationToken cancellationToken) =>
        _database.Source.InTransactionAsync(
            "queue.give-up",
            async transaction =>
                await RecordAsync(
                    transaction, EntryKind.WorkDropped,
                    await WorkQueue.DropAsync(transaction, id, cancellationToken), by, cancellationToken),
            cancellationToken);

    /// <summary>Makes all held work ready: a person has acted (entered a PIN, put the token back). Answers how
    /// much.</summary>
    public async Task<int> ReleaseHeldAsync(Authority by, CancellationToken cancellationToken)
    {
        var released = await _database.Source.InTransactionAsync(
            "queue.release-held",
            async transaction =>
            {
                var subjects = await WorkQueue.ReleaseHeldAsync(transaction, cancellationToken);
                if (subjects.Count > 0)
                {
                    await StoredLedger.AppendAsync(
                        transaction,
                        EntryOf(EntryKind.WorkReleased, "work", by) with
                        {
                            Commitments = new Dictionary<string, string>
                            {
                                // Not salted: ids tell nothing.
                                ["subjects"] =
                                    "sha256:" + Convert.ToHexStringLower(
                                        SHA256.HashData(Encoding.ASCII.GetBytes(string.Join(' ', subjects)))),
                            },
                        },
                        cancellationToken);
                }

                return subjects.Count;
            },
            cancellationToken);
        await _jobs.SignReleasedAsync(cancellationToken);
        return released;
    }

    /// <summary>Writes the entry of an act on work; an act that found no work is none. Answers whether it found
    /// some.</summary>
    private async Task<bool> RecordAsync(
        NpgsqlTransaction transaction, string kind, Guid? subject, Authority by, CancellationToken cancellationToken)
    {
        if (subject is not { } about)
        {
            return false;
        }

        await StoredLedger.AppendAsync(transaction, EntryOf(kind, about.ToString(), by), cancellationToken);
        return true;
    }

    private LedgerEntry EntryOf(string kind, string about, Authority by) =>
        new()
        {
            Time = _time.GetUtcNow(),
            Agency = DirectoryStore.GatewayItself,
            Kind = kind,
            Object = about,
            Actor = by.Actor,
            Grant = by.Grant,
        };
}
