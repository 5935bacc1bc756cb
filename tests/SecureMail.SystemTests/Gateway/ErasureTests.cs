using System.Security.Cryptography;
using System.Text;
using Dapper;
using Npgsql;
using SecureMail.Exchange;
using SecureMail.Gateway.Outbound;
using SecureMail.Gateway.Retention;
using SecureMail.LedgerStore;
using SecureMail.Storage;
using Xunit.Abstractions;

namespace SecureMail.SystemTests.Gateway;

/// <summary>Erasure by order: keys, salts and octets of one dispatch are destroyed, and nothing that the ledger proved
/// becomes unprovable.</summary>
public sealed class ErasureTests(PostgresFixture postgres, ITestOutputHelper output) : IClassFixture<PostgresFixture>
{
    [Fact]
    public async Task An_erased_dispatch_leaves_no_key_no_salt_and_no_octet_and_its_proofs_hold()
    {
        await using var pair = await TwoGateways.StartAsync(postgres);
        await pair.ListeningAsync();
        await TwoGateways.EventuallyAsync(() => Task.FromResult(pair.B.Node.Directory.Known), "the directory");
        var content = Encoding.UTF8.GetBytes("Nội dung phải hủy " + Guid.NewGuid());
        var dispatch = (
            await pair.A.Node.SubmitAsync(
                TwoGateways.Submission(TwoGateways.AnHoa) with
                {
                    Documents = TwoGateways.Documents(
                        new SubmittedDocument("mat.txt", "text/plain", () => new MemoryStream(content))),
                },
                CancellationToken.None)
        ).DispatchId;
        var other = (
            await pair.A.Node.SubmitAsync(TwoGateways.Submission(TwoGateways.AnHoa), CancellationToken.None)
        ).DispatchId;
        foreach (var id in new[] { dispatch, other })
        {
            await pair.A.OutgoingAsync(id, d => d.Recipients.All(r => r.State == "acknowledged"));
        }

        var incoming = await pair.B.IncomingAsync(m => m.DispatchId == dispatch);
        var mail = await Octets.ReadAsync(
            await pair.B.Node.Incoming.OpenReceivedAsync(incoming.Id, CancellationToken.None));
        await pair.A.Probe.WaitUntilQuietAsync();
        await pair.B.Probe.WaitUntilQuietAsync();
        var story = await pair.B.Node.Ledger.AuditTrailAsync(dispatch, CancellationToken.None);
        var wrapped = new List<byte[]>();
        wrapped.AddRange(await pair.A.Probe.Content.WrappedKeysOfDispatchAsync(dispatch));
        wrapped.AddRange(await pair.B.Probe.Content.WrappedKeysOfMessageAsync(incoming.Id));
        wrapped.Count.ShouldBe(6);
        var sent = await pair.A.Node.Erasure.EraseOutgoingAsync(
            dispatch, "Thu hồi theo Công văn 12-CV/VPTU", "vanthu", TestActor.VanThu, CancellationToken.None);
        var came = await pair.B.Node.Erasure.EraseIncomingAsync(
            incoming.Id, "Thu hồi theo Công văn 12-CV/VPTU", "vanthu", TestActor.VanThu, CancellationToken.None);
        (sent.Blobs, sent.Shared, came.Blobs, came.Shared).ShouldBe((3, 0, 3, 0));

        // Nothing is readable; the registers say so and list the rest as before.
        await Should.ThrowAsync<ContentErasedException>(() =>
            pair.B.Node.Incoming.OpenReceivedAsync(incoming.Id, CancellationToken.None));
        await Should.ThrowAsync<ContentErasedException>(() =>
            pair.B.Node.Incoming.OpenDocumentAsync(incoming.Id, 1, CancellationToken.None));
        var outgoing = (await pair.A.Node.Outgoing.ListAsync(10, CancellationToken.None)).ToDictionary(d => d.Id);
        (
            outgoing[dispatch].Card.Subject,
            outgoing[dispatch].Card.Number,
            outgoing[dispatch].Card.Documents.Count
        ).ShouldBe(("Đã hủy nội dung / Content erased", "01-CV/VPTU", 0));
        outgoing[dispatch].ErasedAt.ShouldNotBeNull();
        outgoing[other].Card.Subject.ShouldBe("V/v triệu tập hội nghị");
        var listed = (
            await pair.B.Node.Incoming.ListAsync(TwoGateways.AnHoa, "inbox", 10, CancellationToken.None)
        ).Single(m => m.Id == incoming.Id);
        (listed.Card!.Subject, listed.ArrivalNumber).ShouldBe(
            ("Đã hủy nội dung / Content erased", incoming.ArrivalNumber));

        // Twice is refused, and so is what is not there.
        await Should.ThrowAsync<ErasureRefusedException>(() =>
            pair.A.Node.Erasure.EraseOutgoingAsync(
                dispatch, "lại", "vanthu", TestActor.VanThu, CancellationToken.None));
        await Should.ThrowAsync<ErasureRefusedException>(() =>
            pair.A.Node.Erasure.EraseOutgoingAsync(
                Guid.NewGuid(), "không có", "vanthu", TestActor.VanThu, CancellationToken.None));

        // The same octets once more are still a duplicate; the receipt is not lost either.
        (await SharedPair.DeliverAsync(pair, mail)).Disposition.ShouldBe("duplicate");
        await pair.A.Probe.WaitUntilQuietAsync();
        await pair.B.Probe.WaitUntilQuietAsync();

        // The ledger: every entry of before stands where it stood, is proven, and the whole verifies.
        var now = await pair.B.Node.Ledger.AuditTrailAsync(dispatch, CancellationToken.None);
        now.Count(l => l.Kind == "dispatch.erased").ShouldBe(1);
        foreach (var line in story)
        {
            now.Single(l => l.EntryId == line.EntryId).Index.ShouldBe(line.Index);
            await using var connection = await pair.B.Node.Database.Source.OpenConnectionAsync();
            (await EvidenceBuilder.BuildAsync(connection, line.EntryId, [], [], CancellationToken.None))
                .Verify(pair.B.Node.Identity.Ledger.Verifier)
                .ShouldBeNull();
        }

        foreach (var gateway in new[] { pair.A, pair.B })
        {
            (
                await LedgerVerifier.VerifyAsync(
                    gateway.Node.Database.Source, gateway.Node.Identity.Ledger.Verifier, [], CancellationToken.None)
            ).Problems.ShouldBeEmpty();
            (await gateway.Probe.Content.ErasedWithTracesAsync()).ShouldBe(0);
            (await gateway.Probe.Content.ErasedChunksAsync()).ShouldBe(0);
        }

        (await pair.B.Probe.Incoming.SaltsAsync(incoming.Id)).ShouldBe(0);
        // Under its salt the commitment could be opened with the content; nothing that is left opens it.
        (await pair.B.Probe.Content.CountAsync(content)).ShouldBe(0);

        var (before, vacuumed, rewritten) = (0, 0, 0);
        var wal = 0;
        foreach (var gateway in new[] { pair.A, pair.B })
        {
            before += await InFilesAsync(gateway, wrapped);
            await gateway.Probe.Content.VacuumAsync();
            vacuumed += await InFilesAsync(gateway, wrapped);
            await gateway.Probe.Content.RewriteAsync();
            rewritten += await InFilesAsync(gateway, wrapped);
            wal = await InWalAsync(gateway, wrapped);
        }

        rewritten.ShouldBe(0);

        // What the log still holds opens nothing once the storage key was changed and the old one destroyed.
        var keys = new Dictionary<string, byte[]>();
        foreach (var gateway in new[] { pair.A, pair.B })
        {
            var answer = await gateway.Node.Rotation.RotateAsync(makeKey: true, CancellationToken.None);
            answer.Rewrapped.ShouldBeGreaterThan(0);
            answer.Unused.ShouldBe(["storage-0001"]);
            var folder = System
                .IO.Directory.GetFiles(pair.Folder, answer.Key + ".key", SearchOption.AllDirectories)
                .Single(f => f.Contains(gateway == pair.A ? "/a/" : "/b/", StringComparison.Ordinal));
            File.Delete(Path.Combine(Path.GetDirectoryName(folder)!, "storage-0001.key"));
            var left = StorageKeys.Open(Path.GetDirectoryName(folder)!);
            wrapped.ForEach(w => Should.Throw<SecretFileException>(() => left.Unwrap(Guid.Empty, "storage-0001", w)));
        }

        (await pair.A.Node.Outgoing.FindAsync(other, CancellationToken.None))!.Card.Subject.ShouldBe(
            "V/v triệu tập hội nghị");
        output.WriteLine(
            $"1 dispatch erased at both ends, {wrapped.Count} keys: {before} of them in table files after the "
                + $"commit, {vacuumed} after VACUUM, {rewritten} after VACUUM FULL, {wal} in the write-ahead log, "
                + "worthless after the rotation of the storage key"
        );
    }

