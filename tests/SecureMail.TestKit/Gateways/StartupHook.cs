using System.Diagnostics;
using System.Globalization;
using System.Runtime.CompilerServices;
using Npgsql;
using SecureMail.Storage;
using SecureMail.TestKit.Probes;

/// <summary>
/// Makes the process under test fail at one commit, or tell what it loaded. The runtime calls <see cref="Initialize"/>
/// before <c>Main</c>,
/// because <c>DOTNET_STARTUP_HOOKS</c> names this assembly. The name of the class, its place outside of any namespace
/// and the method are the runtime's contract.
/// </summary>
/// <remarks>
/// The environment variable <see cref="Variable"/> says <c>FAULT:POINT</c>, or <c>FAULT:POINT#N</c> for the N-th pass.
/// The process says so on standard error and fails there, once. With <see cref="None"/> it does not fail.
/// Each commit is named to the database, where <see cref="CommitProbe"/> looks for writes without a name.
/// </remarks>
internal static class StartupHook
{
    public const string Variable = "SECUREMAIL_COMMIT_FAULT";

    /// <summary>No fault; the commits are named all the same.</summary>
    public const string None = "none";

    /// <summary>The environment variable that names a file. The process writes there which assemblies it had loaded
    /// when
    /// it ended.</summary>
    public const string AssembliesVariable = "SECUREMAIL_TEST_ASSEMBLIES";

    public static void Initialize()
    {
        if (Environment.GetEnvironmentVariable(AssembliesVariable) is { } file)
        {
            AppDomain.CurrentDomain.ProcessExit += (_, _) =>
                File.WriteAllLines(file, AppDomain.CurrentDomain.GetAssemblies().Select(a => a.GetName().Name ?? ""));
        }

        // Apart, because a method loads what it names before it runs.
        if (Environment.GetEnvironmentVariable(Variable) is { } fault)
        {
            FailAt(fault);
        }
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void FailAt(string fault)
    {
        var planned = fault == None ? null : CommitFault.Parse(fault);
        DurableCommit.Interceptor = (point, connection, commit) =>
            NameAsync(
                point, connection, () => planned is null ? commit() : CommitAsync(planned, point, connection, commit));
    }

    /// <summary>Names the commits of this process too, where a gateway of a test runs in it.</summary>
    public static void NameCommitsHere() => DurableCommit.Interceptor = NameAsync;

    private static async Task NameAsync(string point, NpgsqlConnection connection, Func<Task> commit)
    {
        await CommitProbe.NameAsync(connection, point);
        await commit();
        await CommitProbe.NameAsync(connection, "");
    }

    private static async Task CommitAsync(
        CommitFault planned, string point, NpgsqlConnection connection, Func<Task> commit)
    {
        var fault = planned.TakesAt(point) ? planned.Kind : null;
        if (fault is not null)
        {
            await Console.Error.WriteLineAsync($"{Variable} {fault}:{point}");
        }

        if (fault == "kill-before")
        {
            Die();
        }

        if (fault == "fail")
        {
            await CutAsync(connection);
        }

        await commit();
        if (fault == "kill-after")
        {
            Die();
        }

        if (fault == "lose-answer")
        {
            // COMMIT reached the server; what the caller gets is the error of a connection that went away, made by one
            // that did.
            await CutAsync(connection);
            await using var ask = new NpgsqlCommand("SELECT 1", connection);
            await ask.ExecuteScalarAsync();
        }
    }

    /// <summary>SIGKILL: nothing is flushed, no finally runs.</summary>
    private static void Die()
    {
        using var process = Process.GetCurrentProcess();
        process.Kill();
        Thread.CurrentThread.Join();
    }

    /// <summary>Ends the connection's server process from outside, as a fault of the network or the server
    /// would.</summary>
    private static async Task CutAsync(NpgsqlConnection connection)
    {
        await using var other = new NpgsqlConnection(
            new NpgsqlConnectionStringBuilder(connection.ConnectionString) { Pooling = false }.ConnectionString);
        await other.OpenAsync();
        await using var cut = new NpgsqlCommand(
            string.Create(CultureInfo.InvariantCulture, $"SELECT pg_terminate_backend({connection.ProcessID}, 10000)"),
            other);
        await cut.ExecuteScalarAsync();
    }

    private sealed record CommitFault(string Kind, string Point)
    {
        private static readonly string[] Kinds = ["kill-before", "kill-after", "fail", "lose-answer"];
        private int _left = 1;

        /// <exception cref="ArgumentException">The fault is not known. A run with a mistyped fault must not pass for a
        /// run without one.</exception>
        public static CommitFault Parse(string text)
        {
            var (kind, rest) = text.Split(':', 2) is [var k, var r] ? (k, r) : (text, "");
            var (point, times) = rest.Split('#', 2) is [var p, var n]
                ? (p, int.Parse(n, CultureInfo.InvariantCulture))
                : (rest, 1);
            return Kinds.Contains(kind) && point.Length > 0
                ? new CommitFault(kind, point) { _left = times }
                : throw new ArgumentException(
                    $"{Variable} is FAULT:POINT or FAULT:POINT#N, FAULT one of {string.Join(", ", Kinds)}.");
        }

        /// <summary>True once: at the N-th pass.</summary>
        public bool TakesAt(string point) => point == Point && Interlocked.Decrement(ref _left) == 0;
    }
}
