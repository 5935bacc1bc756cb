namespace SecureMail.Tests.Host;

/// <summary>A command on files pays for nothing of the gateway: what it does not load costs it no start.</summary>
public sealed class LoadedAssembliesTests : IDisposable
{
    private static readonly string[] OfTheGateway =
    [
        "Npgsql", "Dapper", "Hangfire", "Newtonsoft", "OpenTelemetry", "Microsoft.AspNetCore",
        "Microsoft.Extensions.Hosting", "SecureMail.Web", "SecureMail.LedgerStore",
    ];

    // The first use of BouncyCastle costs 0.1 to 0.2 s.
    private static readonly string[] OfOtherSignatures = ["BouncyCastle", "Pkcs11Interop"];

    private readonly string _folder = Directory.CreateTempSubdirectory().FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public async Task Verifying_a_file_loads_neither_the_database_nor_the_web()
    {
        var loaded = await LoadedByAsync(
            "verify", "--json", "--no-revocation", "--at", "2030-01-01T00:00:00Z", "--trust", Smime("root.pem"),
            Smime("signed.eml"));
        loaded.ShouldContain("SecureMail.Verification");
        OfTheGateway
            .Concat(OfOtherSignatures)
            .SelectMany(p => loaded.Where(a => a.StartsWith(p, StringComparison.Ordinal)))
            .ShouldBeEmpty();
    }

    [Fact]
    public async Task Only_a_key_that_BouncyCastle_computes_with_loads_it()
    {
        string Signers(string name) => Path.Combine(Vectors.Folder("cms/signers"), name);
        async Task<string[]> LoadedAsync(int exit, string file) =>
            await LoadedByAsync(
                exit, "verify", "--json", "--no-revocation", "--at", "2030-01-01T00:00:00Z", "--trust",
                Signers("root.pem"), Signers(file));
        (await LoadedAsync(0, "rsa.der")).ShouldNotContain("BouncyCastle.Cryptography");
        (await LoadedAsync(0, "p256.der")).ShouldNotContain("BouncyCastle.Cryptography");
        (await LoadedAsync(1, "dsa.der")).ShouldContain("BouncyCastle.Cryptography");
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

    private Task<string[]> LoadedByAsync(params string[] arguments) => LoadedByAsync(0, arguments);

    private async Task<string[]> LoadedByAsync(int exit, params string[] arguments)
    {
        var file = Path.Combine(_folder, "loaded");
        var answer = await Executable.RunAsync(
            new Dictionary<string, string>
            {
                ["DOTNET_STARTUP_HOOKS"] = typeof(StartupHook).Assembly.Location,
                [StartupHook.AssembliesVariable] = file,
            },
            arguments);
        answer.Exit.ShouldBe(exit, answer.Error);
        return await File.ReadAllLinesAsync(file);
    }
}
