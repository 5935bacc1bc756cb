using System.Collections.Concurrent;
using System.Diagnostics;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json;
using Npgsql;
using SecureMail.Backup;
using SecureMail.Cms;
using SecureMail.Gateway;
using SecureMail.Gateway.Outbound;
using SecureMail.Gateway.Recovery;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Host.Schema;
using SecureMail.Ledger;
using SecureMail.LedgerStore;
using SecureMail.Mail.Smtp.Client;
using SecureMail.Storage;
using SecureMail.TestKit.Probes;
using Xunit.Abstractions;

namespace SecureMail.FaultTests;

/// <summary>A gateway lost with its machine and brought back from its backup folder and the recovery key: nothing that
/// was acknowledged is missing, or it says what is.</summary>
public sealed class BackupTests(PostgresFixture postgres, ITestOutputHelper output) : IClassFixture<PostgresFixture>
{
    private static readonly HttpClient Http = new();

    [Fact]
    public async Task A_gateway_killed_with_its_database_comes_back_elsewhere_with_all_that_was_acknowledged()
    {
        await using var lost = await LostGateway.StartAsync(postgres, synchronous: true);
        var pair = lost.Pair;
        await using var serving = await lost.ServeAsync(pair.A.Options);
        pair.B.Run();

        // Mail both ways, while the first base is taken and the journal follows; the end comes at a random moment.
        var seed = int.TryParse(Environment.GetEnvironmentVariable("SECUREMAIL_TEST_SEED"), out var given)
            ? given
            : Random.Shared.Next();
        using var end = new CancellationTokenSource();
        var told = new ConcurrentBag<Guid>();
        var outgoing = Enumerable
            .Range(0, 3)
            .Select(_ => SubmitUntilAsync(pair.A.Node, TwoGateways.Submission(TwoGateways.AnHoa), told, end.Token))
            .ToList();
        var incoming = SubmitUntilAsync(
            pair.B.Node,
            TwoGateways.Submission(TwoGateways.Province) with
            {
                Sender = TwoGateways.AnHoa,
            },
            [],
            end.Token);
        await TwoGateways.UntilAsync(
            async () => told.Count >= 12 && await ReceivedAcknowledgementsAsync(pair) >= 3,
            "traffic");
        var before = told.Count;
        var more = new Random(seed).Next(1, 15);
        await TwoGateways.UntilAsync(
            () => Task.FromResult(told.Count >= before + more), "more traffic");
        await lost.KillAsync(serving);
        await end.CancelAsync();
        await Task.WhenAll([.. outgoing, incoming]);
        var arrived = await SentToAAsync(pair);
        await lost.DestroyAsync();

        // The backup folder and the recovery key are all there is.
        var clock = Stopwatch.StartNew();
        var restored = pair.A.Options with
        {
            DataFolder = Path.Combine(pair.Folder, "elsewhere"),
            Backup = new BackupOptions(),
        };
        var report = await lost.RestoreAsync(restored);
        var recovered = clock.Elapsed;
        await using var again = await lost.ServeAsync(restored);
        var opened = clock.Elapsed;
        await using var node = await TestGateway.OpenAsync(
            restored, TimeProvider.System, Microsoft.Extensions.Logging.Abstractions.NullLoggerFactory.Instance,
            CancellationToken.None);
        var has = (await node.Outgoing.ListAsync(10_000, CancellationToken.None)).Select(d => d.Id).ToHashSet();
        var missing = told.Count(id => !has.Contains(id));
        var received = await GatewayProbe.Of(node).Incoming.DispatchesAsync();
        output.WriteLine(
            $"seed {seed}: {told.Count} dispatches told to clerks and {arrived.Count} taken from the peer "
                + $"before the kill, {missing} missing after it (RPO); "
                + $"restored in {recovered.TotalSeconds:F1} s, at work after {opened.TotalSeconds:F1} s (RTO); "
                + $"backup {lost.Octets() / 1024} KiB, journal "
                + $"{report.GetProperty("journalOctets").GetInt64() / 1024} KiB of log in "
                + $"{report.GetProperty("journalFiles").GetInt32()} files"
        );
        missing.ShouldBe(0);

        // Everything told is delivered in the end, once; what came in is there, once.
        await TwoGateways.UntilAsync(
            async () =>
                (await node.Outgoing.ListAsync(10_000, CancellationToken.None)).All(d =>
                    d.Recipients.All(r => r.State == "acknowledged")),
            "every dispatch to be acknowledged");
        await TwoGateways.UntilAsync(
            async () =>
            {
                received = await GatewayProbe.Of(node).Incoming.DispatchesAsync(Disposition.Inbox);
                return arrived.All(received.Contains);
            },
            "everything that the peer had sent");
        received.Count.ShouldBe(received.Distinct().Count());
        var atPeer = await pair.B.Probe.Incoming.DispatchesAsync(Disposition.Inbox);
        atPeer.Count.ShouldBe(atPeer.Distinct().Count());

        // The ledgers are one history: no alarm, and what B holds of A stands in A's.
        (await pair.B.Probe.Ledger.PeerAlarmsAsync()).ShouldBe(0);
        var seen = await pair.B.Probe.Ledger.SeenOfAsync("gateway-a.test");
        (
            await LedgerVerifier.VerifyAsync(
                node.Database.Source, node.Identity.Ledger.Verifier, seen, CancellationToken.None)
        ).Problems.ShouldBeEmpty();
        (await GatewayProbe.Of(node).Ledger.EntriesAsync(EntryKind.GatewayRestored)).ShouldBe(1);

        // And mail goes on, both ways; what B was asked for again it sent again.
        var next = await node.SubmitAsync(TwoGateways.Submission(TwoGateways.AnHoa), CancellationToken.None);
        await pair.B.IncomingAsync(m => m.DispatchId == next.DispatchId && m.Disposition == "inbox");
        (await pair.B.Probe.Restoration.ResentToAsync("gateway-a.test")).ShouldBeGreaterThanOrEqualTo(arrived.Count);
    }

