using Npgsql;

namespace SecureMail.Storage;

/// <summary>The gateway's database, opened: the configured server, or the private cluster. Connections are of the role
/// that cannot change the ledger.</summary>
public sealed class GatewayDatabase : IAsyncDisposable
{
    private readonly PrivateCluster? _cluster;

    private GatewayDatabase(NpgsqlDataSource source, string connectionString, PrivateCluster? cluster)
    {
        Source = source;
        ConnectionString = connectionString;
        _cluster = cluster;
    }

    public NpgsqlDataSource Source { get; }

    /// <summary>The private cluster; null for a configured server.</summary>
    public PrivateCluster? Cluster => _cluster;

    /// <summary>For a library that opens connections of its own. It may hold a password, so it is never
    /// shown.</summary>
    public string ConnectionString { get; }

    /// <summary>Opens the database at the schema of this build. The private cluster is migrated here; a configured
    /// database is migrated by its owner.</summary>
    /// <exception cref="StorageUnavailableException">Absent, unreachable, of another version, or opened with a role
    /// that may change the ledger.</exception>
    public static async Task<GatewayDatabase> OpenAsync(
        DatabaseOptions options, Migrator migrator, CancellationToken cancellationToken)
    {
        PrivateCluster? cluster = null;
        NpgsqlDataSource? source = null;
        try
        {
            if (options.Connection is null)
            {
                cluster = await PrivateCluster.OpenAsync(options.DataFolder, cancellationToken);
            }

            source = cluster?.Gateway ?? ConnectionsOf(options.Connection!);
            await using var connection = await source.OpenConnectionAsync(cancellationToken);
            // Each command asks. To migrate where nothing is missing would grant again what is granted, and make every
            // connection of the gateway forget what it knows of the schema.
            if (!await migrator.IsCurrentAsync(connection, cancellationToken))
            {
                await migrator.MigrateAsync(
                    cluster is not null
                        ? WithoutJournal(cluster)
                        : throw new StorageUnavailableException(
                            StorageFault.SchemaBehind, [],
                            "The database is not at this version: run \"securemail migrate\"."),
                    cancellationToken);
            }

            if (cluster is null)
            {
                await RequireWeakRoleAsync(connection, migrator.AppendOnlyTables, cancellationToken);
            }

            return new GatewayDatabase(
                source, WithoutAnswerToCancel(options.Connection ?? cluster!.ConnectionString("securemail_gateway")),
                cluster);
        }
        catch (Exception e)
        {
            if (source is not null)
            {
                await source.DisposeAsync();
            }

            if (cluster is not null)
            {
                await cluster.DisposeAsync();
            }

            // A PostgresException is an answer of the server. It must not be hidden behind "cannot be reached".
            if (
                e
                is not PostgresException
                    and (NpgsqlException or IOException or TimeoutException or System.Net.Sockets.SocketException))
            {
                throw StorageUnavailableException.Of(e);
            }

            throw;
        }
    }

    /// <summary>Brings the schema to this build as its owner; answers what was applied.</summary>
    /// <exception cref="StorageUnavailableException">Unreachable, or no connection of the owner is
    /// configured.</exception>
    public static async Task<IReadOnlyList<string>> MigrateAsync(
        DatabaseOptions options, Migrator migrator, CancellationToken cancellationToken)
    {
        if (options.Connection is null)
        {
            await using var cluster = await PrivateCluster.OpenAsync(options.DataFolder, cancellationToken);
            return await migrator.MigrateAsync(WithoutJournal(cluster), cancellationToken);
        }

        return await migrator.MigrateAsync(
            options.OwnerConnection
                ?? throw new StorageUnavailableException(
                    StorageFault.OwnerConnectionMissing, [],
                    "Database:OwnerConnection, of the role that owns the schema, is not configured."),
            cancellationToken);
    }

    /// <summary>
    /// Returns when all that was committed before is as durable as an answered commit. A row can be read while its
    /// commit still waits for the journal, or after that wait was cancelled. Whoever promises something because a row
    /// is there calls this first. An empty message is committed to the write-ahead log behind the row, and its commit
    /// waits like every commit.
    /// </summary>
    public static async Task WaitForDurabilityAsync(NpgsqlConnection connection, CancellationToken cancellationToken)
    {
        await using var command = new NpgsqlCommand(DurabilityBarrier, connection);
        await command.ExecuteNonQueryAsync(cancellationToken);
    }

