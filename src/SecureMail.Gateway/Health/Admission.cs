using System.Globalization;
using Dapper;
using Microsoft.Extensions.Logging;
using Npgsql;
using SecureMail.Gateway.Clock;
using SecureMail.Gateway.Directories;
using SecureMail.Gateway.Registers;
using SecureMail.Mail;
using SecureMail.Storage;
using SecureMail.Storage.Queue;

namespace SecureMail.Gateway.Health;

/// <summary>
/// Whether this node can take new work, and why not: the one answer that submissions, the listener for mail and health
/// go by.
/// </summary>
/// <remarks>
/// It looks at the database (does it answer, does it commit, how fast, how much waits in the queue), at what a
/// restoration or the backup's journal says, at the volumes that fill, and at the directory. While
/// the node serves it looks every second; who asks gets the last answer, so that no command of a peer costs a query. A
/// look ends in bounded time whatever hangs: a database that does not answer is left with its question, no second one
/// is put to it, and until it answers it is slow. New work alone is refused: what was accepted goes on, since that is
/// what makes room again.
/// </remarks>
internal sealed class Admission(
    GatewayDatabase database, DirectoryStore directories, BackupGate backup, ClockWatch clock, GatewayOptions options,
    TimeProvider time, ILogger logger) : IDisposable
{
    private static readonly TimeSpan Every = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan CommitEvery = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan FullFor = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan SameMoment = TimeSpan.FromMilliseconds(100);

    // Counting a deep queue costs: it may take up one part in fifty of the time, and is done each three seconds all the
    // same.
    private const int CountShare = 50,
        CountEvery = 3;

    private readonly SemaphoreSlim _turn = new(1, 1);
    private readonly GatewayLimits _limits = options.Limits;
    private Task<List<Obstacle>> _asked = Task.FromResult<List<Obstacle>>([]);
    private Task<List<Obstacle>> _measured = Task.FromResult<List<Obstacle>>([]);
    private volatile IReadOnlyList<Obstacle> _found = [];
    private long _lookedAt;
    private bool _looked;
    private long _fullAt;
    private volatile bool _sawFull;
    private bool _commits;
    private long _committedAt;
    private long _countAgainAt;
    private List<Obstacle> _depth = [];

    public void Dispose() => _turn.Dispose();

    /// <summary>The names of what stands in the way now.</summary>
    public async Task<IReadOnlyList<string>> ProblemsAsync(CancellationToken cancellationToken) =>
        [.. (await LookAsync(SameMoment, cancellationToken)).Select(o => o.Name)];

    /// <summary>Asked before a submission is read.</summary>
    /// <exception cref="StorageUnavailableException">Nothing is taken now; the message says why.</exception>
    public async Task RequireForSubmissionAsync(CancellationToken cancellationToken)
    {
        // A refusal is looked at anew: whoever comes again because the cause was mended is not sent away for what was
        // true a second ago.
        if (Closed(await LookAsync(Every, cancellationToken))
            && (await LookAsync(SameMoment, cancellationToken)).FirstOrDefault(o => o.ClosesOutgoing) is { } obstacle)
        {
            throw new StorageUnavailableException($"{obstacle.Vi} / {obstacle.En}");
        }

        static bool Closed(IReadOnlyList<Obstacle> found) => found.Any(o => o.ClosesOutgoing);
    }

    /// <summary>Asked at MAIL; answers from memory. Null: mail is taken.</summary>
    public SmtpReply? MailRefusal => _found.FirstOrDefault(o => o.Mail is not null)?.Mail;

    /// <summary>Asked before EHLO's lines are read from the database.</summary>
    /// <exception cref="SmtpRefusalException">It would not answer.</exception>
    public void RequireDatabase()
    {
        if (_found.FirstOrDefault(o => o == Obstacle.Database || o == Obstacle.DatabaseSlow) is { } away)
        {
            throw new SmtpRefusalException(away.Mail!);
        }
    }

    /// <summary>A write met a full disk that cannot be measured from here: health says so for a while.</summary>
    public void SawDiskFull()
    {
        Interlocked.Exchange(ref _fullAt, time.GetTimestamp());
        _sawFull = true;
    }

    /// <summary>Looks until cancelled, and brings a database of our own back when it went down.</summary>
    public async Task FollowAsync(CancellationToken stop)
    {
        while (!stop.IsCancellationRequested)
        {
            try
            {
                var found = await LookAsync(TimeSpan.Zero, stop);
                if (found.Contains(Obstacle.Database)
                    && database.Cluster is { } cluster
                    && await cluster.ReviveAsync(stop))
                {
                    AdmissionLog.Revived(logger);
                }
            }
            catch (OperationCanceledException) when (stop.IsCancellationRequested)
            {
                return;
            }
            catch (Exception e)
            {
                // It does not start, for want of room most likely: tried again each second, for as long as this node
                // serves.
                AdmissionLog.NotRevived(logger, e.Message.ReplaceLineEndings(" "));
            }

            await Task.Delay(Every, time, stop).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    /// <summary>What was found, no older than this; looks if need be. Whoever comes while another looks waits for that
    /// one.</summary>
    private async Task<IReadOnlyList<Obstacle>> LookAsync(TimeSpan age, CancellationToken cancellationToken)
    {
        await _turn.WaitAsync(cancellationToken);
        try
        {
            if (_looked && time.GetElapsedTime(_lookedAt) < age)
            {
                return _found;
            }

            if (_asked.IsCompleted)
            {
                _asked = Task.Run(AskDatabaseAsync, CancellationToken.None);
            }

            if (_measured.IsCompleted)
            {
                _measured = Task.Run(MeasureVolumes, CancellationToken.None);
            }

            var limit = Task.Delay(_limits.SlowDatabase, time, cancellationToken);
            await Task.WhenAny(Task.WhenAll(_asked, _measured), limit);
            cancellationToken.ThrowIfCancellationRequested();
            List<Obstacle> found =
            [
                .. _asked.IsCompleted ? await _asked : [Obstacle.DatabaseSlow],
                .. _measured.IsCompleted ? await _measured : [Obstacle.DiskLow],
            ];
            if (_sawFull && time.GetElapsedTime(Interlocked.Read(ref _fullAt)) < FullFor)
            {
                found.Add(Obstacle.DatabaseFull);
            }

            Tell(found);
            (_found, _lookedAt, _looked) = (found, time.GetTimestamp(), true);
            return found;
        }
        finally
        {
            _turn.Release();
        }
    }

    private void Tell(List<Obstacle> found)
    {
        if (found.SequenceEqual(_found))
        {
            return;
        }

        if (found.Count == 0)
        {
            AdmissionLog.Clear(logger);
        }
        else
        {
            AdmissionLog.Found(logger, string.Join(", ", found.Select(o => o.Name)));
        }
    }

    private async Task<List<Obstacle>> AskDatabaseAsync()
    {
        var began = time.GetTimestamp();
        try
        {
            List<Obstacle> found = [];
            using var limit = new CancellationTokenSource(_limits.SlowDatabase, time);
            await clock.LookAsync(limit.Token);
            if (clock.IsApart)
            {
                found.Add(Obstacle.Clock);
            }
            else if (clock.IsDoubted)
            {
                found.Add(Obstacle.ClockStepped);
            }

            if (!_commits || time.GetElapsedTime(_committedAt) >= CommitEvery)
            {
                _commits = false;
                await database.TryCommitAsync(limit.Token);
                (_commits, _committedAt) = (true, time.GetTimestamp());
            }

            if (await backup.LookAsync(limit.Token) is { } held)
            {
                found.Add(Obstacle.Of(held));
            }

            found.AddRange(await DepthAsync(limit.Token));
            try
            {
                await directories.CurrentAsync(limit.Token);
            }
            catch (DirectoryException)
            {
                found.Add(Obstacle.NoDirectory);
            }

            if (time.GetElapsedTime(began) >= _limits.SlowDatabase)
            {
                found.Insert(0, Obstacle.DatabaseSlow);
            }

            return found;
        }
        catch (PostgresException e) when (e.SqlState == PostgresErrorCodes.DiskFull)
        {
            return [Obstacle.DatabaseFull];
        }
        catch (Exception e)
            when (e
                    is OperationCanceledException
                        or TimeoutException
                        or NpgsqlException { InnerException: TimeoutException })
        {
            return [Obstacle.DatabaseSlow];
        }
        catch (Exception e)
            when (e is NpgsqlException or IOException or System.Net.Sockets.SocketException or ObjectDisposedException)
        {
            return [Obstacle.Database];
        }
    }

    /// <summary>
    /// What waits to go out closes the door to submissions alone, what waits to be judged to mail alone: were both
    /// counted together, two gateways full of mail for each other would refuse each other for ever.
    /// </summary>
    private async Task<List<Obstacle>> DepthAsync(CancellationToken cancellationToken)
    {
        if (time.GetTimestamp() < _countAgainAt)
        {
            return _depth;
        }

        var began = time.GetTimestamp();
        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        // The limit is a literal for the planner; beyond it how many more there are makes no difference.
        var (outgoing, incoming) = await connection.QuerySingleAsync<(long, long)>(
            new CommandDefinition(
                string.Create(
                    CultureInfo.InvariantCulture,
                    $"""
                    SELECT count(*) FILTER (WHERE kind IN ('{WorkKind.SignAndEncrypt}', '{WorkKind.Send}')), count(*) FILTER (WHERE kind NOT IN ('{WorkKind.SignAndEncrypt}', '{WorkKind.Send}'))
                    FROM (SELECT kind FROM gateway.work WHERE state <> '{WorkState.Dead}' LIMIT {(2L * _limits.QueueDepth) + 1}) w
                    """
                ),
                cancellationToken: cancellationToken));
        _depth = [];
        if (outgoing >= _limits.QueueDepth)
        {
            _depth.Add(Obstacle.QueueFull);
        }

        if (incoming >= _limits.QueueDepth)
        {
            _depth.Add(Obstacle.IncomingQueueFull);
        }

        var took = time.GetTimestamp() - began;
        _countAgainAt = began + Math.Min(took * CountShare, time.TimestampFrequency * CountEvery);
        return _depth;
    }

    private Task<List<Obstacle>> MeasureVolumes()
    {
        List<Obstacle> found = [];
        if (Free(options.DataFolder) < _limits.LeastFree
            || (database.Cluster is { } cluster && Free(cluster.DataDirectory) < _limits.LeastFree))
        {
            found.Add(Obstacle.DiskLow);
        }

        if (Free(Path.GetTempPath()) < _limits.LeastFreeTemporary)
        {
            found.Add(Obstacle.TemporaryLow);
        }

        return Task.FromResult(found);
    }

    private static long Free(string folder)
    {
        try
        {
            return new DriveInfo(folder).AvailableFreeSpace;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // A folder that is not there holds nothing: the worst is assumed.
            return 0;
        }
    }

    /// <summary>One thing that can stand in the way.</summary>
    /// <param name="Name">For health and the log.</param>
    /// <param name="ClosesOutgoing">Submissions are refused.</param>
    /// <param name="Mail">The answer to MAIL; null: mail is taken all the same.</param>
    private sealed record Obstacle(string Name, bool ClosesOutgoing, SmtpReply? Mail, string Vi, string En)
    {
        public static readonly Obstacle Database = new(
            "database", true, new SmtpReply(451, "4.3.0", "The database is away, try again later"),
            "Không kết nối được cơ sở dữ liệu; chưa nhận gì, hãy kiểm tra máy chủ PostgreSQL và Database:Connection.",
            "The database cannot be reached; nothing was taken: check the server and Database:Connection.");

        public static readonly Obstacle DatabaseSlow = new(
            "database-slow", true, new SmtpReply(451, "4.3.2", "The database is slow, try again later"),
            "Cơ sở dữ liệu trả lời quá chậm; chưa nhận gì, hãy gửi lại sau.",
            "The database answers too slowly; nothing was taken: send again later.");

        // Not closed for it: whether there is room again is found out by trying, and each try is refused whole.
        public static readonly Obstacle DatabaseFull = new("database-full", false, null, "", "");

        // RFC 3463 §3.4: X.3.1, mail system full.
        public static readonly Obstacle DiskLow = new(
            "disk-low", true, new SmtpReply(452, "4.3.1", "Too little disk space, try again later"),
            "Ổ đĩa của cổng sắp đầy; chưa nhận gì, hãy giải phóng chỗ rồi gửi lại (Limits:LeastFree).",
            "The gateway's disk is nearly full; nothing was taken: free some space and send again (Limits:LeastFree).");

        public static readonly Obstacle TemporaryLow = new(
            "temporary-folder-low",
            true,
            new SmtpReply(452, "4.3.1", "Too little space for temporary files, try again later"),
            "Thư mục tạm sắp đầy; chưa nhận gì, hãy giải phóng chỗ rồi gửi lại (Limits:LeastFreeTemporary).",
            "The folder for temporary files is nearly full; nothing was taken: free some space and send again (Limits:LeastFreeTemporary)."
        );

        public static readonly Obstacle QueueFull = new(
            "queue-full", true, null, "Hàng đợi gửi đi đã đầy; chưa nhận gì, hãy gửi lại sau (Limits:QueueDepth).",
            "The queue of what is to go out is full; nothing was taken: send again later (Limits:QueueDepth).");

        public static readonly Obstacle IncomingQueueFull = new(
            "incoming-queue-full", false, new SmtpReply(452, "4.3.1", "Too much waits to be judged, try again later"),
            "", "");

        public static readonly Obstacle Clock = new("clock-differs-from-database", false, null, "", "");

        // What hangs on the clock waits by itself.
        public static readonly Obstacle ClockStepped = new(AlarmKind.ClockStepped, false, null, "", "");

        public static readonly Obstacle NoDirectory = new("no-directory", false, null, "", "");

        private static readonly SmtpReply NotYet = new(
            451, "4.3.2",
            "No mail is taken now: the gateway proves itself after a restoration, or its backup does not follow");

        public static Obstacle Of(BackupObstacle held) =>
            new(held.Name, held.Closes, held.Closes ? NotYet : null, held.Vi, held.En);
    }
}

internal static partial class AdmissionLog
{
    [LoggerMessage(1501, LogLevel.Warning, "Not ready: {Problems}")]
    public static partial void Found(ILogger logger, string problems);

    [LoggerMessage(1502, LogLevel.Information, "Ready again: nothing stands in the way of new work")]
    public static partial void Clear(ILogger logger);

    [LoggerMessage(1503, LogLevel.Warning, "The private database had gone down and was started again")]
    public static partial void Revived(ILogger logger);

    [LoggerMessage(1504, LogLevel.Error, "The private database is down and does not start: {Reason}")]
    public static partial void NotRevived(ILogger logger, string reason);
}