    [Fact]
    public async Task A_base_without_its_journal_stays_closed_and_says_exactly_what_is_missing()
    {
        await using var lost = await LostGateway.StartAsync(postgres, synchronous: false);
        var pair = lost.Pair;
        pair.A.Run();
        pair.B.Run();
        await ExchangeAsync(pair);
        var first = await pair.A.Node.Backups.TakeAsync(pair.A.Options.Backup!, CancellationToken.None);
        await ExchangeAsync(pair);
        var second = await pair.A.Node.Backups.TakeAsync(pair.A.Options.Backup!, CancellationToken.None);
        second.LedgerSize.ShouldBeGreaterThan(first.LedgerSize);
        var inTime = await SentToAAsync(pair);
        await ExchangeAsync(pair);
        var tooLate = (await SentToAAsync(pair)).Except(inTime).ToList();
        tooLate.ShouldNotBeEmpty();
        await pair.A.StopAsync();
        await lost.KillAsync(null);
        await lost.DestroyAsync();
        Directory.Delete(Path.Combine(lost.Folder, "journal"), recursive: true);

        var restored = pair.A.Options with
        {
            DataFolder = Path.Combine(pair.Folder, "elsewhere"),
            Backup = new BackupOptions(),
        };
        var size = (await lost.RestoreAsync(restored)).GetProperty("ledgerSize").GetInt64();
        var held = (await pair.B.Probe.Ledger.SeenOfAsync("gateway-a.test")).Max(c => c.Size);
        var since = await pair.B.Probe.Ledger.FirstSeenAsync("gateway-a.test", above: size);
        held.ShouldBeGreaterThan(size);
        await using (
            var closed = await TestGateway.OpenAsync(
                restored, TimeProvider.System, Microsoft.Extensions.Logging.Abstractions.NullLoggerFactory.Instance,
                CancellationToken.None))
        {
            var asked = await lost.RunAsync(restored, 1, "restore", "--check", "--json");
            var peer = asked.GetProperty("peers")[0];
            (
                peer.GetProperty("peer").GetString(), peer.GetProperty("state").GetString(),
                peer.GetProperty("heldSize").GetInt64()).ShouldBe(("gateway-b.test", "ahead", held));
            var missing = peer.GetProperty("missing");
            (
                missing.GetProperty("from").GetInt64(),
                missing.GetProperty("to").GetInt64(),
                missing.GetProperty("count").GetInt64(),
                missing.GetProperty("since").GetDateTimeOffset().UtcDateTime
            ).ShouldBe((size, held - 1, held - size, since));

            // It listens, and takes nothing; nothing of its queue leaves and no checkpoint is signed.
            using var stop = new CancellationTokenSource();
            var run = closed.RunAsync(stop.Token);
            await TwoGateways.EventuallyAsync(
                async () =>
                    (await closed.HealthAsync(CancellationToken.None)) is { Problems: ["restored-not-proven"] } h
                        ? h
                        : null,
                "a closed gateway");
            (
                await Should.ThrowAsync<StorageUnavailableException>(() =>
                    closed.SubmitAsync(TwoGateways.Submission(TwoGateways.AnHoa), CancellationToken.None))
            ).Message.ShouldContain("restore --check");
            await using (
                var client = await SmtpClient.ConnectAsync(
                    new SmtpClientOptions
                    {
                        Host = "127.0.0.1",
                        Port = pair.A.Port,
                        EhloName = "gateway-b.test",
                        RequireTls = true,
                        ClientCertificate = pair.B.Node.Identity.Tls,
                        PinServer = _ => true,
                    },
                    TimeProvider.System))
            {
                var refused = (
                    await client.SendAsync(
                        "a@b.test", ["vanthu@tinhuy.songlam.test"],
                        new MemoryStream("From: a@b.test\r\n\r\nx\r\n"u8.ToArray()))
                )[0];
                (refused.Outcome, refused.Reply!.Code).ShouldBe((SmtpOutcome.Transient, 451));
            }

            (await closed.Ledger.OverviewAsync(CancellationToken.None)).ShouldNotBeNull();
            (await closed.Restoration.ReportAsync(CancellationToken.None))!.Proven.ShouldBeFalse();
            await stop.CancelAsync();
            await run;
        }

        // An operator accepts the loss: it opens, says so in its ledger, and what B had sent since comes again.
        await lost.RunAsync(restored, 0, "restore", "--check", "--without-peer", "gateway-b.test", "--json");
        await using var again = await lost.ServeAsync(restored);
        await using var node = await TestGateway.OpenAsync(
            restored, TimeProvider.System, Microsoft.Extensions.Logging.Abstractions.NullLoggerFactory.Instance,
            CancellationToken.None);
        List<Guid> received = [];
        await TwoGateways.UntilAsync(
            async () =>
            {
                received = await GatewayProbe.Of(node).Incoming.DispatchesAsync(Disposition.Inbox);
                return tooLate.All(received.Contains);
            },
            "what B sent after the base");
        inTime.ShouldAllBe(id => received.Contains(id));
        received.Count.ShouldBe(received.Distinct().Count());
        output.WriteLine(
            $"base of {second.Octets / 1024} KiB in {second.Took.TotalSeconds:F1} s; restored {size} entries, "
                + $"the peer holds {held}: {held - size} said missing; {tooLate.Count} of {tooLate.Count} lost "
                + "messages came again"
        );
    }

