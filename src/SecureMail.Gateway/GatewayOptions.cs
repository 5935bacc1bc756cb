using System.Net;
using SecureMail.Backup;
using SecureMail.Storage;
using SecureMail.Gateway.Health;
using SecureMail.Mail;
using SecureMail.Storage.Queue;

namespace SecureMail.Gateway;

/// <summary>
/// Facts of one gateway process: where it listens, its database, its key files and tokens. Agencies, routes and peers
/// are not here: they are in the directory and the database.
/// </summary>
public sealed record GatewayOptions
{
    /// <summary>The gateway's name in the directory: its EHLO argument and the origin of its ledger.</summary>
    public required string Name { get; init; }

    /// <summary>Where the gateway keeps its keys, its temporary files and, without a configured database, the
    /// database.</summary>
    public required string DataFolder { get; init; }

    /// <summary>As the role <c>securemail_gateway</c>; null: a private cluster under the data folder.</summary>
    public string? DatabaseConnection { get; init; }

    /// <summary>As the role that owns the schema; for <c>securemail migrate</c>.</summary>
    public string? OwnerConnection { get; init; }

    public IPEndPoint? Smtp { get; init; }

    /// <summary>PEM: the certificate that the gateway shows on both ends of TLS. Its key is pinned by the
    /// directory.</summary>
    public string? TlsCertificate { get; init; }

    /// <summary>PEM, mode 0600.</summary>
    public string? TlsKey { get; init; }

    /// <summary>PEM or DER files and folders: trust anchors.</summary>
    public IReadOnlyList<string> Anchors { get; init; } = [];

    public IReadOnlyList<string> Intermediates { get; init; } = [];

    public IReadOnlyList<string> Crls { get; init; } = [];

    /// <summary>The certificate whose key signs the directory; that very certificate, pinned.</summary>
    public string? DirectoryPublisher { get; init; }

    public IReadOnlyList<TokenOptions> Tokens { get; init; } = [];

    /// <summary>After how long without a receipt a dispatch is overdue. The office confirms the same day.</summary>
    public TimeSpan ReceiptDue { get; init; } = TimeSpan.FromHours(24);

    /// <summary>After how long a message that could not be sent is given up. RFC 5321 §4.5.4.1: at least four or five
    /// days.</summary>
    public TimeSpan GiveUpAfter { get; init; } = TimeSpan.FromDays(5);

    /// <summary>After how long the clerk is told that a dispatch has not left yet; once.</summary>
    public TimeSpan DelayNoticeAfter { get; init; } = TimeSpan.FromHours(4);

    /// <summary>How many messages go to one gateway at once, from this node.</summary>
    public int PerDestination { get; init; } = 4;

    /// <summary>How long a peer may take over each state of a session.</summary>
    public SmtpClientTimeouts SmtpTimeouts { get; init; } = new();

    /// <summary>When one message is tried again.</summary>
    public RetrySchedule Retry { get; init; } = RetrySchedule.OfWork;

    /// <summary>When a gateway that could not be reached is tried again.</summary>
    public RetrySchedule Probe { get; init; } = RetrySchedule.OfDestination;

    /// <summary>How long a message that cannot be judged yet waits before it is quarantined.</summary>
    public TimeSpan IndeterminateFor { get; init; } = TimeSpan.FromHours(4);

    /// <summary>After a step of the process' and the database's clock together: how long until the new time is
    /// believed.</summary>
    public TimeSpan ClockSettles { get; init; } = TimeSpan.FromMinutes(10);

    /// <summary>The largest message taken or sent, in octets.</summary>
    public long LargestMessage { get; init; } = 200L * 1024 * 1024;

    /// <summary>How long each kind of octets is kept.</summary>
    public Retention.RetentionOptions Retention { get; init; } = new();

    /// <summary>The journal that a serving gateway keeps; null: none, and backups are taken by hand.</summary>
    public BackupOptions? Backup { get; init; }

    /// <summary>What one node may cost, and from where on it takes nothing new.</summary>
    public GatewayLimits Limits { get; init; } = new();

    /// <summary>How often it is asked what is overdue, late or to be given up.</summary>
    internal TimeSpan OverdueEvery { get; init; } = TimeSpan.FromMinutes(1);

    internal string KeyFolder => Path.Combine(DataFolder, "keys");

    /// <summary>Where the database is.</summary>
    public DatabaseOptions Database => new(DataFolder, DatabaseConnection, OwnerConnection);

    /// <summary>The files that a backup holds beside the database.</summary>
    public GatewayFiles Files => new(Name, DataFolder, KeyFolder, TlsCertificate, TlsKey);
}

/// <summary>A token that holds keys of our agencies. Which agency a key belongs to is said by the directory, through
/// its certificate.</summary>
/// <param name="Uri">RFC 7512, naming the token and its module:
/// <c>pkcs11:token=VanThu?module-path=/usr/lib/…</c>.</param>
/// <param name="PinFile">A file of mode 0600 that holds the PIN; null: <paramref name="PinEnv"/> names a
/// variable.</param>
public sealed record TokenOptions(string Uri, string? PinFile, string? PinEnv);
