using System.Globalization;
using Microsoft.Extensions.Logging;
using Npgsql;
using SecureMail.Gateway.Clock;
using SecureMail.Gateway.Directories;
using SecureMail.Gateway.Vocabulary;
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
    GatewayDatabase database, DirectoryStore directories, BackupGate backup, ClockWatch clock, HealthOptions options,
    DatabaseOptions storage, TimeProvider time, ILogger<Admission> logger) : IDisposable
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
    private readonly HealthOptions _limits = options;
    private Task<List<HealthIssue>> _asked = Task.FromResult<List<HealthIssue>>([]);
    private Task<List<HealthIssue>> _measured = Task.FromResult<List<HealthIssue>>([]);
    private volatile IReadOnlyList<HealthIssue> _found = [];
    private long _lookedAt;
    private bool _looked;
    private long _fullAt;
    private volatile bool _sawFull;
    private bool _commits;
    private long _committedAt;
    private long _countAgainAt;
    private List<HealthIssue> _depth = [];

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
        if (
            Closed(await LookAsync(Every, cancellationToken))
            && (await LookAsync(SameMoment, cancellationToken)).FirstOrDefault(o => o.RefusesSubmissions)
                is { } obstacle)
        {
            throw new StorageUnavailableException($"{obstacle.Vi} / {obstacle.En}");
        }

        static bool Closed(IReadOnlyList<HealthIssue> found) => found.Any(o => o.RefusesSubmissions);
    }

    /// <summary>Why mail is not taken now, from the last look; null: mail is taken.</summary>
    public HealthIssue? RefusingMail => _found.FirstOrDefault(o => o.RefusesMail);

    /// <summary>Why the database would not answer now, from the last look; null: ask it.</summary>
    public HealthIssue? DatabaseAway =>
        _found.FirstOrDefault(o => o == HealthIssue.Database || o == HealthIssue.DatabaseSlow);

    /// <summary>A write met a full disk that cannot be measured from here: health says so for a while.</summary>
    public void SawDiskFull()
    {
        Interlocked.Exchange(ref _fullAt, time.GetTimestamp());
        _sawFull = true;
    }

    /// <summary>Looks until cancelled, and brings a database of our own back when it went down.</summary>
    public async Task SuperviseAsync(CancellationToken stop)
    {
        while (!stop.IsCancellationRequested)
        {
            try
            {
                var found = await LookAsync(TimeSpan.Zero, stop);
                if (found.Contains(HealthIssue.Database)
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
    private async Task<IReadOnlyList<HealthIssue>> LookAsync(TimeSpan age, CancellationToken cancellationToken)
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
            List<HealthIssue> found =
            [
                .. _asked.IsCompleted ? await _asked : [HealthIssue.DatabaseSlow],
                .. _measured.IsCompleted ? await _measured : [HealthIssue.DiskLow],
            ];
            if (_sawFull && time.GetElapsedTime(Interlocked.Read(ref _fullAt)) < FullFor)
            {
                found.Add(HealthIssue.DatabaseFull);
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

    private void Tell(List<HealthIssue> found)
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

    private async Task<List<HealthIssue>> AskDatabaseAsync()
    {
        var began = time.GetTimestamp();
        try
        {
            List<HealthIssue> found = [];
            using var limit = new CancellationTokenSource(_limits.SlowDatabase, time);
            await clock.LookAsync(limit.Token);
            if (clock.IsApart)
            {
                found.Add(HealthIssue.ClockApart);
            }
            else if (clock.IsDoubted)
            {
                found.Add(HealthIssue.ClockStepped);
            }

            if (!_commits || time.GetElapsedTime(_committedAt) >= CommitEvery)
            {
                _commits = false;
                await database.TryCommitAsync(limit.Token);
                (_commits, _committedAt) = (true, time.GetTimestamp());
            }

            if (await backup.LookAsync(limit.Token) is { } held)
            {
                found.Add(held);
            }

            found.AddRange(await DepthAsync(limit.Token));
            try
            {
                await directories.CurrentAsync(limit.Token);
            }
            catch (DirectoryException)
            {
                found.Add(HealthIssue.NoDirectory);
            }

            if (time.GetElapsedTime(began) >= _limits.SlowDatabase)
            {
                found.Insert(0, HealthIssue.DatabaseSlow);
            }

            return found;
        }
        catch (PostgresException e) when (e.SqlState == PostgresErrorCodes.DiskFull)
        {
            return [HealthIssue.DatabaseFull];
        }
        catch (Exception e)
            when (e
                    is OperationCanceledException
                        or TimeoutException
                        or NpgsqlException { InnerException: TimeoutException })
        {
            return [HealthIssue.DatabaseSlow];
        }
        catch (Exception e)
            when (e is NpgsqlException or IOException or System.Net.Sockets.SocketException or ObjectDisposedException)
        {
            return [HealthIssue.Database];
        }
    }

    /// <summary>
    /// What waits to go out closes the door to submissions alone, what waits to be judged to mail alone: were both
    /// counted together, two gateways full of mail for each other would refuse each other for ever.
    /// </summary>
    private async Task<List<HealthIssue>> DepthAsync(CancellationToken cancellationToken)
    {
        if (time.GetTimestamp() < _countAgainAt)
        {
            return _depth;
        }

        var began = time.GetTimestamp();
        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        // The limit is a literal for the planner; beyond it how many more there are makes no difference.
        var (outgoing, incoming) = await connection.FindAsync<(long, long)>(
            string.Create(
                CultureInfo.InvariantCulture,
                $"""
                SELECT count(*) FILTER (WHERE kind IN ('{WorkKind.SignAndEncrypt}', '{WorkKind.Send}')), count(*)
                  FILTER (WHERE kind NOT IN ('{WorkKind.SignAndEncrypt}', '{WorkKind.Send}'))
                FROM (SELECT kind FROM gateway.work WHERE state <> '{WorkState.Dead}'
                  LIMIT {(2L * _limits.QueueDepth) + 1}) w
                """
            ),
            null, cancellationToken);
        _depth = [];
        if (outgoing >= _limits.QueueDepth)
        {
            _depth.Add(HealthIssue.QueueFull);
        }

        if (incoming >= _limits.QueueDepth)
        {
            _depth.Add(HealthIssue.IncomingQueueFull);
        }

        var took = time.GetTimestamp() - began;
        _countAgainAt = began + Math.Min(took * CountShare, time.TimestampFrequency * CountEvery);
        return _depth;
    }

    private Task<List<HealthIssue>> MeasureVolumes()
    {
        List<HealthIssue> found = [];
        if (Free(storage.DataFolder) < _limits.LeastFree
            || (database.Cluster is { } cluster && Free(cluster.DataDirectory) < _limits.LeastFree))
        {
            found.Add(HealthIssue.DiskLow);
        }

        if (Free(Path.GetTempPath()) < _limits.LeastFreeTemporary)
        {
            found.Add(HealthIssue.TemporaryLow);
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