    [Fact]
    public async Task A_backup_that_is_not_whole_or_not_ours_restores_nothing_and_none_of_it_is_in_clear()
    {
        await using var lost = await LostGateway.StartAsync(postgres, synchronous: true);
        var pair = lost.Pair;
        var serving = await lost.ServeAsync(pair.A.Options);
        pair.B.Run();
        await ExchangeAsync(pair);
        var keys = System
            .IO.Directory.GetFiles(Path.Combine(pair.A.Options.DataFolder, "keys"), "*", SearchOption.AllDirectories)
            .Where(f => f.EndsWith(".key", StringComparison.Ordinal))
            .Select(File.ReadAllBytes)
            .ToList();
        var pin = await File.ReadAllTextAsync(pair.A.Options.Tokens[0].PinFile!);
        await serving.StopAsync();
        await serving.DisposeAsync();

        byte[][] secrets =
        [
            .. new[]
            {
                "V/v triệu tập hội nghị",
                "Nội dung công văn",
                "dispatch.accepted",
                "securemail_gateway",
                "PRIVATE KEY",
                pin.Trim() + "\n",
            }.Select(Encoding.UTF8.GetBytes),
            .. keys.Select(k => k.Length > 40 ? k[30..70] : k),
        ];
        var files = Directory.GetFiles(lost.Folder, "*", SearchOption.AllDirectories);
        foreach (var file in files)
        {
            var octets = await File.ReadAllBytesAsync(file);
            secrets.Count(s => octets.AsSpan().IndexOf(s) >= 0).ShouldBe(0, file);
        }

        var into = pair.A.Options with
        {
            DataFolder = Path.Combine(pair.Folder, "elsewhere"),
            Backup = new BackupOptions(),
        };
        var tried = 0;
        using (var stranger = RecoveryKey("CN=other"))
        {
            await RefusedAsync(lost.Folder, stranger, f => f == BackupFault.WrongRecoveryKey);
        }

        foreach (var file in files.Where(f => !f.EndsWith("needs-base", StringComparison.Ordinal)))
        {
            var whole = await File.ReadAllBytesAsync(file);
            var journal = file.EndsWith(".smj", StringComparison.Ordinal);
            // The end of a journal that is cut off is a torn record; what is missing then the peers say. Everything
            // else must be whole.
            foreach (
                var damaged in new[]
                {
                    Flipped(whole, whole.Length / 2),
                    Flipped(whole, whole.Length - 1),
                    Flipped(whole, 40),
                    journal ? Flipped(whole, 4000) : whole[..^1],
                })
            {
                await File.WriteAllBytesAsync(file, damaged);
                await RefusedAsync(lost.Folder, lost.Key, f => f >= BackupFault.WrongRecoveryKey);
            }

            await File.WriteAllBytesAsync(file, whole);
        }

        // A journal of another gateway's making, sealed to the same certificate, is not taken for this one's.
        var sample = files.First(f => f.EndsWith(".smj", StringComparison.Ordinal));
        var place = Path.GetFileName(sample).Split('-');
        using (var forger = RecoveryKey("CN=gateway-a.test"))
        using (
            var writer = await EncryptedBackupWriter.CreateAsync(
                sample + ".forged",
                new BackupKeys(
                    lost.Certificate, forger.Certificate.CopyWithPrivateKey(forger.Key), "gateway-a.test",
                    TimeProvider.System),
                "journal",
                new WalPlace(
                    "1", long.Parse(place[0], System.Globalization.NumberStyles.HexNumber),
                    ulong.Parse(place[1], System.Globalization.NumberStyles.HexNumber)),
                CancellationToken.None))
        {
            writer.Write(0, new byte[100]);
        }

        var real = await File.ReadAllBytesAsync(sample);
        File.Move(sample + ".forged", sample, overwrite: true);
        await RefusedAsync(lost.Folder, lost.Key, f => f == BackupFault.ForeignFile);
        await File.WriteAllBytesAsync(sample, real);

        Directory.CreateDirectory(into.DataFolder);
        await File.WriteAllTextAsync(Path.Combine(into.DataFolder, "something"), "");
        await Should.ThrowAsync<DataFolderInUseException>(() => RestoreAsync(lost.Folder, lost.Key.Recipient, into));
        File.Delete(Path.Combine(into.DataFolder, "something"));
        await Should.ThrowAsync<DataFolderInUseException>(() =>
            RestoreAsync(lost.Folder, lost.Key.Recipient, pair.A.Options));

        // After all that it is still a good backup.
        await lost.RestoreAsync(into);
        output.WriteLine(
            $"{files.Length} files searched for {secrets.Length} secrets: none; {tried} damaged or foreign "
                + "backups refused, nothing restored by any; the whole one restored"
        );

        static Task<RestoreReport> RestoreAsync(string folder, RecipientKey key, GatewaySetup options) =>
            Restore.RunAsync(
                folder,
                [key],
                options.Files,
                dropDamagedTail: false,
                (restored, stop) =>
                    RestoredGateway.ProveAsync(restored, HostSchema.Migrator, TimeProvider.System, stop),
                TimeProvider.System,
                CancellationToken.None);

        async Task RefusedAsync(string folder, TestKey key, Func<BackupFault, bool> isExpected)
        {
            tried++;
            (
                await Should.ThrowAsync<BackupException>(() => RestoreAsync(folder, key.Recipient, into))
            ).Fault.ShouldSatisfyAllConditions(f => isExpected(f).ShouldBeTrue(f.ToString()));
            PrivateCluster.Exists(into.DataFolder).ShouldBeFalse();
            Directory.Exists(Path.Combine(into.DataFolder, "keys")).ShouldBeFalse();
        }
    }

