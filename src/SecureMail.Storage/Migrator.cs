using System.Reflection;
using System.Security.Cryptography;
using System.Text;
using Npgsql;

namespace SecureMail.Storage;

/// <summary>
/// Migrates a database to the schema of this build. Ordered SQL files are applied once each, in a transaction of their
/// own, under an advisory lock. A file that was changed after it was applied is refused, and so is a database that is
/// newer than this build.
/// </summary>
/// <remarks>
/// Several nodes are upgraded one after the other while mail flows: the new build migrates, then each node is replaced.
/// A file that only expands the schema says so in its first line, <see cref="ExpandsOnly"/>. A node of the previous
/// build goes on working with such a schema and may be started on it.
/// </remarks>
public sealed class Migrator(params IReadOnlyList<MigrationSet> sets)
{
    /// <summary>The first line of a migration after which the previous build still works.</summary>
    public const string ExpandsOnly = "-- expands only: nodes of the build before go on working on it";

    // More than two minutes in all, most of it waiting between attempts so that other transactions can run.
    private const int Attempts = 200;

    /// <summary>All migrations of this build in the order of application. A name is <c>SCHEMA/FILE</c>.</summary>
    internal IReadOnlyList<Migration> Known { get; } =
    [.. sets.SelectMany(s => s.Files.Select(m => m with { Name = $"{s.Schema}/{m.Name}" }))];

    /// <summary>Names of files of earlier builds that this build does not have any more. A database may have them,
    /// because nodes of the build before may still work on their tables.</summary>
    public IReadOnlyList<string> Retired { get; init; } = [];

    /// <summary>Tables of the sets that the gateway's role may only add to, as <c>schema.table</c>.</summary>
    internal IReadOnlyList<string> AppendOnlyTables { get; } = [.. sets.SelectMany(s => s.AppendOnlyTables)];

    /// <summary>Applies the missing migrations and returns their names.</summary>
    /// <exception cref="StorageUnavailableException">A migration was changed after it was applied, or the database is
    /// newer than this build.</exception>
    public async Task<IReadOnlyList<string>> MigrateAsync(string ownerConnection, CancellationToken cancellationToken)
    {
        await using var connection = await ConnectAsync(ownerConnection, cancellationToken);
        await AdvisoryLock.Migration.TakeForConnectionAsync(connection, cancellationToken);
        var schemas = sets.Select(s => s.Schema).ToList();
        await ExecuteAsync(
            connection,
            null,
            $"""
            SET client_min_messages = warning;
            CREATE SCHEMA IF NOT EXISTS gateway;
            {string.Concat(schemas.Select(s => $"CREATE SCHEMA IF NOT EXISTS {s};\n"))}
            CREATE TABLE IF NOT EXISTS gateway.schema_version (
              name text PRIMARY KEY, sha256 bytea NOT NULL, applied_at timestamptz NOT NULL DEFAULT now());
            ALTER TABLE gateway.schema_version ADD COLUMN IF NOT EXISTS expands_only boolean NOT NULL DEFAULT false;
            DO $$ BEGIN
              IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'securemail_gateway') THEN
                GRANT USAGE ON SCHEMA {string.Join(", ", schemas)} TO securemail_gateway;
                GRANT SELECT ON gateway.schema_version TO securemail_gateway;
              END IF;
            END $$;
            """,
            cancellationToken);
        var pending = await PendingAsync(connection, cancellationToken);
        foreach (var migration in pending)
        {
            migration.Install?.Invoke(connection);
            await ApplyAsync(connection, migration.Name, migration.Sql, cancellationToken);
        }

        return [.. pending.Select(m => m.Name)];
    }

    /// <summary>Applies one file and records it. Other transactions are never aborted because of it.</summary>
    internal static async Task ApplyAsync(
        NpgsqlConnection connection, string name, string sql, CancellationToken cancellationToken)
    {
        for (var attempt = 1; ; attempt++)
        {
            await using var transaction = await connection.BeginTransactionAsync(cancellationToken);
            try
            {
                // Mail flows while the schema changes. A waiting exclusive lock would block all later transactions, so
                // the wait is short and the migration tries again. The limit is far below deadlock_timeout (1 s),
                // because a migration of several tables can deadlock, and PostgreSQL might then abort a clerk's
                // submission.
                await ExecuteAsync(connection, transaction, "SET LOCAL lock_timeout = '200ms'", cancellationToken);
                await ExecuteAsync(connection, transaction, sql, cancellationToken);
            }
            catch (PostgresException e)
                when (e.SqlState is PostgresErrorCodes.DeadlockDetected or PostgresErrorCodes.LockNotAvailable
                    && attempt < Attempts)
            {
                await transaction.RollbackAsync(cancellationToken);
                await Task.Delay(Random.Shared.Next(200, 1000), cancellationToken);
                continue;
            }

            await using var note = new NpgsqlCommand(
                "INSERT INTO gateway.schema_version (name, sha256, expands_only) VALUES ($1, $2, $3)", connection,
                transaction)
            {
                Parameters =
                {
                    new() { Value = name },
                    new() { Value = Digest(sql) },
                    new() { Value = sql.StartsWith(ExpandsOnly, StringComparison.Ordinal) },
                },
            };
            await note.ExecuteNonQueryAsync(cancellationToken);
            await transaction.CommitAsync("schema.migrate", cancellationToken);
            return;
        }
    }

