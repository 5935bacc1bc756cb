using System.Globalization;
using Npgsql;

namespace SecureMail.Storage;

/// <summary>
/// The advisory locks of the database. All keys stand here, because they share one space. A key never changes: during
/// an upgrade nodes of the old and of the new release take the same lock.
/// </summary>
/// <remarks>The migrations take 5932061857205641325, …326 and …328 inside SQL functions.</remarks>
public readonly record struct AdvisoryLock
{
    private readonly string _key;

    private AdvisoryLock(string key) => _key = key;

    /// <summary>One sequencer extends the ledger at a time.</summary>
    public static AdvisoryLock Sequencer { get; } = Number(5932061857205641324);

    /// <summary>One node destroys contents at a time.</summary>
    public static AdvisoryLock Destruction { get; } = Number(5932061857205641327);

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

    /// <summary>The statement that takes the lock to the end of the transaction, for a prepared command. It has no
    /// parameters.</summary>
    public string Statement => $"SELECT pg_advisory_xact_lock({_key})";

    /// <summary>Waits for the lock and holds it to the end of the transaction.</summary>
    public Task TakeAsync(NpgsqlTransaction transaction, CancellationToken cancellationToken) =>
        transaction.ExecuteAsync(Statement, null, cancellationToken);

    private static AdvisoryLock Number(long key) => new(key.ToString(CultureInfo.InvariantCulture));

    private static AdvisoryLock Named(string name) =>
        new($"hashtextextended('{name.Replace("'", "''", StringComparison.Ordinal)}', 0)");
}
