namespace SecureMail.Backup;

/// <summary>Where a gateway's backup goes, and for whom it is readable.</summary>
/// <param name="Folder">On another disk or machine than the database: bases and the journal lie in it.</param>
/// <param name="RecoveryCertificate">A PEM or DER file; RSA. The private key is kept away from the gateway.</param>
/// <param name="Synchronous">A commit is answered only when the journal has it on its disk. False: the journal follows
/// as fast as it can.</param>
/// <param name="Connection">For a configured server: a role that may replicate. The private cluster needs none.</param>
public sealed record BackupOptions(
    string Folder, string RecoveryCertificate, bool Synchronous, string? Connection = null);
