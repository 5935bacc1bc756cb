using Npgsql;

namespace SecureMail.TestKit.Probes;

/// <summary>
/// Named questions to a gateway's database that the product itself does not answer, and named interventions that the
/// gateway could not do: time that has passed, rows that were damaged, work that falls due. Tests know the words here
/// and no table; when the schema changes, a probe changes.
/// </summary>
internal sealed class GatewayProbe
{
    private readonly string _owner;
    private readonly ProbeDatabase _database;

    /// <param name="owner">A connection string of the role that owns the schema.</param>
    public GatewayProbe(string owner)
    {
        _owner = owner;
        _database = new ProbeDatabase(owner);
        Outgoing = new OutgoingProbe(_database);
        Incoming = new IncomingProbe(_database);
        Queue = new QueueProbe(_database);
        Ledger = new LedgerProbe(_database);
        Content = new ContentProbe(_database);
        Jobs = new JobProbe(_database);
        Clock = new ClockProbe(_database);
        Commits = new CommitProbe(_database);
        Restoration = new RestorationProbe(_database);
    }

    /// <summary>Dispatches, transmissions, registers and notices.</summary>
    public OutgoingProbe Outgoing { get; }

    /// <summary>What was received and what became of it.</summary>
    public IncomingProbe Incoming { get; }

    /// <summary>Work and destinations.</summary>
    public QueueProbe Queue { get; }

    /// <summary>Entries, alarms and what peers showed of their ledgers.</summary>
    public LedgerProbe Ledger { get; }

    /// <summary>Encrypted contents and the keys they lie under.</summary>
    public ContentProbe Content { get; }

    /// <summary>Background jobs, in our table and in Hangfire's.</summary>
    public JobProbe Jobs { get; }

    /// <summary>Writes outside of a named commit.</summary>
    public CommitProbe Commits { get; }

    /// <summary>What is known of clocks.</summary>
    public ClockProbe Clock { get; }

    /// <summary>A restoration from a backup, at the restored gateway and at its peers.</summary>
    public RestorationProbe Restoration { get; }

    /// <summary>A probe of the private cluster of an opened gateway.</summary>
    public static GatewayProbe Of(TestGateway node) =>
        new(node.Database.Cluster!.ConnectionString("securemail_owner"));

    /// <summary>Waits until nothing is to be done, everything received is recorded and every entry is covered, all at
    /// one moment.</summary>
    public async Task WaitUntilQuietAsync()
    {
        try
        {
            await TwoGateways.UntilAsync(async () => await UnfinishedAsync() == 0, "a quiet gateway");
        }
        catch (TimeoutException e)
        {
            throw new TimeoutException($"{e.Message}: {string.Join("; ", await Queue.DescribeAsync())}", e);
        }
    }

    /// <summary>How many rows an accepted dispatch or a received message leaves in each table.</summary>
    public async Task<IReadOnlyDictionary<string, long>> FootprintAsync()
    {
        var counts = await _database.RowsAsync(
            """
            SELECT 'outgoing', count(*) FROM gateway.outgoing
            UNION ALL SELECT 'transmission', count(*) FROM gateway.transmission
            UNION ALL SELECT 'register', count(*) FROM gateway.register
            UNION ALL SELECT 'received', count(*) FROM gateway.received
            UNION ALL SELECT 'blob', count(*) FROM gateway.blob
            UNION ALL SELECT 'blob_chunk', count(*) FROM gateway.blob_chunk
            UNION ALL SELECT 'work', count(*) FROM gateway.work WHERE period IS NULL
            UNION ALL SELECT 'entry', count(*) FROM ledger.entry
            """,
            row => (Table: row.GetString(0), Rows: row.GetInt64(1)));
        return counts.ToDictionary(c => c.Table, c => c.Rows);
    }

    /// <summary>The id of who acts from the command line.</summary>
    public Task<Guid> OperatorAsync() => _database.ScalarAsync<Guid>("SELECT actor FROM gateway.operator");

    /// <summary>How many versions of the directory were imported.</summary>
    public Task<long> DirectoriesAsync() => _database.CountAsync("gateway.directory");

    /// <summary>The newest version of the directory that was imported.</summary>
    public Task<long> DirectoryVersionAsync() =>
        _database.ScalarAsync<long>("SELECT max(version) FROM gateway.directory");

    /// <summary>The names of the migrations that were applied, in order.</summary>
    public Task<List<string>> MigrationsAsync() =>
        _database.ListAsync<string>("SELECT name FROM gateway.schema_version ORDER BY name COLLATE \"C\"");

    /// <summary>True where nodes of the build before go on working on what the migration made.</summary>
    public Task<bool> ExpandsOnlyAsync(string migration) =>
        _database.ScalarAsync<bool>("SELECT expands_only FROM gateway.schema_version WHERE name = $1", migration);

    /// <summary>How many transactions are open that wrote a row of a blob.</summary>
    public Task<long> OpenTransactionsAsync() =>
        _database.CountAsync(
            """
            pg_locks WHERE mode = 'RowExclusiveLock' AND relation = 'gateway.blob_chunk'::regclass
              AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
            """);

    /// <summary>How many connections processes that serve hold.</summary>
    public Task<long> ConnectionsAsync() =>
        _database.CountAsync(
            """
            pg_stat_activity WHERE datname = current_database() AND usename = 'securemail_gateway'
              AND application_name LIKE 'serve%'
            """);

    /// <summary>The data folder of the database server, which only a superuser may see.</summary>
    public async Task<string> DataFolderAsync() =>
        (await new ProbeDatabase(
            new NpgsqlConnectionStringBuilder(_owner) { Username = "postgres", Pooling = false }.ConnectionString)
            .ScalarAsync<string>("SHOW data_directory"))!;

    /// <summary>Where the octets of this database's tables lie.</summary>
    public async Task<string> TableFolderAsync() =>
        Path.Combine(
            await DataFolderAsync(), "base",
            (await _database.ScalarAsync<string>(
                "SELECT oid::text FROM pg_database WHERE datname = current_database()"))!);

    private Task<long> UnfinishedAsync() =>
        _database.ScalarAsync<long>(
            """
            SELECT (SELECT count(*) FROM gateway.work WHERE period IS NULL) + (SELECT count(*) FROM ledger.pending)
              + (SELECT count(*) FROM gateway.incoming WHERE state = 'received')
            """);
}
