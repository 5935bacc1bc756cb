using System.Diagnostics;
using System.Globalization;
using System.Security.Cryptography.X509Certificates;
using Npgsql;
using NpgsqlTypes;
using SecureMail.Storage;

namespace SecureMail.Backup;

/// <summary>The server that is backed up. The connection is of the superuser for the private cluster, and of a role
/// that may replicate for a configured server.</summary>
internal sealed class BackupSource
{
    private readonly NpgsqlConnectionStringBuilder _connection;

    private BackupSource(NpgsqlConnectionStringBuilder connection, bool isPrivate) =>
        (_connection, IsPrivate) = (connection, isPrivate);

    /// <summary>Whether this is the private cluster. The gateway may change the settings of that cluster
    /// alone.</summary>
    public bool IsPrivate { get; }

    /// <exception cref="StorageUnavailableException">The server is a configured one, and no role that may replicate is
    /// configured.</exception>
    public static BackupSource Of(GatewayDatabase database, BackupOptions? backup)
    {
        if (database.Cluster is { } cluster)
        {
            return new BackupSource(
                new NpgsqlConnectionStringBuilder(cluster.ConnectionString("postgres")), isPrivate: true);
        }

        return backup?.Connection is { } connection
            ? new BackupSource(new NpgsqlConnectionStringBuilder(connection), isPrivate: false)
            : throw new StorageUnavailableException(
                StorageFault.BackupConnectionMissing, [],
                "Backup:Connection is missing: a role with REPLICATION on the configured PostgreSQL server.");
    }

    /// <summary>Opens a connection that is not pooled. Its commits never wait for the journal, because this connection
    /// is what restarts the journal.</summary>
    public async Task<NpgsqlConnection> OpenAsync(CancellationToken cancellationToken)
    {
        var connection = new NpgsqlConnection(
            new NpgsqlConnectionStringBuilder(_connection.ConnectionString)
            {
                Pooling = false,
                Options = "-c synchronous_commit=local",
            }.ConnectionString);
        try
        {
            await connection.OpenAsync(cancellationToken);
            return connection;
        }
        catch
        {
            await connection.DisposeAsync();
            throw;
        }
    }

    public string ReplicationConnectionString(string application) =>
        new NpgsqlConnectionStringBuilder(_connection.ConnectionString)
        {
            Pooling = false,
            ApplicationName = application,
            MaxAutoPrepare = 0,
        }.ConnectionString;

    /// <summary>Starts <c>pg_basebackup</c>, which streams the cluster as one tar with the log that makes it
    /// consistent.</summary>
    public Process StartBaseBackup()
    {
        var start = new ProcessStartInfo(Path.Combine(PrivateCluster.FindBinaries(), "pg_basebackup"))
        {
            UseShellExecute = false,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            WorkingDirectory = "/",
        };
        foreach (
            var argument in new[] { "-D", "-", "-F", "tar", "-X", "fetch", "-c", "fast", "--no-password", "--verbose" })
        {
            start.ArgumentList.Add(argument);
        }

        start.Environment["LC_ALL"] = "C.UTF-8";
        start.Environment["PGHOST"] = _connection.Host;
        start.Environment["PGPORT"] = _connection.Port.ToString(CultureInfo.InvariantCulture);
        start.Environment["PGUSER"] = _connection.Username;
        start.Environment["PGAPPNAME"] = "securemail_base";
        if (_connection.Password is { } password)
        {
            start.Environment["PGPASSWORD"] = password;
        }

        return Process.Start(start)
            ?? throw new StorageUnavailableException(
                StorageFault.ProgramFailed, ["pg_basebackup", ""], "pg_basebackup did not start.");
    }

    public static ulong Lsn(object? value) =>
        value switch
        {
            NpgsqlLogSequenceNumber lsn => (ulong)lsn,
            string text => (ulong)NpgsqlLogSequenceNumber.Parse(text),
            _ => 0,
        };
}
