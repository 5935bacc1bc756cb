using Npgsql;
using SecureMail.Storage;

namespace SecureMail.SystemTests;

/// <summary>One private cluster for the whole run, on a Unix socket; every test takes a database of its own.</summary>
public sealed class PostgresFixture : IAsyncLifetime
{
    private readonly string _folder = Path.Combine(Path.GetTempPath(), "smtest-" + Guid.NewGuid().ToString("N")[..8]);

    /// <summary>The data folder the cluster belongs to: opening it again starts a server that was stopped.</summary>
    public string Folder => _folder;

    public PrivateCluster Cluster { get; private set; } = null!;

    public async Task InitializeAsync() => Cluster = await PrivateCluster.OpenAsync(_folder, CancellationToken.None);

    /// <summary>Makes an empty database; the answer connects as the role that owns it.</summary>
    public async Task<string> CreateDatabaseAsync()
    {
        var name = "t_" + Guid.NewGuid().ToString("N");
        await using var connection = new NpgsqlConnection(Cluster.ConnectionString("postgres", "postgres"));
        await connection.OpenAsync();
        await using var command = new NpgsqlCommand($"CREATE DATABASE {name} OWNER securemail_owner", connection);
        await command.ExecuteNonQueryAsync();
        // Hundreds of databases, each with pools of its own: what idles is given back at once, or the server runs out
        // of connections.
        return new NpgsqlConnectionStringBuilder(Cluster.ConnectionString("securemail_owner", name))
        {
            ConnectionIdleLifetime = 2,
            ConnectionPruningInterval = 1,
        }.ConnectionString;
    }

    /// <summary>The same database as the role that the gateway runs as.</summary>
    public static string AsGateway(string connectionString) =>
        new NpgsqlConnectionStringBuilder(connectionString) { Username = "securemail_gateway" }.ConnectionString;

    public async Task DisposeAsync()
    {
        await Cluster.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
        Cluster.DeleteFiles();
    }
}

[CollectionDefinition("postgres")]
public sealed class PostgresCollection : ICollectionFixture<PostgresFixture>;