    [Fact]
    public async Task Without_its_journal_no_commit_is_answered_and_no_work_is_taken()
    {
        await using var lost = await LostGateway.StartAsync(postgres, synchronous: true);
        var pair = lost.Pair;
        await using (var serving = await lost.ServeAsync(pair.A.Options))
        {
            await pair.A.Node.SubmitAsync(TwoGateways.Submission(TwoGateways.AnHoa), CancellationToken.None);
            await serving.KillAsync();
        }

        await TwoGateways.EventuallyAsync(
            async () =>
                await pair.A.Node.HealthAsync(CancellationToken.None) is { Problems: ["not-started", "backup"] } h
                    ? h
                    : null,
            "health to say so");
        await Should.ThrowAsync<StorageUnavailableException>(() =>
            pair.A.Node.SubmitAsync(TwoGateways.Submission(TwoGateways.AnHoa), CancellationToken.None));

        // Whoever does not ask first: the server cancels the wait and calls it committed; the gateway's connections do
        // not take that for an answer.
        var connection = new NpgsqlConnectionStringBuilder(pair.A.Node.Database.ConnectionString)
        {
            CommandTimeout = 1,
            Pooling = false,
        };
        connection.CancellationTimeout.ShouldBe(-1);
        const string Write =
            "INSERT INTO gateway.alarm (raised_at, kind, subject, detail) VALUES (now(), 'x', 'x', 'x')";
        await Should.ThrowAsync<NpgsqlException>(() => ExecuteAsync(connection, Write));
        // Nor is a row that can be read already promised to anybody.
        await Should.ThrowAsync<NpgsqlException>(() => ExecuteAsync(connection, GatewayDatabase.DurabilityBarrier));
        connection.CancellationTimeout = 2000;
        await ExecuteAsync(connection, Write);

        // An operator lets it go; the gateway works again, without a journal.
        await lost.RunAsync(pair.A.Options with { Backup = new BackupOptions() }, 0, "backup", "--release", "--json");
        await using (
            var node = await TestGateway.OpenAsync(
                pair.A.Options with
                {
                    Backup = new BackupOptions(),
                },
                TimeProvider.System,
                Microsoft.Extensions.Logging.Abstractions.NullLoggerFactory.Instance,
                CancellationToken.None))
        {
            await node.SubmitAsync(TwoGateways.Submission(TwoGateways.AnHoa), CancellationToken.None);
        }

        output.WriteLine(
            "1 commit cancelled while it waited for the journal: not taken for done (Npgsql's own default "
                + "takes it); 1 submission refused, 1 taken after --release"
        );
    }

