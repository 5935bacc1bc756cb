using Microsoft.Extensions.Logging;
using Npgsql;
using SecureMail.Backup;
using SecureMail.Gateway.Clock;
using SecureMail.Gateway.Directories;
using SecureMail.Gateway.Health;
using SecureMail.Gateway.Inbound;
using SecureMail.Gateway.Keys;
using SecureMail.Gateway.Outbound;
using SecureMail.Gateway.Policy;
using SecureMail.Gateway.Recovery;
using SecureMail.Gateway.Recurring;
using SecureMail.Gateway.Registers;
using SecureMail.Gateway.Retention;
using SecureMail.Gateway.Schema;
using SecureMail.LedgerStore;
using SecureMail.Mail;
using SecureMail.Storage;
using SecureMail.Storage.Queue;

namespace SecureMail.Gateway;

/// <summary>
/// One gateway, put together: its database, directory, registers and flows. Opened, it can be read and given
/// submissions; <see cref="RunAsync"/> makes it a service: it sequences the ledger, works off the queue, listens for
/// mail and does what recurs. Several nodes may run on one database.
/// </summary>
public sealed class GatewayNode : IAsyncDisposable
{
    private const int SendSlots = 16;
    private static readonly TimeSpan FollowEvery = TimeSpan.FromSeconds(1);

    private readonly GatewayDatabase _database;
    private readonly GatewayIdentity _identity;
    private readonly GatewayOptions _options;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly AgencyKeys _keys;
    private readonly OutboundFlow _outbound;
    private readonly InboundFlow _inbound;
    private readonly Receive _receive;
    private readonly PeerLedger _peers;
    private readonly BlobStore _blobs;
    private readonly Admission _admission;
    private readonly PeerRequests _peerRequests;
    private readonly ClockWatch _clock;
    private volatile bool _running;

    private GatewayNode(
        GatewayDatabase database, GatewayIdentity identity, GatewayOptions options, TimeProvider time,
        ILoggerFactory loggers)
    {
        (_database, _identity, _options, _time) = (database, identity, options, time);
        _logger = loggers.CreateLogger("SecureMail.Gateway");
        _blobs = new BlobStore(database.Source, identity.Storage);
        Directory = new DirectoryStore(database.Source, GatewayTrust.LoadPublisher(options), time);
        _clock = new ClockWatch(database, options, time, _logger);
        _admission = new Admission(
            database, Directory, new BackupGate(database, options), _clock, options, time, _logger);
        Queue = new WorkQueue(database.Source) { MonotonicNow = () => _clock.DatabaseNow };
        Destinations = new DestinationQueues(database.Source, options.Probe);
        Notices = new NoticeRegister(database, Directory);
        Outgoing = new OutgoingRegister(database, _blobs, Directory);
        Incoming = new IncomingRegister(database, _blobs, Directory);
        Ledger = new LedgerRegister(database);
        Policy = new PolicyBook(database, Directory, time);
        Erasure = new Erasure(database, time, _logger);
        Rotation = new StorageKeyRotation(database, identity.Storage);
        _peers = new PeerLedger(identity.Cosigner, time, _logger);
        _peerRequests = new PeerRequests(database, Directory, time, _logger);
        Backups = new Backups(database, identity.Tls, options.Files, time, _logger);
        Restoration = new Restoration(database, Directory, identity, options, time, _logger);
        var trust = new GatewayTrust(options, time);
        var policy = new SendingPolicy(options.Name, time);
        var certificates = new CertificateChoice(trust, time);
        _keys = new AgencyKeys(options, certificates);
        var acknowledge = new Acknowledge(_blobs, Directory, time);
        _receive = new Receive(database, _blobs, Directory, _admission, _clock, options, time);
        _outbound = new OutboundFlow(
            database, _blobs, new Accept(database, _blobs, Directory, policy, _clock, options, time),
            new Authorise(database, Directory, policy, certificates, time),
            new Sign(database, _blobs, _keys, trust, time, _logger), new Enqueue(database, _blobs, time, _logger),
            new Send(database, _blobs, Directory, identity, _peers, Destinations, _clock, options, time, _logger), _keys,
            _clock);
        _inbound = new InboundFlow(
            database, new Judge(_blobs, Directory, _keys, trust, time),
            new Screen(Directory, _peers, _clock, options, time), new Record(_blobs, acknowledge, _clock, time),
            new Answer(database, _blobs, Directory, _keys, options, time), _keys, _clock, _logger);
    }

