using Npgsql;

namespace SecureMail.Storage;

/// <summary>Why the database is not available, by what a person does about it. SecureMail.Host has the words of each
/// in two languages.</summary>
public enum StorageFault
{
    /// <summary>Another cause. The message alone describes it.</summary>
    Other,

    /// <summary>The server does not answer. Check the server and Database:Connection.</summary>
    Unreachable,

    /// <summary>The disk of the database is full. Free space.</summary>
    DiskFull,

    /// <summary>The server is out of another resource (PostgreSQL's class 53). Retry later.</summary>
    OutOfResources,

    /// <summary>The server refused. Argument: the SQLSTATE.</summary>
    Refused,

    /// <summary>No PostgreSQL is installed and no connection is configured.</summary>
    PostgresMissing,

    /// <summary>A program of PostgreSQL failed. Arguments: the program, and what it wrote.</summary>
    ProgramFailed,

    /// <summary>The folder of a private cluster that was in use is gone. Argument: the folder.</summary>
    ClusterGone,

    /// <summary>Another process serves the data folder. Argument: the folder.</summary>
    FolderServed,

    /// <summary>The schema is older than this build. Run "securemail migrate".</summary>
    SchemaBehind,

    /// <summary>The schema is newer than this build. Argument: a migration that this build does not know.</summary>
    SchemaAhead,

    /// <summary>A migration was changed after it was applied. Argument: its name.</summary>
    MigrationChanged,

    /// <summary>Database:OwnerConnection is not configured.</summary>
    OwnerConnectionMissing,

    /// <summary>The role of Database:Connection may change ledger rows.</summary>
    RoleTooStrong,

    /// <summary>The answer to a commit was lost, and the database cannot be asked. Argument: the id of the
    /// dispatch.</summary>
    AcceptanceUnknown,

    /// <summary>A restoration found a cluster where it would put its own.</summary>
    DatabaseExists,

    /// <summary>PostgreSQL could not recover from the backup. See restore.log.</summary>
    RecoveryFailed,

    /// <summary>Backup:Connection is not configured, and the server is not ours.</summary>
    BackupConnectionMissing,

    /// <summary>The server does not wait for the journal. Argument: the value for synchronous_standby_names.</summary>
    StandbyNameMissing,

    /// <summary>The base backup failed. Argument: what pg_basebackup wrote last.</summary>
    BaseBackupFailed,
}

/// <summary>The database cannot be reached or made. Exit code 69, HTTP 503, SMTP 451.</summary>
public class StorageUnavailableException : Exception
{
    /// <param name="fault">What a person does about it.</param>
    /// <param name="arguments">What the words of the fault name, from <c>{0}</c>.</param>
    /// <param name="message">For the log.</param>
    public StorageUnavailableException(
        StorageFault fault, IReadOnlyList<string> arguments, string message, Exception? inner = null)
        : base(message, inner) => (Fault, Arguments) = (fault, arguments);

    public StorageUnavailableException(string message, Exception? inner = null)
        : this(StorageFault.Other, [], message, inner)
    {
    }

    public StorageFault Fault { get; }

    /// <summary>What the words of <see cref="Fault"/> name.</summary>
    public IReadOnlyList<string> Arguments { get; }

    /// <summary>The exception for an answer of the server, or for a connection that failed.</summary>
    public static StorageUnavailableException Of(Exception e) =>
        e switch
        {
            // PostgreSQL, Appendix A: class 53 is insufficient resources.
            PostgresException { SqlState: PostgresErrorCodes.DiskFull } => new(
                StorageFault.DiskFull, [], "The disk of the database is full.", e),
            PostgresException { SqlState: ['5', '3', ..] } => new(
                StorageFault.OutOfResources, [], "The database is out of resources.", e),
            PostgresException p => new(
                StorageFault.Refused, [p.SqlState], $"The database refused ({p.SqlState}).", e),
            _ => new(
                StorageFault.Unreachable, [],
                "The database cannot be reached: check the server and Database:Connection.", e),
        };
}
