
namespace SecureMail.SystemTests.Gateway;

/// <summary>What leaves decrypted is open to its owner alone.</summary>
public sealed class InboxExportTests(PostgresFixture postgres) : IClassFixture<PostgresFixture>
{
    [Fact]
    public async Task Exported_documents_and_their_folder_are_private_and_nothing_is_overwritten()
    {
        await using var pair = await TwoGateways.StartAsync(postgres);
        var sent = await pair.A.Node.SubmitAsync(
            TwoGateways.Submission(TwoGateways.AnHoa), CancellationToken.None);
        var message = await pair.B.IncomingAsync(m => m.DispatchId == sent.DispatchId && m.Disposition == "inbox");
        var folder = Path.Combine(pair.Folder, "export", "văn bản");

        (await ExportAsync(0)).ShouldBeEmpty();

        File.GetUnixFileMode(folder)
            .ShouldBe(UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        var files = Directory.GetFiles(folder);
        files.Select(Path.GetFileName).Order().ShouldBe(["Công văn số 1.txt", "message.eml"], ignoreOrder: true);
        files.ShouldAllBe(f => File.GetUnixFileMode(f) == (UnixFileMode.UserRead | UnixFileMode.UserWrite));
        (await File.ReadAllTextAsync(Path.Combine(folder, "Công văn số 1.txt"))).ShouldBe("Nội dung công văn");

        // A second export finds its files there and leaves them.
        await ExportAsync(64);

        async Task<string> ExportAsync(int code)
        {
            await using var export = GatewayProcess.Run(
                pair.B.Options, null, "inbox", "export", message.Id.ToString(), folder);
            (await export.EndAsync()).ShouldBe(code, export.Said);
            return export.Said;
        }
    }
}
