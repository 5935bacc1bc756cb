using Npgsql;

namespace SecureMail.Storage;

/// <summary>
/// Who may connect to a private cluster. The server asks the kernel which account is at the other end of the socket
/// (method <c>peer</c>), and a map gives that account its roles: the account that runs the gateway has the three roles
/// of the cluster, and the server's own account, where it is another, is <c>postgres</c> alone. Everybody else is
/// refused, whatever the modes of the folders are.
/// </summary>
/// <remarks>Both files are written before the server starts, so a cluster of an earlier build and a restored one follow
/// them, too. A server that an earlier process left running reads them again.</remarks>
public sealed partial class PrivateCluster
{
    private const string Map = "securemail";

    private static readonly TimeSpan ReloadTakesAtMost = TimeSpan.FromSeconds(30);

    /// <summary>The roles that the gateway's account may use.</summary>
    private static readonly string[] Roles = ["postgres", "securemail_owner", "securemail_gateway"];

    /// <summary>Writes both files where they differ. Answers whether they did.</summary>
    private async Task<bool> WriteAccessAsync(CancellationToken cancellationToken)
    {
        var isNew = false;
        foreach (var (name, text) in AccessFiles())
        {
            if (!await HoldsAsync(name, text, cancellationToken))
            {
                await ReplaceAsync(name, text, cancellationToken);
                isNew = true;
            }
        }

        return isNew;
    }

    /// <summary>Whether both files are as they must be.</summary>
    private async Task<bool> IsAccessWrittenAsync(CancellationToken cancellationToken)
    {
        foreach (var (name, text) in AccessFiles())
        {
            if (!await HoldsAsync(name, text, cancellationToken))
            {
                return false;
            }
        }

        return true;
    }

    private IEnumerable<(string Name, string Text)> AccessFiles()
    {
        var lines = Roles.Select(role => MapLine(Environment.UserName, role));
        if (_account is not null && _account.User != Environment.UserName)
        {
            lines = lines.Append(MapLine(_account.User, Roles[0]));
        }

        yield return ("pg_ident.conf", TextOf(lines));
        yield return (
            "pg_hba.conf", TextOf([$"local all all peer map={Map}", $"local replication all peer map={Map}"]));
    }

    // Quoted, because the name of an account may have a backslash or a blank in it.
    private static string MapLine(string account, string role) => $"{Map} \"{account}\" {role}";

    private static string TextOf(IEnumerable<string> lines) =>
        string.Join('\n', lines.Prepend("# SecureMail writes this file at each start.")) + "\n";

    private async Task<bool> HoldsAsync(string name, string text, CancellationToken cancellationToken)
    {
        var path = Path.Combine(_data, name);
        return File.Exists(path) && text == await File.ReadAllTextAsync(path, cancellationToken);
    }

    private async Task ReplaceAsync(string name, string text, CancellationToken cancellationToken)
    {
        // The folder belongs to the server's account. A new file that takes the old one's place follows no link that
        // lies there.
        var made = Path.Combine(_data, $"{name}.{Guid.NewGuid():N}");
        await using (var file = new StreamWriter(new FileStream(made, FileMode.CreateNew, FileAccess.Write)))
        {
            await file.WriteAsync(text);
        }

        if (_account is not null)
        {
            await RunProgramAsync(
                "chown", ["--no-dereference", $"{_account.User}:{_account.Group}", made], cancellationToken);
        }

        File.Move(made, Path.Combine(_data, name), overwrite: true);
    }

    /// <summary>Makes a running server read the files again, and waits until it has.</summary>
    private async Task ReloadAsync(CancellationToken cancellationToken)
    {
        // Before the reload the old files hold. If they do not let us in, what we wrote does.
        var before = await LoadedAtAsync(cancellationToken);
        await RunAsync("pg_ctl", ["reload", "-D", _data, "-s"], cancellationToken);
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(ReloadTakesAtMost);
        while (await LoadedAtAsync(limit.Token) is not { } now || now == before)
        {
            await Task.Delay(20, limit.Token);
        }
    }

    /// <summary>When the server last read its files; null: it does not let us in.</summary>
    private async Task<DateTime?> LoadedAtAsync(CancellationToken cancellationToken)
    {
        try
        {
            await using var postgres = new NpgsqlConnection(
                new NpgsqlConnectionStringBuilder(ConnectionString(Roles[0], Roles[0])) { Pooling = false }
                    .ConnectionString);
            await postgres.OpenAsync(cancellationToken);
            await using var ask = new NpgsqlCommand("SELECT pg_conf_load_time()", postgres);
            return (DateTime)(await ask.ExecuteScalarAsync(cancellationToken))!;
        }
        catch (PostgresException e) when (e.SqlState.StartsWith("28", StringComparison.Ordinal))
        {
            return null; // class 28 of the server's codes: invalid authorization
        }
    }
}
