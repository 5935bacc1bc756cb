using Npgsql;
using SecureMail.Gateway;
using SecureMail.Host.Schema;
using SecureMail.Storage;

namespace SecureMail.TestKit;

/// <summary>A PostgreSQL server of one's own, on a Unix socket, for a test that stops, slows or ages it.</summary>
public class PostgresServer : IAsyncLifetime
{
    private readonly Lazy<Task<string>> _template;

    public PostgresServer() => _template = new(MakeTemplateAsync);

    /// <summary>The data folder the cluster belongs to: opening it again starts a server that was stopped.</summary>
    public string Folder { get; protected set; } =
        Path.Combine(Path.GetTempPath(), "smtest-" + Guid.NewGuid().ToString("N")[..8]);

    public PrivateCluster Cluster { get; protected set; } = null!;

    public virtual async Task InitializeAsync() =>
        Cluster = await PrivateCluster.OpenAsync(Folder, CancellationToken.None);

    /// <summary>Makes an empty database; the answer connects as the role that owns it.</summary>
    public Task<string> CreateDatabaseAsync() => CreateAsync("");

    /// <summary>Makes a database with the schema of this build. The schema is migrated once a server and then copied,
    /// because that costs a tenth.</summary>
    public virtual async Task<string> CreateMigratedDatabaseAsync() =>
        await CreateAsync($"TEMPLATE {await _template.Value}");

    /// <summary>The same database as the role that the gateway runs as.</summary>
    public static string AsGateway(string connectionString) =>
        new NpgsqlConnectionStringBuilder(connectionString) { Username = "securemail_gateway" }.ConnectionString;

    public virtual async Task DisposeAsync()
    {
        await Cluster.DisposeAsync();
        Directory.Delete(Folder, recursive: true);
        Cluster.DeleteFiles();
    }

    private async Task<string> MakeTemplateAsync()
    {
        var owner = await CreateDatabaseAsync();
        await GatewayDatabase.MigrateAsync(
            new DatabaseOptions(Folder, AsGateway(owner), owner), HostSchema.Migrator, CancellationToken.None);
        // A database that somebody is connected to cannot be copied.
        NpgsqlConnection.ClearAllPools();
        return new NpgsqlConnectionStringBuilder(owner).Database!;
    }

    private async Task<string> CreateAsync(string template)
    {
        var name = "t_" + Guid.NewGuid().ToString("N");
        await using var connection = new NpgsqlConnection(
            Cluster.ConnectionString("postgres", "postgres") + ";Pooling=false");
        await connection.OpenAsync();
        await using var command = new NpgsqlCommand(
            $"CREATE DATABASE {name} OWNER securemail_owner {template}", connection);
        await command.ExecuteNonQueryAsync();
        // Hundreds of databases, each with pools of its own: what idles is given back at once, or the server runs out
        // of connections.
        return new NpgsqlConnectionStringBuilder(Cluster.ConnectionString("securemail_owner", name))
        {
            ConnectionIdleLifetime = 2,
            ConnectionPruningInterval = 1,
        }.ConnectionString;
    }
}

/// <summary>The server that the tests of a run share; every test takes a database of its own. It runs as long as a
/// class of tests uses it.</summary>
public sealed class PostgresFixture : PostgresServer
{
    private static readonly SemaphoreSlim Gate = new(1);
    private static PostgresServer? _shared;
    private static int _users;

    public override async Task InitializeAsync()
    {
        await Gate.WaitAsync();
        try
        {
            if (_shared is null)
            {
                var server = new PostgresServer();
                await server.InitializeAsync();
                _shared = server;
            }

            _users++;
            Folder = _shared.Folder;
            Cluster = _shared.Cluster;
        }
        finally
        {
            Gate.Release();
        }
    }

    public override Task<string> CreateMigratedDatabaseAsync() => _shared!.CreateMigratedDatabaseAsync();

    public override async Task DisposeAsync()
    {
        await Gate.WaitAsync();
        try
        {
            if (--_users == 0)
            {
                await _shared!.DisposeAsync();
                _shared = null;
            }
        }
        finally
        {
            Gate.Release();
        }
    }
}
