namespace SecureMail.Backup;

/// <summary>The files of a gateway that a backup holds beside its database.</summary>
/// <param name="Name">The gateway's name in the directory.</param>
/// <param name="DataFolder">The folder that a restoration fills; the private cluster belongs to it.</param>
/// <param name="KeyFolder">The gateway's keys; all files below it are backed up.</param>
/// <param name="TlsCertificate">A PEM file outside of the key folder that takes the place of <c>tls.pem</c>, or
/// null.</param>
/// <param name="TlsKey">A PEM file outside of the key folder that takes the place of <c>tls.key</c>, or null.</param>
public sealed record GatewayFiles(
    string Name, string DataFolder, string KeyFolder, string? TlsCertificate = null, string? TlsKey = null);
