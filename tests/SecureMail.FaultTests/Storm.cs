using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net;
using Microsoft.Extensions.Logging.Abstractions;
using Npgsql;
using SecureMail.Exchange;
using SecureMail.Gateway;
using SecureMail.Gateway.Keys;
using SecureMail.Gateway.Outbound;
using SecureMail.Host.Schema;
using SecureMail.Mail.Smtp.Server;
using SecureMail.Storage;
using SecureMail.Storage.Queue;
using SecureMail.TestKit.Probes;

namespace SecureMail.FaultTests;

/// <summary>How hard the storm blows. Two storms with one plan do the same things in the same order; what each of them
/// hits is the machine's.</summary>
internal sealed record StormPlan(int Seed, int Dispatches, int Kills, int DatabaseStops, int Cuts, int LargestDocument)
{
    public static StormPlan FromEnvironment(StormPlan standard)
    {
        static int Of(string name, int otherwise) =>
            int.TryParse(Environment.GetEnvironmentVariable("SECUREMAIL_STORM_" + name), out var value)
                ? value
                : otherwise;
        return new StormPlan(
            Of("SEED", standard.Seed), Of("DISPATCHES", standard.Dispatches), Of("KILLS", standard.Kills),
            Of("STOPS", standard.DatabaseStops), Of("CUTS", standard.Cuts), Of("LARGEST", standard.LargestDocument));
    }
}

/// <summary>
/// Three gateways, one of them of two nodes on one database, as processes; a fourth that the directory knows and nobody
/// ever answers for. Clerks submit while processes are killed, PostgreSQL is stopped and started, and connections are
/// cut in the middle of a message.
/// </summary>
internal sealed class Storm : IAsyncDisposable
{
    private const string Dead = "H90.SL.103";
    private static readonly string[] Codes = [TwoGateways.Province, TwoGateways.AnHoa, TwoGateways.BinhMinh];
    private static readonly string[] Tokens = ["tinh-uy-song-lam", "an-hoa", "binh-minh"];

    private readonly string _folder = Directory.CreateTempSubdirectory("smstorm").FullName;
    private readonly StormPlan _plan;
    private readonly List<Node> _nodes = [];
    private readonly List<RunningGateway> _gateways = [];
    private readonly List<FaultyWire> _wires = [];
    private readonly ConcurrentDictionary<Guid, (int Sender, int[] Recipients)> _accepted = new();
    private PrivateCluster _cluster = null!;
    private string _clusterData = "";
    private int _kills;
    private int _stops;
    private int _asksAgain;

    private Storm(StormPlan plan) => _plan = plan;

    public static async Task<Storm> OpenAsync(StormPlan plan)
    {
        var storm = new Storm(plan);
        storm._cluster = await PrivateCluster.OpenAsync(Path.Combine(storm._folder, "cluster"), CancellationToken.None);
        storm._clusterData = await new GatewayProbe(storm._cluster.ConnectionString("postgres", "postgres"))
            .DataFolderAsync();
        Directory.CreateDirectory(storm.Temporary);
        List<GatewayRecord> records = [];
        for (var g = 0; g < Codes.Length; g++)
        {
            records.Add(await storm.AddGatewayAsync(g, "abc"[g]));
        }

        var dead = new GatewaySetup { Name = "gateway-d.test", DataFolder = Path.Combine(storm._folder, "d") };
        records.Add(dead.CreateIdentity("127.0.0.1", 1));
        var directory = await storm.PublishAsync(records);
        foreach (var gateway in storm._gateways)
        {
            await gateway.Node.Directory.ImportAsync(directory, CancellationToken.None);
        }

        return storm;
    }

    private string Temporary => Path.Combine(_folder, "tmp");

    /// <summary>Blows until everything has been submitted and every fault has happened, then lets it calm down and
    /// checks what must hold. Answers what happened.</summary>
    public async Task<string> BlowAsync()
    {
        var clock = Stopwatch.StartNew();
        using var over = new CancellationTokenSource();
        var supervised = Task.WhenAll(_nodes.Select(n => n.SuperviseAsync(Temporary, over.Token)));
        TimeSpan blown,
            calm;
        try
        {
            var faults = Task.WhenAll(KillAsync(), StopDatabaseAsync());
            await Task.WhenAll([.. Enumerable.Range(0, Codes.Length).Select(SubmitAsync), faults, CutAsync(faults)]);
            blown = clock.Elapsed;
            await CalmAsync();
            calm = clock.Elapsed;
        }
        finally
        {
            await over.CancelAsync();
            await supervised;
        }

        foreach (var node in _nodes)
        {
            await node.StopAsync();
        }

        await CheckAsync();
        return $"seed {_plan.Seed}: {_accepted.Count} dispatches to "
            + $"{_accepted.Values.Sum(d => d.Recipients.Length)} addressees, {_kills} kills, {_stops} "
            + $"PostgreSQL stops, {_wires.Sum(w => w.CutsMade)} connections cut, "
            + $"{_asksAgain} submissions asked again; storm {blown.TotalSeconds:F0} s, calm after "
            + $"{calm.TotalSeconds:F0} s, checked after {clock.Elapsed.TotalSeconds:F0} s";
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var node in _nodes)
        {
            await node.DisposeAsync();
        }

