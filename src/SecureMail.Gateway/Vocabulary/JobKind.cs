namespace SecureMail.Gateway.Vocabulary;

/// <summary>The kinds of jobs in <c>gateway.job</c>.</summary>
public static class JobKind
{
    /// <summary>Destroys contents whose term is over. It recurs and has one row.</summary>
    public const string Retention = "retention";

    /// <summary>Wraps the key of every blob and card under the storage key that the job names.</summary>
    public const string StorageRotation = "storage-rotation";

    /// <summary>Recomputes the stored ledger.</summary>
    public const string LedgerVerification = "ledger-verification";

    /// <summary>Writes the stored ledger into a file of the node that does it.</summary>
    public const string LedgerExport = "ledger-export";

    /// <summary>Takes a base backup into the configured folder.</summary>
    public const string BaseBackup = "base-backup";

    /// <summary>Every value.</summary>
    public static IReadOnlyList<string> All { get; } =
        [Retention, StorageRotation, LedgerVerification, LedgerExport, BaseBackup];
}
