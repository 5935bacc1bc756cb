using System.Globalization;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Gateway.Words;
using SecureMail.Storage;

namespace SecureMail.Gateway.Health;

/// <summary>Something that keeps a node from being ready. This table says what is refused when.</summary>
/// <remarks>
/// <code>
/// issue                        submissions  mail      note
/// database                     refused      refused
/// database-slow                refused      refused
/// database-full                taken        taken     Only a try shows whether there is room again. A failed try keeps
///                                                     nothing.
/// disk-low                     refused      refused
/// temporary-folder-low         refused      refused
/// queue-full                   refused      taken     Two gateways full of mail for each other must not refuse each
///                                                     other for ever.
/// incoming-queue-full          taken        refused
/// clock-differs-from-database  taken        taken     What depends on the clock waits by itself.
/// clock-stepped                taken        taken
/// no-directory                 taken        taken     A submission without a directory is refused by its own step.
/// directory-expired            taken        taken     Shown only: the next version is late, and mail goes on.
/// restored-not-proven          refused      refused
/// work-given-up                taken        taken     Shown only: the node is ready. A person looks at "queue list".
/// backup, backup-no-base       refused      refused   Only where commits wait for the journal; else both are taken.
/// </code>
/// </remarks>
/// <param name="Name">For health and the log. It never changes.</param>
public sealed record HealthIssue(string Name, bool RefusesSubmissions, bool RefusesMail)
{
    /// <summary>Whether the issue is shown without making the node unready: another node would have it, too.</summary>
    public bool IsOnlyShown { get; private init; }

    public static readonly HealthIssue Database = new("database", true, true);

    public static readonly HealthIssue DatabaseSlow = new("database-slow", true, true);

    public static readonly HealthIssue DatabaseFull = new("database-full", false, false);

    public static readonly HealthIssue DiskLow = new("disk-low", true, true);

    public static readonly HealthIssue TemporaryLow = new("temporary-folder-low", true, true);

    public static readonly HealthIssue QueueFull = new("queue-full", true, false);

    public static readonly HealthIssue IncomingQueueFull = new("incoming-queue-full", false, true);

    public static readonly HealthIssue ClockApart = new("clock-differs-from-database", false, false);

    public static readonly HealthIssue ClockStepped = new(AlarmKind.ClockStepped, false, false);

    public static readonly HealthIssue NoDirectory = new("no-directory", false, false);

    public static readonly HealthIssue DirectoryExpired = new("directory-expired", false, false) { IsOnlyShown = true };

    public static readonly HealthIssue RestoredNotProven = new("restored-not-proven", true, true);

    public static readonly HealthIssue WorkGivenUp = new(AlarmKind.WorkGivenUp, false, false) { IsOnlyShown = true };

    /// <summary>The journal does not follow, or a synchronous one has no base.</summary>
    /// <param name="refuses">Whether commits wait for the journal. A journal that follows at its leisure is only
    /// shown.</param>
    public static HealthIssue Backup(string name, bool refuses) => new(name, refuses, refuses);

    /// <summary>What a clerk reads whose submission is refused; the name where it refuses none.</summary>
    public string Text(CultureInfo language) => Catalogue.Text("Health." + Name, language);
}

/// <summary>The gateway takes no new work now. Nothing was kept.</summary>
public sealed class NotTakenNowException(HealthIssue issue)
    : StorageUnavailableException(issue.Text(Catalogue.English))
{
    public HealthIssue Issue => issue;
}