    private static async Task ExecuteAsync(NpgsqlConnectionStringBuilder to, string sql)
    {
        await using var connection = new NpgsqlConnection(to.ConnectionString);
        await connection.OpenAsync();
        await using var command = new NpgsqlCommand(sql, connection);
        await command.ExecuteNonQueryAsync();
    }

    /// <summary>A clerk in a hurry, who has no more than a few dispatches under way: on a slow machine a backlog would
    /// outlast the test.</summary>
    private static async Task SubmitUntilAsync(
        TestGateway node, Submission submission, ConcurrentBag<Guid> told, CancellationToken end)
    {
        const int UnderWay = 8;
        var unacknowledged = new Queue<Guid>();
        while (!end.IsCancellationRequested)
        {
            try
            {
                if (unacknowledged.TryPeek(out var oldest) && await IsAcknowledgedAsync(node, oldest))
                {
                    unacknowledged.Dequeue();
                }
                else if (unacknowledged.Count < UnderWay)
                {
                    var answer = await node.SubmitAsync(submission, CancellationToken.None);
                    told.Add(answer.DispatchId);
                    unacknowledged.Enqueue(answer.DispatchId);
                }
            }
            catch (Exception e) when (e is StorageUnavailableException || DatabaseFault.Is(e))
            {
                // Told that it was not taken, or told nothing: either is no promise.
            }

            await Task.Delay(50, CancellationToken.None);
        }
    }

