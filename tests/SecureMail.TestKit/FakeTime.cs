using System.Globalization;
using SecureMail.TestKit.Probes;

namespace SecureMail.TestKit;

/// <summary>
/// Processes whose wall clock is wrong while their monotonic counter is right: Debian's package <c>faketime</c>, loaded
/// into them. A PostgreSQL server of a test's own reads its offset from a file each time, so that its clock steps while
/// it runs.
/// </summary>
internal static class FakeTime
{
    private static readonly string Library = System
        .IO.Directory.EnumerateDirectories("/usr/lib")
        .Select(d => Path.Combine(d, "faketime", "libfaketimeMT.so.1"))
        .FirstOrDefault(File.Exists)
        ?? throw new InvalidOperationException("apt-get install faketime");

    /// <summary>For a process that is wrong by this much from its start, as <c>+600s</c>, or starts at this time, as
    /// <c>@2027-01-01 00:00:00</c>.</summary>
    public static IReadOnlyDictionary<string, string> Environment(string offset) =>
        new Dictionary<string, string>
        {
            ["LD_PRELOAD"] = Library,
            ["FAKETIME"] = offset,
            ["FAKETIME_DONT_FAKE_MONOTONIC"] = "1",
            ["FAKETIME_DISABLE_SHM"] = "1",
            // What it mends in older C libraries it breaks in this one: every wait with a time-out ends at once.
            ["FAKETIME_FORCE_MONOTONIC_FIX"] = "0",
        };

    /// <summary>A server of one's own whose clock can be set.</summary>
    public static async Task<SteppedServer> StartServerAsync(TimeSpan by = default)
    {
        var postgres = new PostgresServer();
        await postgres.InitializeAsync();
        var server = new SteppedServer(postgres, Path.Combine(postgres.Folder, "clock"));
        server.Step(by);
        var data = await new GatewayProbe(postgres.Cluster.ConnectionString("postgres", "postgres")).DataFolderAsync();
        string[] account = System.Environment.IsPrivilegedProcess
            ? ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--init-groups"]
            : [];
        string[] line =
        [
            .. account,
            "env",
            $"LD_PRELOAD={Library}",
            $"FAKETIME_TIMESTAMP_FILE={server.File}",
            "FAKETIME_NO_CACHE=1",
            "FAKETIME_DONT_FAKE_MONOTONIC=1",
            "FAKETIME_DISABLE_SHM=1",
            "FAKETIME_FORCE_MONOTONIC_FIX=0",
            Path.Combine(postgres.Cluster.BinaryDirectory, "pg_ctl"),
            "restart",
            "-D",
            data,
            "-m",
            "fast",
            "-w",
            "-s",
            "-l",
            Path.Combine(Path.GetDirectoryName(data)!, "postgres.log"),
        ];
        await SoftHsm.RunAsync("setsid", ["--wait", .. line]);
        return server;
    }
}

/// <summary>A PostgreSQL server with a wrong clock.</summary>
internal sealed class SteppedServer(PostgresServer postgres, string file) : IAsyncDisposable
{
    public PostgresServer Postgres => postgres;

    public string File => file;

    /// <summary>From now on its clock is wrong by this much.</summary>
    public void Step(TimeSpan by)
    {
        // Renamed into place: a reader sees one or the other.
        System.IO.File.WriteAllText(
            file + ".new", string.Create(CultureInfo.InvariantCulture, $"{by.TotalSeconds:+0;-0;+0}\n"));
        System.IO.File.Move(file + ".new", file, overwrite: true);
    }

    public async ValueTask DisposeAsync() => await postgres.DisposeAsync();
}