    [Fact]
    public async Task What_is_still_under_way_is_not_erased_and_shared_octets_go_with_the_last()
    {
        await using var pair = await TwoGateways.StartAsync(postgres, changeA: o => o with { Tokens = [] });
        await pair.ListeningAsync();
        await TwoGateways.EventuallyAsync(() => Task.FromResult(pair.B.Node.Directory.Known), "the directory");
        var waiting = (
            await pair.A.Node.SubmitAsync(TwoGateways.Submission(TwoGateways.AnHoa), CancellationToken.None)
        ).DispatchId;
        (
            await Should.ThrowAsync<ErasureRefusedException>(() =>
                pair.A.Node.Erasure.EraseOutgoingAsync(
                    waiting, "lý do", "vanthu", TestActor.VanThu, CancellationToken.None))
        ).Message.ShouldContain("queue drop");
        await Should.ThrowAsync<ErasureRefusedException>(() =>
            pair.A.Node.Erasure.EraseOutgoingAsync(waiting, " ", "vanthu", TestActor.VanThu, CancellationToken.None));
        await using (
            var client = await SecureMail.Mail.Smtp.Client.SmtpClient.ConnectAsync(
                new()
                {
                    Host = "127.0.0.1",
                    Port = pair.B.Port,
                    EhloName = "gateway-a.test",
                    RequireTls = true,
                    ClientCertificate = pair.A.Node.Identity.Tls,
                    PinServer = _ => true,
                },
                TimeProvider.System))
        {
            await client.SendAsync(
                null, [SharedPair.AnHoaAddress, SharedPair.BinhMinhAddress],
                new MemoryStream(Encoding.ASCII.GetBytes("From: a@b.test\r\n\r\nfor two\r\n")));
        }

        await pair.B.Probe.WaitUntilQuietAsync();
        var ids = await pair.B.Probe.Incoming.IdsAsync();
        (
            await pair.B.Node.Erasure.EraseIncomingAsync(
                ids![0], "lý do", "vanthu", TestActor.VanThu, CancellationToken.None)
        ).Shared.ShouldBe(1);
        (
            await Octets.ReadAsync(await pair.B.Node.Incoming.OpenReceivedAsync(ids[1], CancellationToken.None))
        ).Length.ShouldBeGreaterThan(0);
        (await pair.B.Node.Erasure.EraseIncomingAsync(
            ids[1], "lý do", "vanthu", TestActor.VanThu, CancellationToken.None)).ShouldBe(
            new ErasureAnswer(1, 0, 0), new IgnoringEntry());
        (await pair.B.Probe.Content.ChunksAsync()).ShouldBe(0);
        (await pair.B.Probe.Incoming.SaltsAsync()).ShouldBe(0);
        output.WriteLine("1 dispatch under way refused, 1 reception for 2 agencies erased with the second");
    }

