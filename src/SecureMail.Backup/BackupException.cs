using SecureMail.Ledger;

namespace SecureMail.Backup;

/// <summary>Why a backup cannot be used, or cannot be made. SecureMail.Host has the words of each in two
/// languages.</summary>
public enum BackupFault
{
    /// <summary>The recovery certificate is not of an RSA key. No argument.</summary>
    RecoveryKeyNotRsa,

    /// <summary>The folder has no complete backup. Argument: the folder.</summary>
    NoCompleteBackup,

    /// <summary>The ledger restored is not intact. Argument: the first problem.</summary>
    LedgerNotIntact,

    /// <summary>The ledger restored does not contain the ledger of the backup. No argument.</summary>
    LedgerNotContinued,

    /// <summary>The key given is not the recovery key of this backup. Argument, here and below: the file.</summary>
    WrongRecoveryKey,

    /// <summary>A file of the backup is missing.</summary>
    FileMissing,

    /// <summary>A file does not have the digest of the manifest.</summary>
    FileChanged,

    /// <summary>A file is of another kind, or is not signed by this gateway.</summary>
    ForeignFile,

    /// <summary>The backup is not signed by the TLS key of the gateway.</summary>
    ForeignSigner,

    /// <summary>A file is not a backup file of SecureMail.</summary>
    NotABackupFile,

    /// <summary>A file is cut off.</summary>
    CutOff,

    /// <summary>The header of a file is damaged.</summary>
    HeaderDamaged,

    /// <summary>The signature of a header does not hold.</summary>
    HeaderSignature,

    /// <summary>The key in a header is not of the right form.</summary>
    HeaderKey,

    /// <summary>A record was changed, or is under another key. Arguments: the file, the number of the record.</summary>
    RecordChanged,

    /// <summary>The records of a file do not follow on one another.</summary>
    RecordGap,

    /// <summary>Data follows the last record.</summary>
    TrailingData,

    /// <summary>The manifest is damaged.</summary>
    ManifestDamaged,

    /// <summary>The manifest contradicts its header.</summary>
    ManifestContradiction,

    /// <summary>The name of a journal file is not what its header says.</summary>
    NameContradiction,

    /// <summary>A name in an archive leads out of the target folder.</summary>
    NameOutside,

    /// <summary>An entry of an archive is neither a file nor a folder.</summary>
    EntryKind,
}

/// <summary>A backup cannot be used: another key, or a file that is missing, cut off or changed. Nothing was restored.
/// Exit code 65.</summary>
public sealed class BackupException : Exception
{
    private BackupException(BackupFault fault, IReadOnlyList<object> arguments, string message, Exception? inner)
        : base(message, inner) => (Fault, Arguments) = (fault, arguments);

    public BackupException(BackupFault fault, string message)
        : this(fault, [], message, inner: null)
    {
    }

    /// <param name="problem">The first problem of the ledger restored.</param>
    public BackupException(LedgerProblem problem)
        : this(BackupFault.LedgerNotIntact, [problem], $"The ledger restored is not intact: {problem.En}", inner: null)
    {
    }

    public BackupFault Fault { get; }

    /// <summary>What the words of <see cref="Fault"/> name, from <c>{0}</c>: file names and numbers, or a
    /// <see cref="LedgerProblem"/>.</summary>
    public IReadOnlyList<object> Arguments { get; }

    internal static BackupException NoCompleteBackup(string folder) =>
        new(BackupFault.NoCompleteBackup, [folder], $"There is no complete backup in {folder}.", inner: null);

    /// <param name="file">Named without its folder.</param>
    internal static BackupException Damaged(string file, BackupFault fault, Exception? inner = null) =>
        new(fault, [Path.GetFileName(file)], $"{Path.GetFileName(file)}: {fault}; nothing was restored.", inner);

    internal static BackupException RecordChanged(string file, long record) =>
        new(
            BackupFault.RecordChanged, [Path.GetFileName(file), record],
            $"{Path.GetFileName(file)}: record {record} was changed, or the key is another one; nothing was restored.",
            inner: null);
}