    private static async Task<bool> IsAcknowledgedAsync(TestGateway node, Guid dispatch) =>
        (await node.Outgoing.FindAsync(dispatch, CancellationToken.None))!
            .Recipients.All(r => r.State == TransmissionState.Acknowledged);

    /// <summary>One dispatch each way, acknowledged.</summary>
    private static async Task ExchangeAsync(TwoGateways pair)
    {
        var there = await pair.A.Node.SubmitAsync(TwoGateways.Submission(TwoGateways.AnHoa), CancellationToken.None);
        var back = await pair.B.Node.SubmitAsync(
            TwoGateways.Submission(TwoGateways.Province) with
            {
                Sender = TwoGateways.AnHoa,
            },
            CancellationToken.None);
        await pair.A.OutgoingAsync(there.DispatchId, d => d.Recipients.All(r => r.State == "acknowledged"));
        await pair.B.OutgoingAsync(back.DispatchId, d => d.Recipients.All(r => r.State == "acknowledged"));
    }

    private static Task<long> ReceivedAcknowledgementsAsync(TwoGateways pair) =>
        pair.B.Probe.Outgoing.TransmissionsAsync([TransmissionState.Acknowledged], TransmissionKind.Dispatch)!;

    /// <summary>The dispatches of B that A answered 250 for.</summary>
    private static Task<List<Guid>> SentToAAsync(TwoGateways pair) => pair.B.Probe.Outgoing.TakenAsync();

    private static byte[] Flipped(byte[] octets, int at)
    {
        var copy = octets.ToArray();
        copy[Math.Min(at, copy.Length - 1)] ^= 0x20;
        return copy;
    }