    public string Name => _options.Name;

    public DirectoryStore Directory { get; }

    public WorkQueue Queue { get; }

    public DestinationQueues Destinations { get; }

    public OutgoingRegister Outgoing { get; }

    public NoticeRegister Notices { get; }

    public IncomingRegister Incoming { get; }

    public LedgerRegister Ledger { get; }

    public PolicyBook Policy { get; }

    public Erasure Erasure { get; }

    public StorageKeyRotation Rotation { get; }

    /// <summary>Bases and the journal, taken by hand.</summary>
    public Backups Backups { get; }

    /// <summary>What became of the gateway's restoration from a backup, if it was restored.</summary>
    public Restoration Restoration { get; }

    /// <summary>The ledger's public half, for proofs and verification.</summary>
    public GatewayDatabase Database => _database;

    public GatewayIdentity Identity => _identity;

    /// <summary>Opens the gateway's keys and database and checks its token modules' names; listens to nothing
    /// yet.</summary>
    /// <exception cref="InvalidDataException">A key or trust file is absent or damaged.</exception>
    /// <exception cref="StorageUnavailableException">The database cannot be used.</exception>
    public static async Task<GatewayNode> OpenAsync(
        GatewayOptions options, TimeProvider time, ILoggerFactory loggers, CancellationToken cancellationToken)
    {
        var identity = GatewayIdentity.Load(options);
        GatewayDatabase? database = null;
        try
        {
            database = await GatewayDatabase.OpenAsync(options.Database, GatewaySchema.Migrator, cancellationToken);
            return new GatewayNode(database, identity, options, time, loggers);
        }
        catch
        {
            identity.Dispose();
            if (database is not null)
            {
                await database.DisposeAsync();
            }

            throw;
        }
    }

    /// <summary>Takes a dispatch; when this answers, it is durable.</summary>
    /// <exception cref="SubmissionRefusedException">It cannot be sent; nothing was kept.</exception>
    /// <exception cref="StorageUnavailableException">New work is not taken now, or the database went away or filled
    /// meanwhile; nothing was kept.</exception>
    public async Task<SubmissionAnswer> SubmitAsync(Submission submission, CancellationToken cancellationToken)
    {
        await _admission.RequireForSubmissionAsync(cancellationToken);
        try
        {
            return await _outbound.SubmitAsync(submission, cancellationToken);
        }
        catch (Exception e) when (e is NpgsqlException or TimeoutException)
        {
            if (e is PostgresException { SqlState: PostgresErrorCodes.DiskFull })
            {
                _admission.SawDiskFull();
            }

            throw StorageUnavailableException.Of(e);
        }
    }

    /// <summary>The mail of a dispatch as it was composed, without the ledger field that each sending adds.</summary>
    public Task<Stream> OpenMessageAsync(Guid blob, CancellationToken cancellationToken) =>
        _blobs.OpenAsync(blob, cancellationToken);

    /// <summary>Serves until cancelled, then ends what runs and answers.</summary>
    public async Task RunAsync(CancellationToken stop)
    {
        try
        {
            await ServeAsync(stop);
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            // Told to stop while it started.
        }
    }

    /// <summary>The journal outlives all that writes, or what is committed at the end would be told to somebody and be
    /// in no backup.</summary>
    private async Task ServeAsync(CancellationToken stop)
    {
        using var serving = ServingLock.Take(_options.DataFolder);
        using var journalStop = new CancellationTokenSource();
        var journal = _options.Backup is { } backup
            ? Backups.FollowAsync(backup, journalStop.Token)
            : Task.CompletedTask;
        try
        {
            await ServeAsync(serving.Node, stop);
        }
        finally
        {
            await journalStop.CancelAsync();
            await journal;
        }
    }

    private async Task ServeAsync(string node, CancellationToken stop)
    {
        await _admission.ProblemsAsync(stop);
        await using var smtp = _options.Smtp is { } listen ? new SmtpServer(SmtpOptions(listen), _time, _logger) : null;
        if (smtp is not null)
        {
            await smtp.StartAsync();
            SmtpEndpoint = smtp.Endpoint;
        }

        _running = true;
        try
        {
            await Task.WhenAll(WorkAsync(node, stop), FollowDirectoryAsync(stop), _admission.FollowAsync(stop));
        }
        finally
        {
            _running = false;
        }
    }