    private sealed class IgnoringEntry : IEqualityComparer<ErasureAnswer>
    {
        public bool Equals(ErasureAnswer? x, ErasureAnswer? y) => x! with { EntryId = 0 } == y! with { EntryId = 0 };

        public int GetHashCode(ErasureAnswer answer) => 0;
    }

    /// <summary>How many of the keys stand in any file of the database, after everything in memory was written
    /// out.</summary>
    private async Task<int> InFilesAsync(RunningGateway gateway, List<byte[]> keys) =>
        await FindAsync(gateway, await gateway.Probe.TableFolderAsync(), keys);

    private async Task<int> InWalAsync(RunningGateway gateway, List<byte[]> keys) =>
        await FindAsync(gateway, Path.Combine(await gateway.Probe.DataFolderAsync(), "pg_wal"), keys);

    private async Task<int> FindAsync(RunningGateway gateway, string folder, List<byte[]> keys)
    {
        await using var connection = new NpgsqlConnection(
            new NpgsqlConnectionStringBuilder(gateway.Owner) { Username = "postgres", Pooling = false }.ConnectionString
        );
        // It writes out what all tests before this one have changed.
        await connection.ExecuteAsync("CHECKPOINT;", commandTimeout: 300);
        var found = new HashSet<int>();
        foreach (var file in Directory.EnumerateFiles(folder))
        {
            byte[] octets;
            try
            {
                octets = await File.ReadAllBytesAsync(file);
            }
            catch (FileNotFoundException)
            {
                // Dropped between the listing and now.
                continue;
            }

            for (var k = 0; k < keys.Count; k++)
            {
                if (octets.AsSpan().IndexOf(keys[k]) >= 0)
                {
                    found.Add(k);
                }
            }
        }

        return found.Count;
    }
}
