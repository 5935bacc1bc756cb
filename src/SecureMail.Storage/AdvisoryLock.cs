using Npgsql;

namespace SecureMail.Storage;

/// <summary>
/// The advisory locks of the database. All keys stand here, because they share one space. A key never changes: during
/// an upgrade nodes of the old and of the new release take the same lock.
/// </summary>
/// <remarks>The migrations take 5932061857205641325, …326 and …328 inside SQL functions.</remarks>
public readonly record struct AdvisoryLock
{
    private AdvisoryLock(long number, string? name) => (Number, Name) = (number, name);

    /// <summary>The key, where the lock has no name.</summary>
    public long Number { get; }

    /// <summary>What is hashed to the key; null where the lock has a number.</summary>
    public string? Name { get; }

    /// <summary>One process migrates the database at a time.</summary>
    public static AdvisoryLock Migration { get; } = Numbered(0x5EC0_4E4D_0001);

    /// <summary>One sequencer extends the ledger at a time.</summary>
    public static AdvisoryLock Sequencer { get; } = Numbered(5932061857205641324);

    /// <summary>One node destroys contents at a time.</summary>
    public static AdvisoryLock Destruction { get; } = Numbered(5932061857205641327);

    /// <summary>One directory is imported at a time.</summary>
    public static AdvisoryLock DirectoryImport { get; } = Named("securemail directory");

    /// <summary>What is decided about one outgoing dispatch: whether its id is taken.</summary>
    public static AdvisoryLock Dispatch(Guid dispatch) => Named($"dispatch {dispatch}");

    /// <summary>What is decided about one dispatch for one agency: whether it came before.</summary>
    public static AdvisoryLock Seen(Guid recipient, Guid sender, Guid dispatch) =>
        Named($"seen {recipient} {sender} {dispatch}");

    /// <summary>The open anomaly of one clock.</summary>
    public static AdvisoryLock Clock(string subject) => Named("clock " + subject);

    /// <summary>The entries about one object of the ledger.</summary>
    public static AdvisoryLock LedgerObject(string name) => Named("securemail ledger object " + name);

    /// <summary>What is known of one peer's ledger.</summary>
    public static AdvisoryLock PeerLedger(string origin) => Named("securemail ledger peer " + origin);

    /// <summary>What one peer asked to be sent again.</summary>
    public static AdvisoryLock Resend(string peer) => Named("securemail resend " + peer);

    /// <summary>Waits for the lock and holds it to the end of the transaction.</summary>
    public async Task TakeAsync(NpgsqlTransaction transaction, CancellationToken cancellationToken)
    {
        await using var batch = new NpgsqlBatch(transaction.Connection, transaction) { BatchCommands = { Statement } };
        await batch.ExecuteNonQueryAsync(cancellationToken);
    }

    /// <summary>Does the same at the head of a batch. What follows in the batch sees what was committed during the
    /// wait, because at READ COMMITTED each statement has a snapshot of its own.</summary>
    public NpgsqlBatchCommand Statement =>
        Name is null
            ? new("SELECT pg_advisory_xact_lock($1)") { Parameters = { new() { Value = Number } } }
            : new("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))") { Parameters = { new() { Value = Name } } };

    /// <summary>Waits for a numbered lock and holds it until the connection closes.</summary>
    public Task TakeForConnectionAsync(NpgsqlConnection connection, CancellationToken cancellationToken) =>
        connection.ExecuteAsync("SELECT pg_advisory_lock(@Number)", new { Number }, cancellationToken);

    private static AdvisoryLock Numbered(long number) => new(number, null);

    private static AdvisoryLock Named(string name) => new(0, name);
}
