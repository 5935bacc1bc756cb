using Npgsql;

namespace SecureMail.Storage.Queue;

/// <summary>A leased piece of work. <see cref="CompleteAsync"/> ends it in the transaction that records its
/// outcome.</summary>
public sealed class WorkItem(long id, string kind, Guid subject, int attempts, DateTime? actedAt, string owner)
{
    internal long Id => id;

    internal string Owner => owner;

    public string Kind => kind;

    /// <summary>Null: the destination is not known yet.</summary>
    public string? Destination { get; init; }

    /// <summary>By the database's clock.</summary>
    public DateTime LeasedAt { get; init; }

    /// <summary>Itself, and what was leased with it to be done in one go.</summary>
    public IReadOnlyList<WorkItem> All
    {
        get => field ?? [this];
        private set;
    }

    /// <summary>This work with the others to be done in one go.</summary>
    internal static WorkItem Together(IReadOnlyList<WorkItem> items)
    {
        items[0].All = items;
        return items[0];
    }

    public Guid Subject => subject;

    /// <summary>This one included.</summary>
    public int Attempts => attempts;

    /// <summary>How many attempts in a row, before this one, ended in an unexpected exception or with the process that
    /// made them.</summary>
    public int Failures { get; init; }

    /// <summary>When a person asked for it again, by the database's clock; null where nobody did. Rows that one act
    /// freed have the same time.</summary>
    public DateTime? ActedAt => actedAt;

    /// <summary>Deletes the row; with the commit the work is done.</summary>
    /// <exception cref="LeaseLostException">Another worker has it now: the transaction must be given up.</exception>
    public async Task CompleteAsync(NpgsqlTransaction transaction, CancellationToken cancellationToken)
    {
        var deleted = await transaction.ExecuteAsync(
            $"""
            DELETE FROM gateway.work WHERE work_id = @id AND state = '{WorkState.Leased}' AND lease_owner = @owner
            """,
            new { id, owner }, cancellationToken);
        if (deleted != 1)
        {
            throw new LeaseLostException();
        }
    }

    /// <summary>Leaves the row dead in the transaction that tells a person so.</summary>
    /// <exception cref="LeaseLostException">Another worker has it now: the transaction must be given up.</exception>
    public async Task DieAsync(NpgsqlTransaction transaction, string reason, CancellationToken cancellationToken)
    {
        var left = await transaction.ExecuteAsync(
            $"""
            UPDATE gateway.work SET state = '{WorkState.Dead}', last_error = @reason, lease_owner = NULL, lease_until = NULL
            WHERE work_id = @id AND state = '{WorkState.Leased}' AND lease_owner = @owner
            """,
            new { id, owner, reason }, cancellationToken);
        if (left != 1)
        {
            throw new LeaseLostException();
        }
    }

    /// <summary>Ends work that its subject no longer needs.</summary>
    public async Task<WorkOutcome> DropAsync(NpgsqlDataSource database, CancellationToken cancellationToken)
    {
        await database.InTransactionAsync(
            "queue.drop", transaction => CompleteAsync(transaction, cancellationToken), cancellationToken);
        return new WorkOutcome.Done();
    }

    /// <summary>Checks the leases just before a side effect that no transaction can undo, such as sending a
    /// mail.</summary>
    /// <exception cref="LeaseLostException">Another worker has one of them now, or may have it soon.</exception>
    public static async Task RequireLeasesAsync(
        IReadOnlyList<WorkItem> items, NpgsqlDataSource database, CancellationToken cancellationToken)
    {
        await using var connection = await database.OpenConnectionAsync(cancellationToken);
        var ours = await connection.ScalarAsync<long>(
            $"""
            SELECT count(*) FROM gateway.work WHERE work_id = ANY(@ids) AND state = '{WorkState.Leased}'
              AND lease_owner = @Owner AND lease_until > now()
            """,
            new { ids = items.Select(i => i.Id).ToArray(), items[0].Owner }, cancellationToken);
        if (ours != items.Count)
        {
            throw new LeaseLostException();
        }
    }
}

/// <summary>The lease ran out while the work was under way; another worker does it.</summary>
public sealed class LeaseLostException() : Exception("The lease on this work was lost.");
