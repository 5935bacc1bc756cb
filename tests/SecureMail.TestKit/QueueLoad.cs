using System.Globalization;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Host.Schema;
using SecureMail.Storage;
using SecureMail.Storage.Queue;
using SecureMail.TestKit.Probes;

namespace SecureMail.TestKit;

/// <summary>A queue full of work on a server of its own, and its leases as the product takes them.</summary>
public sealed class QueueLoad : IAsyncDisposable
{
    /// <summary>How much work one lease takes.</summary>
    public const int Batch = 100;

    private const string Owner = "bench:00000000";

    private readonly string _folder;
    private readonly GatewayDatabase _database;
    private readonly int _rows;

    private QueueLoad(string folder, GatewayDatabase database, int rows) =>
        (_folder, _database, _rows) = (folder, database, rows);

    /// <summary>The folder of the server's socket.</summary>
    public string Sockets => Cluster.SocketDirectory;

    /// <summary>The folder of PostgreSQL's programs.</summary>
    public string Programs => Cluster.BinaryDirectory;

    public static string Database => "securemail";

    public static string Role => "securemail_gateway";

    /// <summary>The process id of the postmaster.</summary>
    public int Postmaster =>
        // The server's own lock file begins with it.
        int.Parse(File.ReadLines(Path.Combine(Sockets, ".s.PGSQL.5432.lock")).First(), CultureInfo.InvariantCulture);

    /// <summary>The statement of a lease as a script of pgbench.</summary>
    public static string Script =>
        WorkQueue.LeaseStatement(Batch, destinations: null, ofSubject: false)
            .Replace("@kind", ":kind", StringComparison.Ordinal)
            .Replace("@owner", ":owner", StringComparison.Ordinal)
            .Replace("@lease", ":lease", StringComparison.Ordinal) + ";\n";

    /// <summary>The variables of <see cref="Script"/>.</summary>
    public static IReadOnlyList<string> Variables =>
        ["-D", $"kind={WorkKind.Validate}", "-D", $"owner={Owner}", "-D", "lease=20 s"];

    private PrivateCluster Cluster => _database.Cluster!;

    private QueueProbe Probe => new(new ProbeDatabase(Cluster.ConnectionString("securemail_owner")));

    public static async Task<QueueLoad> StartAsync(int rows)
    {
        var folder = Directory.CreateTempSubdirectory("smqueue").FullName;
        return new QueueLoad(
            folder,
            await GatewayDatabase.OpenAsync(
                new DatabaseOptions(folder, null, null), HostSchema.Migrator, CancellationToken.None),
            rows);
    }

    /// <summary>Makes the queue what it was: so many rows, all due.</summary>
    public Task FillAsync() => Probe.FillAsync(WorkKind.Validate, _rows);

    public Task<long> LeasedAsync() => Probe.CountAsync(WorkKind.Validate, WorkState.Leased);

    /// <summary>Takes so many leases, one after the other.</summary>
    public async Task LeaseAsync(int times)
    {
        var queue = new WorkQueue(_database.Source);
        for (var i = 0; i < times; i++)
        {
            await queue.LeaseAsync(
                WorkKind.Validate, Owner, TimeSpan.FromSeconds(20), Batch, destinations: null, CancellationToken.None);
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _database.DisposeAsync();
        Cluster.DeleteFiles();
        Directory.Delete(_folder, recursive: true);
    }
}
