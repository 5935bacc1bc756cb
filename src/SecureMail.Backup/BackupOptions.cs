using System.ComponentModel;
using System.ComponentModel.DataAnnotations;

namespace SecureMail.Backup;

/// <summary>Where a gateway's backup is written, and who can read it.</summary>
[Category("Backup")]
public sealed record BackupOptions
{
    /// <summary>The folder of the bases and the journal, on another disk or machine than the database. Null: no journal
    /// is written, and backups are taken by hand.</summary>
    [DataType("path")]
    public string? Folder { get; init; }

    /// <summary>A PEM or DER file of an RSA certificate. Its private key is not kept on the gateway.</summary>
    [DataType("file")]
    public string? RecoveryCertificate { get; init; }

    /// <summary>True: a commit is answered only when the journal has it on its disk. False: the journal follows as fast
    /// as it can.</summary>
    public bool Synchronous { get; init; } = true;

    /// <summary>A connection string of a role that may replicate, for a configured server. The private cluster needs
    /// none.</summary>
    [PasswordPropertyText(true)]
    public string? Connection { get; init; }

    /// <summary>Whether a serving gateway writes a journal.</summary>
    public bool IsConfigured => Folder is not null;
}
