using SecureMail.Backup;
using SecureMail.Gateway.Clock;
using SecureMail.Gateway.Directories;
using SecureMail.Gateway.Health;
using SecureMail.Gateway.Inbound;
using SecureMail.Gateway.Keys;
using SecureMail.Gateway.Outbound;
using SecureMail.Gateway.Retention;
using SecureMail.Storage;

namespace SecureMail.Gateway;

/// <summary>
/// Facts of one gateway process, one record for each folder that reads them. Agencies, routes and peers are not here:
/// they are in the directory and the database.
/// </summary>
public sealed record GatewaySettings
{
    public required DirectoryOptions Directory { get; init; }

    public required DatabaseOptions Database { get; init; }

    public required KeyOptions Keys { get; init; }

    public TrustOptions Trust { get; init; } = new();

    public ClockOptions Clock { get; init; } = new();

    public DeliveryOptions Delivery { get; init; } = new();

    public InboundOptions Inbound { get; init; } = new();

    public HealthOptions Health { get; init; } = new();

    public RetentionOptions Retention { get; init; } = new();

    public BackupOptions Backup { get; init; } = new();

    /// <summary>The files that a backup holds beside the database.</summary>
    public GatewayFiles Files =>
        new(Directory.Name, Database.DataFolder, Keys.Folder, Keys.TlsCertificate, Keys.TlsKey);
}
