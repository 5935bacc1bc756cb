using System.Globalization;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text;
using Npgsql;

namespace SecureMail.Storage;

/// <summary>
/// A PostgreSQL cluster of our own, made from the distribution's binaries, for an installation that configured no
/// database.
/// </summary>
/// <remarks>
/// The server listens on a Unix socket in a directory that only its owner can enter, and on no TCP port. Several
/// processes may open the cluster. The first one starts the server and the last one stops it. Each holds a shared lock
/// on <c>users.lock</c>, which the kernel releases when the process ends. A server that an earlier process left running
/// after a crash is used as it is, because PostgreSQL recovers by itself. Roles: <c>postgres</c> (superuser, for
/// maintenance), <c>securemail_owner</c> (owns the schema, migrates), <c>securemail_gateway</c> (the role of the
/// running gateway; it cannot change ledger rows). Only the account that runs the gateway may use these roles
/// (PrivateCluster.Access.cs), and nobody else can enter the directory.
/// </remarks>
public sealed partial class PrivateCluster : IAsyncDisposable
{
    private const string DatabaseName = "securemail";

    // sun_path holds 108 bytes with its NUL; PostgreSQL appends "/.s.PGSQL.5432.lock" and refuses what does not fit.
    private const int LongestSocketDirectory = 107 - 19;

    private readonly string _data;
    private readonly FileStream _users;
    private readonly ServerAccount? _account;
    private int _disposed;

    private PrivateCluster(string data, string sockets, string bin, FileStream users, ServerAccount? account)
    {
        _data = data;
        SocketDirectory = sockets;
        BinaryDirectory = bin;
        _users = users;
        _account = account;
        Gateway = GatewayDatabase.ConnectionsOf(ConnectionString("securemail_gateway"));
    }

    /// <summary>The directory of the Unix socket; <c>psql -h</c> takes it.</summary>
    public string SocketDirectory { get; }

    /// <summary>The folder of the PostgreSQL programs in use.</summary>
    public string BinaryDirectory { get; }

    /// <summary>Connections of the running gateway's role. The first one is open when the cluster was complete, so that
    /// a command needs no other.</summary>
    internal NpgsqlDataSource Gateway { get; }

    /// <summary>A connection string for one of the three roles.</summary>
    public string ConnectionString(string role, string database = DatabaseName) =>
        new NpgsqlConnectionStringBuilder
        {
            Host = SocketDirectory,
            Database = database,
            Username = role,
            MaxPoolSize = 100,
            ApplicationName = "securemail",
            IncludeErrorDetail = false,
        }.ConnectionString;

    /// <summary>Opens the cluster that belongs to <paramref name="dataFolder"/>. The cluster is created and started if
    /// needed.</summary>
    /// <exception cref="StorageUnavailableException">There are no PostgreSQL binaries, or the server did not
    /// start.</exception>
    public static async Task<PrivateCluster> OpenAsync(string dataFolder, CancellationToken cancellationToken)
    {
        var folder = Path.GetFullPath(dataFolder);
        Directory.CreateDirectory(folder);
        var bin = FindBinaries();
        var (data, sockets, account) = PlacesOf(folder);
        await MakePrivateDirectoryAsync(Path.GetDirectoryName(data)!, account, cancellationToken);
        await MakePrivateDirectoryAsync(sockets, account, cancellationToken);
        using (await ExclusiveAsync(Path.Combine(Path.GetDirectoryName(data)!, "start.lock"), cancellationToken))
        {
            var users = new FileStream(
                Path.Combine(Path.GetDirectoryName(data)!, "users.lock"), FileMode.OpenOrCreate, FileAccess.Read,
                FileShare.ReadWrite);
            users.Dispose();
            users = new FileStream(users.Name, FileMode.Open, FileAccess.Read, FileShare.Read);
            var cluster = new PrivateCluster(data, sockets, bin, users, account);
            try
            {
                if (!await cluster.IsCompleteAsync(cancellationToken))
                {
                    await cluster.StartAsync(cancellationToken);
                }

                return cluster;
            }
            catch
            {
                await cluster.Gateway.DisposeAsync();
                await users.DisposeAsync();
                throw;
            }
        }
    }

    /// <summary>Leaves the cluster. The server stops when no other process uses it. Committed data is durable in both
    /// cases.</summary>
    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
        {
            return;
        }

