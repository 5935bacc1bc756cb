using System.Security.Cryptography;
using SecureMail.Gateway.Outbound;

namespace SecureMail.SystemTests.Gateway;

/// <summary>A dispatch that no buffer holds goes the whole way, through both gateways as processes of their own, and
/// leaves nothing behind but itself.</summary>
public sealed class LargeDispatchTests(PostgresFixture postgres) : IClassFixture<PostgresFixture>
{
    [Fact]
    public async Task A_dispatch_of_25_MB_arrives_as_it_was_and_leaves_no_temporary_file()
    {
        await using var pair = await TwoGateways.StartAsync(postgres, run: false);
        string[] folders = [Path.Combine(pair.Folder, "temporary-a"), Path.Combine(pair.Folder, "temporary-b")];
        foreach (var folder in folders)
        {
            Directory.CreateDirectory(folder);
        }

        await using var a = GatewayProcess.Serve(pair.A.Options, TestPorts.Next(), temporary: folders[0]);
        await using var b = GatewayProcess.Serve(pair.B.Options, TestPorts.Next(), temporary: folders[1]);

        var document = RandomNumberGenerator.GetBytes(25_000_000);
        var answer = await pair.A.Node.SubmitAsync(
            TwoGateways.Submission(TwoGateways.AnHoa) with
            {
                Documents = TwoGateways.Documents(
                    new SubmittedDocument("Phụ lục ảnh.zip", "application/zip", () => new MemoryStream(document))),
            },
            CancellationToken.None);
        await pair.A.OutgoingAsync(answer.DispatchId, d => d.Recipients.All(r => r.State == "acknowledged"));

        var message = (
            await pair.B.Node.Incoming.ListAsync(TwoGateways.AnHoa, "inbox", 10, CancellationToken.None)
        ).ShouldHaveSingleItem();
        await using var received = await pair.B.Node.Incoming.OpenDocumentAsync(message.Id, 1, CancellationToken.None);
        Convert
            .ToHexString(await SHA256.HashDataAsync(received))
            .ShouldBe(Convert.ToHexString(SHA256.HashData(document)));
        received.Length.ShouldBe(document.Length);

        await a.StopAsync();
        await b.StopAsync();
        // With the processes their runtime's own sockets are gone, too.
        folders.SelectMany(Directory.EnumerateFileSystemEntries).Select(Path.GetFileName).ShouldBeEmpty();
    }
}