        foreach (var gateway in _gateways)
        {
            await gateway.DisposeAsync();
        }

        foreach (var wire in _wires)
        {
            await wire.DisposeAsync();
        }

        await _cluster.DisposeAsync();
        _cluster.DeleteFiles();
        Directory.Delete(_folder, recursive: true);
    }

    private async Task<GatewayRecord> AddGatewayAsync(int index, char letter)
    {
        await using (var connection = new NpgsqlConnection(_cluster.ConnectionString("postgres", "postgres")))
        {
            await connection.OpenAsync();
            await using var create = new NpgsqlCommand(
                $"CREATE DATABASE gateway_{letter} OWNER securemail_owner", connection);
            await create.ExecuteNonQueryAsync();
        }

        var owner = _cluster.ConnectionString("securemail_owner", $"gateway_{letter}");
        var options = new GatewaySetup
        {
            Name = $"gateway-{letter}.test",
            DataFolder = Path.Combine(_folder, letter.ToString()),
            DatabaseConnection = PostgresServer.AsGateway(owner),
            OwnerConnection = owner,
            Smtp = new IPEndPoint(IPAddress.Loopback, TestPorts.Next()),
            Anchors = [Path.Combine(TwoGateways.Pki, "root.pem")],
            Intermediates = [Path.Combine(TwoGateways.Pki, "issuing.pem")],
            Crls = [Path.Combine(TwoGateways.Pki, "root.crl.pem"), Path.Combine(TwoGateways.Pki, "issuing.crl.pem")],
            DirectoryPublisher = Path.Combine(TwoGateways.Pki, "publisher.pem"),
            Tokens = [TwoGateways.TokenOf(Tokens[index])],
            // All gateways and their wires have one address.
            SmtpLimits = new SmtpServerLimits { ConnectionsPerAddress = 50 },
        };
        await GatewayDatabase.MigrateAsync(options.Database, HostSchema.Migrator, CancellationToken.None);
        List<Node> own = [new Node(options)];
        var turn = 0;
        var wire = new FaultyWire(() =>
            own.Where(n => n.Runs)
                .Skip(Interlocked.Increment(ref turn) % Math.Max(1, own.Count(n => n.Runs)))
                .FirstOrDefault(own[0])
                .Port);
        _wires.Add(wire);
        var record = options.CreateIdentity("127.0.0.1", wire.Port);
        if (letter == 'c')
        {
            // The second node: the same database and keys, a data folder and a listener of its own.
            var second = options with
            {
                DataFolder = Path.Combine(_folder, "c2"),
                Smtp = new IPEndPoint(IPAddress.Loopback, TestPorts.Next()),
            };
            await SoftHsm.RunAsync("cp", "-a", options.DataFolder, second.DataFolder);
            own.Add(new Node(second));
        }

        _nodes.AddRange(own);
        _gateways.Add(
            new RunningGateway(
                await TestGateway.OpenAsync(
                    options, TimeProvider.System, NullLoggerFactory.Instance, CancellationToken.None),
                options,
                owner,
                wire.Port));
        return record;
    }

    private async Task<byte[]> PublishAsync(IReadOnlyList<GatewayRecord> records)
    {
        foreach (var letter in "ab")
        {
            await File.WriteAllTextAsync(
                Path.Combine(_folder, letter + ".json"),
                System.Text.Json.JsonSerializer.Serialize(
                    records[letter - 'a'], System.Text.Json.JsonSerializerOptions.Web));
        }

        var file = Path.Combine(_folder, "directory.p7m");
        SoftHsm.SetNativeVariable("SECUREMAIL_DEV_PKI", TwoGateways.Pki);
        await SoftHsm.RunAsync(
            Path.Combine(Repository.Root, "certs-dev", "publish"), "1", file, $"a={_folder}/a.json",
            $"b={_folder}/b.json");
        var document = await TestDirectory.ReadAsync(await File.ReadAllBytesAsync(file));
        return await TestDirectory.SignAsync(
            (document with { Gateways = [.. records] })
                .With(TwoGateways.BinhMinh, a => a.ServedBy("gateway-c.test"))
                .With(Dead, a => a.ServedBy("gateway-d.test")));
    }

    /// <summary>The clerks of one gateway. One that hears that the database is away asks again under the same id, as
    /// the program tells it to.</summary>
    private async Task SubmitAsync(int sender)
    {
        var random = new Random((_plan.Seed * 31) + sender);
        var others = Enumerable.Range(0, Codes.Length).Where(g => g != sender).ToArray();
        for (var n = sender; n < _plan.Dispatches; n += Codes.Length)
        {
            var recipients = random.Next(3) == 0 ? others : [others[random.Next(others.Length)]];
            // As in an office: most are small, a few are large; every size from 10 KB on is as likely in its order of
            // magnitude.
            var size = (int)(10_000 * Math.Pow(_plan.LargestDocument / 10_000.0, random.NextDouble()));
            var octets = new byte[size];
            random.NextBytes(octets);
            var submission = new Submission
            {
                DispatchId = Guid.CreateVersion7(),
                Sender = Codes[sender],
                Recipients =
                [
                    .. recipients.Select(r => Codes[r]),
                    .. random.Next(10) == 0 ? [Dead] : Array.Empty<string>(),
                ],
                Notation = "CV/BT",
                Fields = new DispatchFields { Number = "", Subject = $"Bão số {n}" },
                Documents = TwoGateways.Documents(
                    new SubmittedDocument("Văn bản.bin", "application/octet-stream", () => new MemoryStream(octets))),
            };
            // Spread over the whole storm: a kill about every two seconds.
            await Task.Delay(random.Next(2 * 2000 * _plan.Kills * Codes.Length / _plan.Dispatches));
            while (true)
            {
                try
                {
                    await _gateways[sender].Node.SubmitAsync(submission, CancellationToken.None);
                    _accepted[submission.DispatchId!.Value] = (sender, recipients);
                    break;
                }
                catch (StorageUnavailableException)
                {
                    Interlocked.Increment(ref _asksAgain);
                    await Task.Delay(200);
                }
            }
        }
    }

    private async Task KillAsync()
    {
        var random = new Random(_plan.Seed * 37);
        while (_kills < _plan.Kills)
        {
            // A process needs a moment to be worth killing; how long it gets is part of the plan.
            await Task.Delay(random.Next(500, 3500));
            var node = _nodes[random.Next(_nodes.Count)];
            if (node.Runs)
            {
                _kills++;
                await node.KillAsync();
            }
        }
    }

    private async Task StopDatabaseAsync()
    {
        var random = new Random(_plan.Seed * 41);
        for (; _stops < _plan.DatabaseStops; _stops++)
        {
            await Task.Delay(random.Next(8_000, 20_000));
            var pid = (await File.ReadAllLinesAsync(Path.Combine(_clusterData, "postmaster.pid")))[0].Trim();
            // "Immediate" is a crash of the server; "fast" cuts everybody off and writes what it has.
            await SoftHsm.RunAsync("kill", random.Next(2) == 0 ? "-QUIT" : "-INT", pid);
            await TwoGateways.EventuallyAsync(
                () => Task.FromResult(Directory.Exists($"/proc/{pid}") ? null : ""), "PostgreSQL to stop");
            await Task.Delay(random.Next(0, 3000));
            await using var again = await PrivateCluster.OpenAsync(
                Path.Combine(_folder, "cluster"), CancellationToken.None);
        }
    }

    private async Task CutAsync(Task faults)
    {
        var random = new Random(_plan.Seed * 43);
        while (_wires.Sum(w => w.CutsMade) < _plan.Cuts && !faults.IsCompleted)
        {
            await Task.Delay(random.Next(200, 1000));
            // Past the handshakes, so in the middle of a message.
            _wires[random.Next(_wires.Count)].CutOnceAfter(random.Next(5_000, 25_000));
        }
    }

    /// <summary>Until every addressee but the dead one has acknowledged. No progress for four minutes is the end of the
    /// test.</summary>
    private async Task CalmAsync()
    {
        var (left, since) = (long.MaxValue, Stopwatch.StartNew());
        while (true)
        {
            long now = 0;
            foreach (var gateway in _gateways)
            {
                now += await gateway.Probe.Outgoing.UnacknowledgedAsync(except: Dead)
                    + await gateway.Probe.Queue.CountExceptForAsync(Dead) + await gateway.Probe.Ledger.UncoveredAsync();
            }

            if (now == 0)
            {
                return;
            }

            if (now < left)
            {
                (left, since) = (now, Stopwatch.StartNew());
            }
            else if (since.Elapsed > TimeSpan.FromMinutes(4))
            {
                throw new TimeoutException(
                    $"{now} pieces do not come to an end: "
                        + $"{await WaitingAsync()}\n{string.Join('\n', _nodes.Select(n => n.LastWords))}"
                );
            }

            await Task.Delay(200);
        }
    }

    private async Task<string> WaitingAsync()
    {
        List<string> waiting = [];
        foreach (var gateway in _gateways)
        {
            List<string> here =
            [
                .. await gateway.Probe.Queue.DescribeExceptForAsync(Dead),
                .. await gateway.Probe.Outgoing.DescribeUnacknowledgedAsync(except: Dead),
                .. await gateway.Probe.Incoming.DescribeQuarantineAsync(),
            ];
            waiting.AddRange(here.Select(w => $"{gateway.Node.Name} {w}"));
        }

        return string.Join("; ", waiting);
    }

    private async Task CheckAsync()
    {
        // Our own connections did not see the last stop of the server either.
        NpgsqlConnection.ClearAllPools();
        foreach (var gateway in _gateways)
        {
            gateway.Node.Database.Source.Clear();
        }

        foreach (var (dispatch, (sender, recipients)) in _accepted)
        {
            await Outcome.DeliveredOnceAsync(
                _gateways[sender], recipients.ToDictionary(r => Codes[r], r => _gateways[r]), dispatch);
        }

        foreach (var gateway in _gateways)
        {
            // What is for the dead waits, untouched; then it is put aside, so that nothing else may be left.
            (await gateway.Probe.Outgoing.NoLongerQueuedAsync(Dead)).ShouldBe(0);
            (await gateway.Probe.Queue.CountAsync(state: WorkState.Leased)).ShouldBe(0, "leases");
            await gateway.Probe.Queue.DropForAsync(Dead);
            var accepted = _accepted.Values.Count(d => Codes[d.Sender] == Codes[_gateways.IndexOf(gateway)]);
            (await gateway.Probe.Outgoing.CountAsync()).ShouldBe(accepted, "dispatches that no clerk gave");
            (await gateway.Probe.Outgoing.LastNumberAsync()).ShouldBe(accepted, "numbers with gaps");
            (await gateway.Probe.ConnectionsAsync()).ShouldBe(0, "connections");
        }

        await Outcome.NothingLeftAsync(_gateways);
        System
            .IO.Directory.EnumerateFileSystemEntries(Temporary)
            .Where(f => Path.GetFileName(f).StartsWith("securemail-", StringComparison.Ordinal))
            .ShouldBeEmpty("temporary files");
    }

    /// <summary>One process and the options it starts with.</summary>
    private sealed class Node(GatewaySetup options) : IAsyncDisposable
    {
        private readonly int _http = TestPorts.Next();
        private readonly GatewaySetup _options = options with
        {
            DatabaseConnection = new NpgsqlConnectionStringBuilder(options.DatabaseConnection)
            {
                ApplicationName = "serve " + Path.GetFileName(options.DataFolder),
            }.ConnectionString,
        };

        private GatewayProcess? _process;

        public int Port => _options.Smtp!.Port;

        public bool Runs => _process is { HasExited: false };

        public string LastWords => _process is null ? "" : string.Join('\n', _process.Said.Split('\n').TakeLast(15));

        /// <summary>Starts it, and again whenever it has ended, as systemd would: killed, or given up because its
        /// database was away when it started.</summary>
        public async Task SuperviseAsync(string temporary, CancellationToken over)
        {
            while (!over.IsCancellationRequested)
            {
                if (!Runs)
                {
                    var last = _process;
                    _process = GatewayProcess.Serve(_options, _http, null, temporary);
                    if (last is not null)
                    {
                        await last.DisposeAsync();
                    }
                }

                await Task.Delay(200, over).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }

        public Task KillAsync() => _process?.KillAsync() ?? Task.CompletedTask;

        public async Task StopAsync() => await _process!.StopAsync();

        public async ValueTask DisposeAsync()
        {
            if (_process is not null)
            {
                await _process.DisposeAsync();
            }
        }
    }
}