    /// <summary>Whether the schema is the schema of this build; false: it is older.</summary>
    /// <exception cref="StorageUnavailableException">A migration was changed after it was applied, or the database is
    /// newer than this build.</exception>
    internal async Task<bool> IsCurrentAsync(NpgsqlConnection connection, CancellationToken cancellationToken)
    {
        await using var there = new NpgsqlCommand(
            "SELECT to_regclass('gateway.schema_version') IS NOT NULL", connection);
        return (bool)(await there.ExecuteScalarAsync(cancellationToken))!
            && (await PendingAsync(connection, cancellationToken)).Count == 0;
    }

    private async Task<List<Migration>> PendingAsync(NpgsqlConnection connection, CancellationToken cancellationToken)
    {
        var applied = new Dictionary<string, byte[]>();
        var expanded = new HashSet<string>();
        // Read as JSON, because the column expands_only is newer than the table and may be missing.
        await using (
            var command = new NpgsqlCommand(
                """
                SELECT name, sha256, coalesce((to_jsonb(v) ->> 'expands_only')::boolean, false)
                FROM gateway.schema_version v
                """,
                connection))
        await using (var reader = await command.ExecuteReaderAsync(cancellationToken))
        {
            while (await reader.ReadAsync(cancellationToken))
            {
                applied[reader.GetString(0)] = reader.GetFieldValue<byte[]>(1);
                if (reader.GetBoolean(2))
                {
                    expanded.Add(reader.GetString(0));
                }
            }
        }

        if (
            applied.Keys.FirstOrDefault(name =>
                !expanded.Contains(name) && !Retired.Contains(name) && Known.All(m => m.Name != name)) is { } unknown)
        {
            throw new StorageUnavailableException(
                StorageFault.SchemaAhead, [unknown], $"The database is newer than this build ({unknown}).");
        }

        foreach (var (name, sql) in Known)
        {
            if (applied.TryGetValue(name, out var digest) && !digest.AsSpan().SequenceEqual(Digest(sql)))
            {
                throw new StorageUnavailableException(
                    StorageFault.MigrationChanged, [name],
                    $"Migration {name} was changed after it was applied.");
            }
        }

        return [.. Known.Where(m => !applied.ContainsKey(m.Name))];
    }

    private static async Task<NpgsqlConnection> ConnectAsync(
        string connectionString, CancellationToken cancellationToken)
    {
        // Not pooled, because closing the connection must release the advisory lock.
        var connection = new NpgsqlConnection(
            new NpgsqlConnectionStringBuilder(connectionString) { Pooling = false }.ConnectionString);
        try
        {
            await connection.OpenAsync(cancellationToken);
            return connection;
        }
        catch (Exception e) when (DatabaseFault.Is(e))
        {
            await connection.DisposeAsync();
            throw StorageUnavailableException.Of(e);
        }
    }

    private static async Task ExecuteAsync(
        NpgsqlConnection connection, NpgsqlTransaction? transaction, string sql, CancellationToken cancellationToken)
    {
        await using var command = new NpgsqlCommand(sql, connection, transaction) { CommandTimeout = 0 };
        await command.ExecuteNonQueryAsync(cancellationToken);
    }

    private static byte[] Digest(string sql) => SHA256.HashData(Encoding.UTF8.GetBytes(sql.ReplaceLineEndings("\n")));
}

/// <summary>One SQL file that changes the schema.</summary>
/// <param name="Name">The file's name. Within a set the names sort in the order of application.</param>
public sealed record Migration(string Name, string Sql)
{
    /// <summary>What a package installs by itself, in transactions of its own, before the file. After a crash it is run
    /// again and adds what is missing. The connection is of the owner and holds the lock of the migration.</summary>
    public Action<NpgsqlConnection>? Install { get; init; }
}

/// <summary>The migrations of one PostgreSQL schema, in order.</summary>
/// <param name="Schema">The schema's name. It is created before the first file runs.</param>
public sealed record MigrationSet(string Schema, IReadOnlyList<Migration> Files)
{
    /// <summary>Tables that the gateway's role may only add to, as <c>schema.table</c>. Their partitions are
    /// included.</summary>
    public IReadOnlyList<string> AppendOnlyTables { get; init; } = [];

    /// <summary>The set whose files are the assembly's resources named <c>….FILE.sql</c>.</summary>
    public static MigrationSet OfResources(string schema, Assembly assembly)
    {
        List<Migration> migrations = [];
        foreach (
            var resource in assembly
                .GetManifestResourceNames()
                .Where(n => n.EndsWith(".sql", StringComparison.Ordinal))
                .Order(StringComparer.Ordinal))
        {
            using var reader = new StreamReader(assembly.GetManifestResourceStream(resource)!, Encoding.UTF8);
            migrations.Add(new Migration(string.Join('.', resource.Split('.')[^2..]), reader.ReadToEnd()));
        }

        return new MigrationSet(schema, migrations);
    }
}