    /// <inheritdoc cref="WaitForDurabilityAsync(NpgsqlConnection, CancellationToken)"/>
    public async Task WaitForDurabilityAsync(CancellationToken cancellationToken)
    {
        await using var connection = await Source.OpenConnectionAsync(cancellationToken);
        await WaitForDurabilityAsync(connection, cancellationToken);
    }

    public const string DurabilityBarrier = "SELECT pg_logical_emit_message(true, 'securemail', '')";

    /// <summary>Commits an empty record to the write-ahead log, because only writing shows whether the database can
    /// write and how fast.</summary>
    public async Task TryCommitAsync(CancellationToken cancellationToken)
    {
        // The commit is local, because a standby that does not follow would hang it.
        await using var command = Source.CreateCommand(
            "SELECT set_config('synchronous_commit', 'local', true), pg_logical_emit_message(true, 'securemail', "
                + "'')::text");
        await command.ExecuteNonQueryAsync(cancellationToken);
    }

    public async ValueTask DisposeAsync()
    {
        await Source.DisposeAsync();
        if (_cluster is not null)
        {
            await _cluster.DisposeAsync();
        }
    }

    // A statement is planned once for each connection, and not anew for each of its arguments, which cost the server
    // more than to run it. Such a plan must not come from the size that a table had then: an empty table would be read
    // as a whole ever after. Therefore an index is taken wherever there is one; its cost in the plan would start the
    // compiler, so that is off.
    private const string Plans = "-c plan_cache_mode=force_generic_plan -c enable_seqscan=off -c jit=off";

    // More than there are statements: one that gives way to another is planned anew each time, which costs up to 3 ms.
    private const int MostStatements = 256;

    /// <summary>Connections for statements that leave nothing behind: what they set or lock ends with its transaction.
    /// Therefore a connection that comes back needs no reset, which costs the server more than most statements do. The
    /// schema has no types of its own, and to ask for the server's costs each process 12 ms of the server's
    /// CPU.</summary>
    internal static NpgsqlDataSource ConnectionsOf(string connectionString)
    {
        var builder = new NpgsqlDataSourceBuilder(WithoutAnswerToCancel(connectionString));
        builder.ConnectionStringBuilder.NoResetOnClose = true;
        builder.ConnectionStringBuilder.MaxAutoPrepare = MostStatements;
        builder.ConnectionStringBuilder.AutoPrepareMinUsages = 2;
        // What the configuration sets goes before ours.
        builder.ConnectionStringBuilder.Options = $"{Plans} {builder.ConnectionStringBuilder.Options}".TrimEnd();
        builder.ConfigureTypeLoading(types => types.EnableTypeLoading(false));
        return builder.Build();
    }

    /// <summary>When a COMMIT waits for the journal (or another synchronous standby) and is cancelled, the server
    /// answers it as committed, with a warning that nobody reads. Therefore the answer to a cancelled command is not
    /// waited for: the connection breaks, and nothing counts as done.</summary>
    private static string WithoutAnswerToCancel(string connectionString) =>
        new NpgsqlConnectionStringBuilder(connectionString) { CancellationTimeout = -1 }.ConnectionString;

    /// <summary>The connection of a migration does not wait for the journal, because the journal may need the migration
    /// to start.</summary>
    private static string WithoutJournal(PrivateCluster cluster) =>
        new NpgsqlConnectionStringBuilder(cluster.ConnectionString("securemail_owner"))
        {
            Options = "-c synchronous_commit=local",
        }.ConnectionString;

    /// <summary>Refuses a role that may change the ledger. The private cluster's is always that of the
    /// gateway.</summary>
    private static async Task RequireWeakRoleAsync(
        NpgsqlConnection connection, IReadOnlyList<string> appendOnlyTables, CancellationToken cancellationToken)
    {
        await using var command = new NpgsqlCommand(
            """
            WITH named AS (SELECT unnest($1::text[])::regclass AS t)
            SELECT coalesce(bool_or(has_table_privilege(t, p)), false)
            FROM unnest(ARRAY['UPDATE', 'DELETE', 'TRUNCATE']) p,
              (SELECT t FROM named UNION SELECT inhrelid::regclass FROM pg_inherits JOIN named ON inhparent = t) tables
            """,
            connection)
        {
            Parameters = { new() { Value = appendOnlyTables.ToArray() } },
        };
        if ((bool)(await command.ExecuteScalarAsync(cancellationToken))!)
        {
            throw new StorageUnavailableException(
                StorageFault.RoleTooStrong, [],
                "The role of Database:Connection may change ledger rows: connect as securemail_gateway.");
        }
    }
}