    /// <summary>All that writes by itself; not before a restored gateway is proven.</summary>
    private async Task WorkAsync(string node, CancellationToken stop)
    {
        await Restoration.ProveAsync(stop);
        await _clock.StartAsync(node, stop);
        using var sequencer = new Sequencer(
            _database.Source, _identity.Ledger, new SequencerOptions(), _time, _logger, WorkQueue.ReleaseAsync);
        using var worker = new Worker(Queue, Handlers(), node, _time, _logger);
        await using var recurring = await RecurringWork.StartAsync(
            _database, _peers, _clock, _options, _time, _logger, stop);
        await Task.WhenAll(
            sequencer.RunAsync(stop), worker.RunAsync(stop), _clock.RunAsync(stop), Restoration.AskForMailAsync(stop));
    }

    /// <summary>Keeps the known snapshot current: a TLS handshake cannot wait for the database, and another process may
    /// have imported a version.</summary>
    private async Task FollowDirectoryAsync(CancellationToken stop)
    {
        while (!stop.IsCancellationRequested)
        {
            try
            {
                await Directory.CurrentAsync(stop);
            }
            catch (Exception e)
                when (e
                        is DirectoryException
                            or NpgsqlException
                            or IOException
                            or TimeoutException
                            or OperationCanceledException)
            {
                // None yet, or the database is away: health says so.
            }

            await Task.Delay(FollowEvery, _time, stop).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    /// <summary>Where it listens for mail, once it runs.</summary>
    public System.Net.IPEndPoint? SmtpEndpoint { get; private set; }

    /// <summary>Whether new work can be taken now, and what stands in the way. Answers in bounded time, whatever
    /// hangs.</summary>
    public async Task<GatewayHealth> HealthAsync(CancellationToken cancellationToken)
    {
        List<string> problems = [.. await _admission.ProblemsAsync(cancellationToken)];
        if (!_running)
        {
            problems.Insert(0, "not-started");
        }

        return new GatewayHealth(problems.Count == 0, problems);
    }

    public async ValueTask DisposeAsync()
    {
        _keys.Dispose();
        _clock.Dispose();
        _identity.Dispose();
        await _database.DisposeAsync();
        _admission.Dispose();
    }

    private Dictionary<string, WorkHandler> Handlers() =>
        new()
        {
            [WorkKind.SignAndEncrypt] = new(4, _outbound.SealAsync),
            [WorkKind.Send] = new(SendSlots, _outbound.SendAsync)
            {
                Destinations = new DestinationLimits(_options.PerDestination, SendSlots / 2),
                Retry = _options.Retry,
            },
            [WorkKind.Validate] = new(4, _inbound.JudgeAsync),
            [WorkKind.SendReceipt] = new(4, _inbound.AnswerAsync),
        };

    private SmtpServerOptions SmtpOptions(System.Net.IPEndPoint listen) =>
        new()
        {
            Listen = listen,
            HostName = _options.Name,
            Certificate = _identity.Tls,
            RequireTls = true,
            AuthenticatePeer = certificate =>
                Directory.Known?.FindGatewayByTlsKey(GatewayIdentity.Pin(certificate))?.Name,
            Limits = _options.Limits.Smtp with { MessageBytes = _options.LargestMessage },
            ExtraEhloLines = SeenOf,
            PrivateCommands = _peerRequests.Commands,
            OnMail = (_, _, _) => Task.FromResult(_admission.MailRefusal ?? new SmtpReply(250, "2.1.0", "Sender ok")),
            OnRecipient = (_, _, recipient, cancellationToken) =>
                _receive.RecipientAsync(recipient.Address, cancellationToken),
            OnData = _receive.OpenAsync,
        };

    /// <summary>Which sizes of the peer's ledger we have seen: it brings proofs from each of them.</summary>
    private async Task<IReadOnlyList<string>> SeenOf(SmtpPeer peer, CancellationToken cancellationToken)
    {
        if (peer.Id is null)
        {
            return [];
        }

        _admission.RequireDatabase();
        await using var connection = await _database.Source.OpenConnectionAsync(cancellationToken);
        await using var transaction = await connection.BeginTransactionAsync(cancellationToken);
        var sizes = await PeerLedger.SeenSizesAsync(transaction, peer.Id, cancellationToken);
        return [$"{Exchange.EvidenceField.Capability} {string.Join(' ', sizes)}".TrimEnd()];
    }
}

/// <param name="Problems">Names of what stands in the way; empty when ready.</param>
public sealed record GatewayHealth(bool Ready, IReadOnlyList<string> Problems);
