namespace SecureMail.Tests.Host;

/// <summary>A command on files pays for nothing of the gateway: what it does not load costs it no start.</summary>
public sealed class LoadedAssembliesTests : IDisposable
{
    private static readonly string[] OfTheGateway =
    [
        "Npgsql", "Dapper", "Hangfire", "Newtonsoft", "OpenTelemetry", "Microsoft.AspNetCore",
        "Microsoft.Extensions.Hosting", "SecureMail.Web", "SecureMail.LedgerStore",
    ];

    private readonly string _folder = Directory.CreateTempSubdirectory().FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public async Task Verifying_a_file_loads_neither_the_database_nor_the_web()
    {
        var loaded = await LoadedByAsync(
            "verify", "--json", "--no-revocation", "--at", "2030-01-01T00:00:00Z", "--trust", Smime("root.pem"),
            Smime("signed.eml"));
        loaded.ShouldContain("SecureMail.Verification");
        OfTheGateway.SelectMany(p => loaded.Where(a => a.StartsWith(p, StringComparison.Ordinal))).ShouldBeEmpty();
    }

    [Fact]
    public async Task Neither_does_verifying_by_the_anchors_of_a_configuration()
    {
        File.Copy(Smime("root.pem"), Path.Combine(_folder, "root.pem"));
        var config = Path.Combine(_folder, "securemail.json");
        await File.WriteAllTextAsync(config, "{ \"Trust\": { \"Anchors\": [ \"root.pem\" ] } }");
        var loaded = await LoadedByAsync(
            "verify", "--json", "--no-revocation", "--at", "2030-01-01T00:00:00Z", "--config", config,
            Smime("signed.eml"));
        loaded.ShouldContain("SecureMail.Gateway");
        OfTheGateway
            .Except(["SecureMail.LedgerStore"])
            .SelectMany(p => loaded.Where(a => a.StartsWith(p, StringComparison.Ordinal)))
            .ShouldBeEmpty();
    }

    private static string Smime(string name) => Path.Combine(Vectors.Folder("smime"), name);

    private async Task<string[]> LoadedByAsync(params string[] arguments)
    {
        var file = Path.Combine(_folder, "loaded");
        var answer = await Executable.RunAsync(
            new Dictionary<string, string>
            {
                ["DOTNET_STARTUP_HOOKS"] = typeof(StartupHook).Assembly.Location,
                [StartupHook.Variable] = file,
            },
            arguments);
        answer.Exit.ShouldBe(0, answer.Error);
        return await File.ReadAllLinesAsync(file);
    }
}
