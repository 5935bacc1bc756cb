using System.Net.Sockets;
using System.Runtime.ExceptionServices;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Logging;
using Npgsql;
using SecureMail.Storage;

namespace SecureMail.Gateway.Health;

/// <summary>
/// Whether this node can take new work, and why not: the one answer that submissions, the listener for mail and health
/// go by.
/// </summary>
/// <remarks>
/// It runs the health checks of this folder (<see cref="HealthChecks"/>). While the node serves it runs them every
/// second; who asks gets the last answer, so that no command of a peer costs a query. A
/// look ends in bounded time whatever hangs: a database that does not answer is left with its question, no second one
/// is put to it, and until it answers it is slow. New work alone is refused: what was accepted goes on, since that is
/// what makes room again.
/// </remarks>
internal sealed class Admission(
    HealthCheckService checks, GatewayDatabase database, HealthOptions options, TimeProvider time,
    ILogger<Admission> logger) : IDisposable
{
    private static readonly TimeSpan Every = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan FullFor = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan SameMoment = TimeSpan.FromMilliseconds(100);

    private readonly SemaphoreSlim _turn = new(1, 1);
    private Task<HealthReport>? _asked;
    private Task<HealthReport>? _measured;
    private volatile IReadOnlyList<HealthIssue> _found = [];
    private long _lookedAt;
    private bool _looked;
    private long _fullAt;
    private volatile bool _sawFull;

    public void Dispose() => _turn.Dispose();

    /// <summary>The names of what was found now.</summary>
    public async Task<IReadOnlyList<string>> ProblemsAsync(CancellationToken cancellationToken) =>
        [.. (await IssuesAsync(cancellationToken)).Select(o => o.Name)];

    /// <summary>What is to be said of this node now.</summary>
    public Task<IReadOnlyList<HealthIssue>> IssuesAsync(CancellationToken cancellationToken) =>
        LookAsync(SameMoment, cancellationToken);

    /// <summary>Asked before a submission is read.</summary>
    /// <exception cref="NotTakenNowException">Nothing is taken now.</exception>
    public async Task RequireForSubmissionAsync(CancellationToken cancellationToken)
    {
        // A refusal is looked at anew: whoever comes again because the cause was mended is not sent away for what was
        // true a second ago.
        if (
            Closed(await LookAsync(Every, cancellationToken))
            && (await LookAsync(SameMoment, cancellationToken)).FirstOrDefault(o => o.RefusesSubmissions)
                is { } issue)
        {
            throw new NotTakenNowException(issue);
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

            if (_asked is null or { IsCompleted: true })
            {
                _asked = checks.CheckHealthAsync(r => r.Tags.Contains(HealthChecks.Database), CancellationToken.None);
            }

            if (_measured is null or { IsCompleted: true })
            {
                _measured = checks.CheckHealthAsync(r => r.Tags.Contains(HealthChecks.Volume), CancellationToken.None);
            }

            var limit = Task.Delay(options.SlowDatabase, time, cancellationToken);
            await Task.WhenAny(Task.WhenAll(_asked, _measured), limit);
            cancellationToken.ThrowIfCancellationRequested();
            List<HealthIssue> found =
            [
                .. _asked.IsCompleted ? OfDatabase(await _asked) : [HealthIssue.DatabaseSlow],
                .. _measured.IsCompleted ? Issues(await _measured) : [HealthIssue.DiskLow],
            ];
            if (_sawFull && time.GetElapsedTime(Interlocked.Read(ref _fullAt)) < FullFor)
            {
                found.Add(HealthIssue.DatabaseFull);
            }

            LogChanges(found);
            (_found, _lookedAt, _looked) = (found, time.GetTimestamp(), true);
            return found;
        }
        finally
        {
            _turn.Release();
        }
    }

    private void LogChanges(List<HealthIssue> found)
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

    /// <summary>What the checks found. When one of them shows that the database is away or slow, nothing else is
    /// said, because the others were not answered by it either.</summary>
    private List<HealthIssue> OfDatabase(HealthReport report)
    {
        var faults = report.Entries.Values.Select(e => e.Exception).OfType<Exception>().Select(FaultOf).ToHashSet();
        return faults.Contains(HealthIssue.Database) ? [HealthIssue.Database]
            : faults.Contains(HealthIssue.DatabaseSlow) || report.TotalDuration >= options.SlowDatabase
                ? [HealthIssue.DatabaseSlow]
            : [.. faults, .. Issues(report)];
    }

    private static IEnumerable<HealthIssue> Issues(HealthReport report) =>
        report.Entries.Values.SelectMany(e => e.Data.Values).OfType<HealthIssue>();

    private static HealthIssue FaultOf(Exception exception)
    {
        switch (exception)
        {
            case PostgresException { SqlState: PostgresErrorCodes.DiskFull }:
                return HealthIssue.DatabaseFull;
            case OperationCanceledException
            or TimeoutException
            or NpgsqlException { InnerException: TimeoutException }:
                return HealthIssue.DatabaseSlow;
            case NpgsqlException or IOException or SocketException or ObjectDisposedException:
                return HealthIssue.Database;
            default:
                ExceptionDispatchInfo.Throw(exception);
                throw exception;
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