        await Gateway.DisposeAsync();
        NpgsqlConnection.ClearAllPools();
        var path = _users.Name;
        using var guard = await ExclusiveAsync(
            Path.Combine(Path.GetDirectoryName(path)!, "start.lock"), CancellationToken.None);
        await _users.DisposeAsync();
        try
        {
            // An exclusive lock is granted only when no other process holds its shared one.
            await using var last = new FileStream(path, FileMode.Open, FileAccess.ReadWrite, FileShare.None);
            await RunAsync(
                "pg_ctl", ["stop", "-D", _data, "-m", "fast", "-w", "-t", "60", "-s"], CancellationToken.None,
                mayFail: true);
        }
        catch (IOException)
        {
            // Another process still uses the server. The last one stops it.
        }
    }

    /// <summary>Deletes the files of a stopped cluster, for tests and for removing an installation.</summary>
    public void DeleteFiles() => DeleteFiles(_data, SocketDirectory);

    internal static void DeleteFiles(string dataFolder)
    {
        var (data, sockets, _) = PlacesOf(Path.GetFullPath(dataFolder));
        DeleteFiles(data, sockets);
    }

    private static void DeleteFiles(string data, string sockets)
    {
        foreach (var folder in new[] { Path.GetDirectoryName(data)!, sockets })
        {
            DeleteIfThere(folder);
        }
    }

    /// <summary>The short folder that belongs to a data folder, for sockets whose path in the data folder would be too
    /// long.</summary>
    public static string ShortFolderOf(string dataFolder) => PlacesOf(Path.GetFullPath(dataFolder)).Sockets;

    private static (string Data, string Sockets, ServerAccount? Account) PlacesOf(string folder)
    {
        var name = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(folder)))[..12];
        // PostgreSQL refuses to run as root. The account that it runs under then must reach the files, and it may have
        // no access to the data folder.
        var account = Environment.IsPrivilegedProcess ? ServerAccount.Postgres : null;
        return (
            account is null ? Path.Combine(folder, "postgres") : $"/var/lib/securemail/{name}/postgres",
            SocketDirectoryFor(name, account), account);
    }

    private string Settings() =>
        $"-c listen_addresses='' -c unix_socket_directories='{SocketDirectory}' -c unix_socket_permissions=0700 -c "
        + $"max_connections=400 -c log_statement=none -c log_parameter_max_length=0 -c "
        + $"log_parameter_max_length_on_error=0"
        // A journal that stays away must not fill the disk. Beyond this size its slot is lost, and health reports it.
        + " -c max_slot_wal_keep_size=4GB";

    private async Task StartAsync(CancellationToken cancellationToken)
    {
        if (!File.Exists(Path.Combine(_data, "PG_VERSION")))
        {
            await RunAsync(
                "initdb",
                ["-D", _data, "-U", "postgres", "-A", "peer", "-E", "UTF8", "--locale=C.UTF-8", "--data-checksums"],
                cancellationToken);
        }

        var isAccessNew = await WriteAccessAsync(cancellationToken);
        if (await AnswersAsync(cancellationToken))
        {
            if (isAccessNew)
            {
                await ReloadAsync(cancellationToken);
            }
        }
        else
        {
            // setsid, because Ctrl-C at the terminal must reach the gateway alone. The gateway finishes its work before
            // the database stops.
            await RunAsync(
                "pg_ctl",
                [
                    "start",
                    "-D",
                    _data,
                    "-w",
                    "-t",
                    "60",
                    "-s",
                    "-l",
                    Path.Combine(Path.GetDirectoryName(_data)!, "postgres.log"),
                    "-o",
                    Settings(),
                ],
                cancellationToken,
                newSession: true);
        }

        // Not pooled, because a pooled connection from before a crash of the server would be broken. These commits do
        // not wait for the journal, because they create what the journal needs before it can run.
        await using var postgres = new NpgsqlConnection(
            new NpgsqlConnectionStringBuilder(ConnectionString("postgres", "postgres"))
            {
                Pooling = false,
                Options = "-c synchronous_commit=local",
            }.ConnectionString);
        await postgres.OpenAsync(cancellationToken);
        await ExecuteAsync(
            postgres,
            """
            DO $$ BEGIN
              IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'securemail_owner')
                THEN CREATE ROLE securemail_owner LOGIN; END IF;
              IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'securemail_gateway')
                THEN CREATE ROLE securemail_gateway LOGIN; END IF;
              -- Health reads whether the journal of the backup follows.
              IF NOT pg_has_role('securemail_gateway', 'pg_read_all_stats', 'MEMBER') THEN
                GRANT pg_read_all_stats TO securemail_gateway; END IF;
            END $$
            """,
            cancellationToken);
        await using var exists = new NpgsqlCommand("SELECT count(*) FROM pg_database WHERE datname = $1", postgres)
        {
            Parameters = { new() { Value = DatabaseName } },
        };
        if ((long)(await exists.ExecuteScalarAsync(cancellationToken))! == 0)
        {
            await ExecuteAsync(postgres, $"CREATE DATABASE {DatabaseName} OWNER securemail_owner", cancellationToken);
        }
    }

    /// <summary>Whether the server runs, lets in whom it shall, and has the roles and the database: each command asks,
    /// and nearly always it is so.</summary>
    private async Task<bool> IsCompleteAsync(CancellationToken cancellationToken)
    {
        // The roles are made in one statement, and the database after them.
        if (!File.Exists(Path.Combine(_data, "postmaster.pid")) || !await IsAccessWrittenAsync(cancellationToken))
        {
            return false;
        }

        try
        {
            await using var connection = await Gateway.OpenConnectionAsync(cancellationToken);
            return true;
        }
        catch (Exception e) when (e is NpgsqlException or IOException or SocketException)
        {
            return false;
        }
    }

    private async Task<bool> AnswersAsync(CancellationToken cancellationToken)
    {
        if (!File.Exists(Path.Combine(_data, "postmaster.pid")))
        {
            return false;
        }

        return await RunAsync("pg_isready", ["-q", "-h", SocketDirectory, "-t", "5"], cancellationToken, mayFail: true)
            == 0;
    }

    private static async Task ExecuteAsync(NpgsqlConnection connection, string sql, CancellationToken cancellationToken)
    {
        await using var command = new NpgsqlCommand(sql, connection);
        await command.ExecuteNonQueryAsync(cancellationToken);
    }

    public static string FindBinaries()
    {
        var roots = new[] { "/usr/lib/postgresql", "/usr/pgsql" };
        var newest = roots
            .Where(Directory.Exists)
            .SelectMany(Directory.GetDirectories)
            .Where(d =>
                File.Exists(Path.Combine(d, "bin", "initdb"))
                && int.TryParse(Path.GetFileName(d), NumberStyles.None, CultureInfo.InvariantCulture, out _))
            .MaxBy(d => int.Parse(Path.GetFileName(d), CultureInfo.InvariantCulture));
        return newest is not null
            ? Path.Combine(newest, "bin")
            : throw new StorageUnavailableException(
                StorageFault.PostgresMissing, [],
                "PostgreSQL is not installed: install the package \"postgresql\" or set Database:Connection.");
    }

    private static string SocketDirectoryFor(string name, ServerAccount? account)
    {
        var runtime = Environment.GetEnvironmentVariable("XDG_RUNTIME_DIR");
        var root =
            account is not null ? "/run/securemail"
            : !string.IsNullOrEmpty(runtime)
            && Directory.Exists(runtime)
            && runtime.Length + name.Length + 12 < LongestSocketDirectory
                ? Path.Combine(runtime, "securemail")
            : $"/tmp/securemail-{Environment.UserName}";
        return Path.Combine(root, name);
    }

    private static async Task MakePrivateDirectoryAsync(
        string path, ServerAccount? account, CancellationToken cancellationToken)
    {
        if (OperatingSystem.IsWindows())
        {
            throw new PlatformNotSupportedException();
        }

        if (account is not null)
        {
            // The parent belongs to root and is traversable. The directory itself belongs to the server's account
            // alone.
            const UnixFileMode Traversable = UnixFileMode.GroupExecute | UnixFileMode.OtherExecute;
            var above = Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            if ((above.UnixFileMode & Traversable) != Traversable)
            {
                above.UnixFileMode |= Traversable; // the umask may have taken it away
            }

            const UnixFileMode Closed = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;
            if (Directory.Exists(path)
                && File.GetUnixFileMode(path) == Closed
                && Directory.EnumerateFileSystemEntries(path).Any())
            {
                return; // it was complete before anything came into it
            }

            await RunProgramAsync(
                "install", ["-d", "-m", "0700", "-o", account.User, "-g", account.Group, path], cancellationToken);
            return;
        }

        const UnixFileMode Private = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;
        var parent = Path.GetDirectoryName(path)!;
        if (Path.GetDirectoryName(parent) == "/tmp")
        {
            // Another user may have created this name under /tmp. Then the directory is not ours, and setting its mode
            // fails.
            // Others may pass through it to a socket that is meant for them; the folders in it decide.
            const UnixFileMode Passable = Private | UnixFileMode.GroupExecute | UnixFileMode.OtherExecute;
            Directory.CreateDirectory(parent, Private);
            File.SetUnixFileMode(parent, Passable);
        }

        Directory.CreateDirectory(path, Private);
        File.SetUnixFileMode(path, Private);
    }

    private static async Task<FileStream> ExclusiveAsync(string path, CancellationToken cancellationToken)
    {
        for (var attempt = 0; ; attempt++)
        {
            try
            {
                return new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
            }
            catch (IOException e)
                when (e is not (DirectoryNotFoundException or FileNotFoundException) && attempt < 1200)
            {
                await Task.Delay(100, cancellationToken);
            }
        }
    }

    private sealed record ServerAccount(string User, string Group)
    {
        public static readonly ServerAccount Postgres = new("postgres", "postgres");
    }
}
