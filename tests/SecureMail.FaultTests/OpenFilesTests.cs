
namespace SecureMail.FaultTests;

/// <summary>What a serving gateway leaves open to other accounts of its machine: nothing.</summary>
public sealed class OpenFilesTests(PostgresFixture postgres) : IClassFixture<PostgresFixture>
{
    [Fact]
    public async Task What_a_serving_gateway_creates_is_open_to_its_own_account_alone()
    {
        await using var pair = await TwoGateways.StartAsync(postgres, run: false);
        var http = TestPorts.Next();
        await using var process = GatewayProcess.Serve(pair.B.Options, http);
        await Pressure.ReadyAsync(http);
        UmaskOf("self").ShouldNotBe("0077", "the test's own process shows what is inherited without");
        UmaskOf(process.Id.ToString()).ShouldBe("0077");
        await process.StopAsync();
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task The_scripts_start_it_without_a_diagnostics_socket(bool asTheScriptsDo)
    {
        var temporary = Directory.CreateTempSubdirectory("smdiag").FullName;
        try
        {
            await using var pair = await TwoGateways.StartAsync(postgres, run: false);
            var http = TestPorts.Next();
            await using var process = GatewayProcess.Serve(
                pair.B.Options, http, temporary: temporary,
                // The tests themselves are started by a script.
                environment: asTheScriptsDo
                    ? await ScriptsAsync()
                    : new Dictionary<string, string> { ["DOTNET_EnableDiagnostics"] = "1" });
            await Pressure.ReadyAsync(http);
            var sockets = Directory.GetFiles(temporary, "*").Select(Path.GetFileName)
                .Where(f => f!.StartsWith("dotnet-diagnostic-", StringComparison.Ordinal)
                    || f.StartsWith("clr-debug-pipe-", StringComparison.Ordinal));
            sockets.Any().ShouldBe(!asTheScriptsDo, "without the variable the runtime opens it");
            await process.StopAsync();
        }
        finally
        {
            Directory.Delete(temporary, recursive: true);
        }
    }

    /// <summary>What scripts/setup.sh, which every script sources, exports of the runtime's own variables.</summary>
    private static async Task<IReadOnlyDictionary<string, string>> ScriptsAsync()
    {
        var said = await SoftHsm.RunAsync(
            "env", "-u", "DOTNET_EnableDiagnostics", "bash", "-c",
            ". \"$1/scripts/setup.sh\" && printf '%s' \"$(env | grep '^DOTNET_EnableDiagnostics=')\"", "bash",
            Repository.Root);
        return new Dictionary<string, string> { [said.Trim().Split('=')[0]] = said.Trim().Split('=')[1] };
    }

    private static string UmaskOf(string process) =>
        File.ReadLines($"/proc/{process}/status").Single(l => l.StartsWith("Umask:", StringComparison.Ordinal))[6..]
            .Trim();
}
