using System.ComponentModel;
using System.ComponentModel.DataAnnotations;

namespace SecureMail.Backup;

/// <summary>Where a gateway's backup goes, and who can read it.</summary>
[Category("Backup")]
public sealed record BackupOptions
{
    /// <summary>On another disk or machine than the database: bases and the journal lie in it. Null: no journal is
    /// kept, and backups are taken by hand.</summary>
    [DataType("path")]
    public string? Folder { get; init; }

    /// <summary>A PEM or DER file of an RSA certificate. Its private key is kept away from the gateway.</summary>
    [DataType("file")]
    public string? RecoveryCertificate { get; init; }

    /// <summary>A commit is answered only when the journal has it on its disk. False: the journal follows as fast as it
    /// can.</summary>
    public bool Synchronous { get; init; } = true;

    /// <summary>For a configured server: a connection string of a role that may replicate. The private cluster needs
    /// none.</summary>
    [PasswordPropertyText(true)]
    public string? Connection { get; init; }

    /// <summary>Whether a serving gateway keeps a journal.</summary>
    public bool IsConfigured => Folder is not null;
}
