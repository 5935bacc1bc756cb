using System.Net;
using SecureMail.Backup;
using SecureMail.Gateway;
using SecureMail.Gateway.Clock;
using SecureMail.Gateway.Directories;
using SecureMail.Gateway.Health;
using SecureMail.Gateway.Inbound;
using SecureMail.Gateway.Keys;
using SecureMail.Gateway.Outbound;
using SecureMail.Host.Services;
using SecureMail.Mail.Smtp.Client;
using SecureMail.Mail.Smtp.Server;
using SecureMail.Storage;
using SecureMail.Storage.Queue;

namespace SecureMail.TestKit;

/// <summary>A gateway of a test: what most tests change, in one flat record, and the product's settings made of
/// it.</summary>
public sealed record GatewaySetup
{
    public required string Name { get; init; }

    public required string DataFolder { get; init; }

    public string? DatabaseConnection { get; init; }

    public string? OwnerConnection { get; init; }

    public IPEndPoint? Smtp { get; init; }

    public IReadOnlyList<string> Anchors { get; init; } = [];

    public IReadOnlyList<string> Intermediates { get; init; } = [];

    public IReadOnlyList<string> Crls { get; init; } = [];

    public string? DirectoryPublisher { get; init; }

    public IReadOnlyList<TokenOptions> Tokens { get; init; } = [];

    public TimeSpan ReceiptDue { get; init; } = new DeliveryOptions().ReceiptDue;

    public TimeSpan GiveUpAfter { get; init; } = new DeliveryOptions().GiveUpAfter;

    public TimeSpan DelayNoticeAfter { get; init; } = new DeliveryOptions().DelayNoticeAfter;

    public int PerDestination { get; init; } = new DeliveryOptions().PerDestination;

    public long LargestMessage { get; init; } = new DeliveryOptions().LargestMessage;

    public SmtpClientTimeouts SmtpTimeouts { get; init; } = new();

    public RetrySchedule Retry { get; init; } = RetrySchedule.OfWork;

    public RetrySchedule Probe { get; init; } = RetrySchedule.OfDestination;

    public TimeSpan IndeterminateFor { get; init; } = new InboundOptions().IndeterminateFor;

    public TimeSpan ClockSettles { get; init; } = new ClockOptions().ClockSettles;

    public SecureMail.Gateway.Retention.RetentionOptions Retention { get; init; } = new();

    public BackupOptions Backup { get; init; } = new();

    public HealthOptions Health { get; init; } = new();

    public SmtpServerLimits SmtpLimits { get; init; } = new();

    public TimeSpan OverdueEvery { get; init; } = new DeliveryOptions().OverdueEvery;

    public DatabaseOptions Database => new(DataFolder, DatabaseConnection, OwnerConnection);

    public KeyOptions Keys => new() { Folder = Path.Combine(DataFolder, "keys"), Tokens = Tokens };

    public GatewayFiles Files => Settings.Files;

    internal SmtpListenerOptions Listener => new() { Listen = Smtp, Limits = SmtpLimits };

    public GatewaySettings Settings =>
        new()
        {
            Directory = new DirectoryOptions { Name = Name, Publisher = DirectoryPublisher },
            Database = Database,
            Keys = Keys,
            Trust = new TrustOptions
            {
                Anchors = Anchors,
                Intermediates = Intermediates,
                Crls = Crls,
            },
            Clock = new ClockOptions { ClockSettles = ClockSettles },
            Delivery = new DeliveryOptions
            {
                ReceiptDue = ReceiptDue,
                GiveUpAfter = GiveUpAfter,
                DelayNoticeAfter = DelayNoticeAfter,
                PerDestination = PerDestination,
                LargestMessage = LargestMessage,
                SmtpTimeouts = SmtpTimeouts,
                Retry = Retry,
                Probe = Probe,
                OverdueEvery = OverdueEvery,
            },
            Inbound = new InboundOptions { IndeterminateFor = IndeterminateFor },
            Health = Health,
            Retention = Retention,
            Backup = Backup,
        };

    /// <summary>Makes the gateway's keys; answers its record for the directory.</summary>
    public SecureMail.Exchange.GatewayRecord CreateIdentity(string host, int port) =>
        GatewayIdentity.Create(Keys, Name, host, port, TimeProvider.System);
}