    private static TestKey RecoveryKey(string subject)
    {
        var key = RSA.Create(2048);
        var request = new CertificateRequest(subject, key, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        using var full = request.CreateSelfSigned(DateTimeOffset.UnixEpoch, DateTimeOffset.UnixEpoch.AddYears(200));
        return new TestKey(X509CertificateLoader.LoadCertificate(full.RawData), key);
    }

    private sealed record TestKey(X509Certificate2 Certificate, RSA Key) : IDisposable
    {
        public RecipientKey Recipient => new(Certificate, Key);

        public void Dispose()
        {
            Certificate.Dispose();
            Key.Dispose();
        }
    }

    /// <summary>Two gateways, of which A has a private cluster of its own that can be lost, and a backup folder that is
    /// not.</summary>
    private sealed class LostGateway(TwoGateways pair, string folder, TestKey key) : IAsyncDisposable
    {
        private readonly List<string> _dataFolders = [pair.A.Options.DataFolder];
        private readonly List<string> _said = [];

        public TwoGateways Pair => pair;

        public string Folder => folder;

        public TestKey Key => key;

        public X509Certificate2 Certificate => key.Certificate;

        public static async Task<LostGateway> StartAsync(PostgresFixture postgres, bool synchronous)
        {
            var folder = Directory.CreateTempSubdirectory("smbackup").FullName;
            var key = RecoveryKey("CN=Khóa phục hồi");
            await File.WriteAllTextAsync(Path.Combine(folder, "recovery.pem"), key.Certificate.ExportCertificatePem());
            var file = Path.Combine(folder, "recovery.key");
            await File.WriteAllTextAsync(file, key.Key.ExportPkcs8PrivateKeyPem());
            var backup = new BackupOptions
            {
                Folder = Path.Combine(folder, "backup"),
                RecoveryCertificate = Path.Combine(folder, "recovery.pem"),
                Synchronous = synchronous,
            };
            var pair = await TwoGateways.StartAsync(
                postgres, o => o with { DatabaseConnection = null, OwnerConnection = null, Backup = backup },
                run: false);
            return new LostGateway(pair, backup.Folder, key);
        }

        public long Octets() =>
            Directory.GetFiles(folder, "*", SearchOption.AllDirectories).Sum(f => new FileInfo(f).Length);

        /// <summary>The gateway in a process of its own, once it takes work.</summary>
        public async Task<GatewayProcess> ServeAsync(GatewaySetup options)
        {
            _dataFolders.Add(options.DataFolder);
            var http = TestPorts.Next();
            var process = GatewayProcess.Serve(options, http);
            try
            {
                await TwoGateways.EventuallyAsync(
                    async () =>
                    {
                        try
                        {
                            using var answer = await Http.GetAsync(new Uri($"http://127.0.0.1:{http}/health/ready"));
                            return answer.IsSuccessStatusCode ? "ready" : null;
                        }
                        catch (HttpRequestException) when (!process.HasExited)
                        {
                            return null;
                        }
                    },
                    "the gateway to be ready");
            }
            catch (Exception e)
            {
                throw new InvalidOperationException(process.Said, e);
            }

            return process;
        }

        /// <summary>SIGKILL to the gateway and to every process of its PostgreSQL, at one moment.</summary>
        public async Task KillAsync(GatewayProcess? serving)
        {
            var data = await new GatewayProbe(pair.A.Node.Database.Cluster!.ConnectionString("postgres", "postgres"))
                .DataFolderAsync();

            var postmaster = (await File.ReadAllLinesAsync(Path.Combine(data, "postmaster.pid")))[0];
            var children = (await File.ReadAllTextAsync($"/proc/{postmaster}/task/{postmaster}/children")).Split(
                ' ', StringSplitOptions.RemoveEmptyEntries);
            var killing = serving?.KillAsync() ?? Task.CompletedTask;
            foreach (var id in children.Prepend(postmaster))
            {
                try
                {
                    using var process = Process.GetProcessById(int.Parse(id));
                    process.Kill();
                    await process.WaitForExitAsync();
                }
                catch (ArgumentException)
                {
                    // Gone by itself.
                }
            }

            await killing;
        }

        /// <summary>The machine's disk is gone.</summary>
        public async Task DestroyAsync()
        {
            var cluster = pair.A.Node.Database.Cluster!;
            await pair.A.Node.DisposeAsync();
            cluster.DeleteFiles();
            Directory.Delete(pair.A.Options.DataFolder, recursive: true);
        }

        public Task<JsonElement> RestoreAsync(GatewaySetup into) =>
            RunAsync(
                into, 0, "restore", "--from", folder, "--key", Path.Combine(folder, "..", "recovery.key"), "--cert",
                Path.Combine(folder, "..", "recovery.pem"), "--json");

        /// <summary>One command; answers its JSON line.</summary>
        public async Task<JsonElement> RunAsync(GatewaySetup options, int exit, params string[] arguments)
        {
            _dataFolders.Add(options.DataFolder);
            await using var process = GatewayProcess.Run(options, null, arguments);
            (await process.EndAsync()).ShouldBe(exit, process.Said);
            return JsonDocument.Parse(process.Said.Split('\n').First(l => l.StartsWith('{'))).RootElement;
        }

        public async ValueTask DisposeAsync()
        {
            key.Dispose();
            await pair.DisposeAsync();
            foreach (var data in _dataFolders.Distinct())
            {
                PrivateCluster.DeleteFiles(data);
            }

            Directory.Delete(Path.GetDirectoryName(folder)!, recursive: true);
        }
    }
}
