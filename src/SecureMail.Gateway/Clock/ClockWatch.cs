using Microsoft.Extensions.Logging;
using SecureMail.Exchange;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Storage;

namespace SecureMail.Gateway.Clock;

/// <summary>
/// Watches the two clocks that a node goes by, its own and the database's, and says when they cannot be believed.
/// </summary>
/// <remarks>
/// Evidence (signatures, ledger entries, numbers of a year) bears the process' time. What is agreed between nodes
/// (leases, retries, overdue, retention) goes by the database's time. How long something takes goes by the monotonic
/// counter. docs/time.md says which use goes by which, and why. At each look of <see cref="Health.Admission"/>, which
/// is each second, the three are compared by <see cref="ClockModel"/>. When the database's clock stepped, what lies
/// ahead of it is moved along
/// (<c>gateway.note_step</c>), and no span of time counts the step.
/// While a clock is doubted nothing is signed, and nothing is refused, quarantined or numbered in another year for a
/// reason of time: it waits. An anomaly has one entry in the ledger at its beginning and one at its end, however often
/// the clock jumps meanwhile. A leap while no node ran is seen only where the ledger has later entries.
/// </remarks>
internal sealed class ClockWatch(
    GatewayDatabase database, ClockOptions options, TimeProvider time, ILogger<ClockWatch> logger) : IDisposable
{
    /// <summary>How far a peer's claimed time may lie ahead of ours before it is an anomaly.</summary>
    public static readonly TimeSpan PeerTolerance = TimeSpan.FromMinutes(5);

    /// <summary>How far ahead a peer's clock is still taken for a clock that is wrong: by a day, in any time zone. A
    /// claimed time beyond it is not believed.</summary>
    public static readonly TimeSpan PeerLimit = TimeSpan.FromHours(26);

    private static readonly TimeSpan TooSlow = TimeSpan.FromSeconds(2);

    private readonly long _start = time.GetTimestamp();
    private readonly Lock _lock = new();
    private readonly SemaphoreSlim _looking = new(1);
    private readonly ClockRecord _record = new(database, time, logger);
    private readonly ClockModel _model = new(
        options.ClockSettles, new ClockReading(TimeSpan.Zero, time.GetUtcNow()));
    private readonly HashSet<string> _peersThatAgree = [];
    private readonly HashSet<string> _peersAhead = [];
    private string? _node;

    /// <summary>When work that waits for the clocks is looked at again.</summary>
    public TimeSpan AskAgain { get; } =
        TimeSpan.FromSeconds(Math.Clamp(options.ClockSettles.TotalSeconds / 4, 0.5, 15));

    /// <summary>Whether what the process' clock shows may be wrong by more than peers tolerate. The clock is read here,
    /// so that a step is known before it is used.</summary>
    public bool IsDoubted => Ask(m => m.IsDoubted);

    /// <summary>Whether the process' and the database's clock are too far apart to be let pass.</summary>
    public bool IsApart
    {
        get
        {
            lock (_lock)
            {
                return _model.IsApart;
            }
        }
    }

    /// <summary>What the database's clock must show, by the counter since the last look; null before the first. A step
    /// is in it only when everything that lies ahead was moved along. UTC.</summary>
    public DateTime? DatabaseNow
    {
        get
        {
            lock (_lock)
            {
                return _model.ExpectedOfDatabase(Elapsed)?.UtcDateTime;
            }
        }
    }

    /// <summary>A time that never steps and that all nodes share. For intervals, not for dates. Null before the first
    /// look.</summary>
    public DateTimeOffset? SteadyNow
    {
        get
        {
            lock (_lock)
            {
                return _model.SteadyTime(Elapsed);
            }
        }
    }

    private TimeSpan Elapsed => time.GetElapsedTime(_start);

    /// <summary>Looks once, so that a clock that was wrong before the node started is known before the node does
    /// anything.</summary>
    /// <param name="node">Its name in the ledger.</param>
    public async Task StartAsync(string node, CancellationToken cancellationToken)
    {
        _node = node;
        try
        {
            await LookBackAsync(cancellationToken);
            await LookAsync(cancellationToken);
        }
        catch (Exception e) when (DatabaseFault.Is(e))
        {
            // What was seen stands in the model; the next look writes it down.
        }
    }

    /// <summary>Compares all three now, and writes down what is new. Call it before something that cannot be taken back
    /// goes by the database's clock.</summary>
    public async Task LookAsync(CancellationToken cancellationToken)
    {
        await _looking.WaitAsync(cancellationToken);
        try
        {
            var began = time.GetTimestamp();
            var (shown, leapt) = await _record.ReadDatabaseAsync(cancellationToken);
            if (time.GetElapsedTime(began) > TooSlow)
            {
                // When the clock was read is not known well enough.
                return;
            }

            var reading = new ClockReading(Elapsed, shown);
            TimeSpan step;
            DateTimeOffset? expected;
            lock (_lock)
            {
                (step, expected) = (_model.StepOfDatabase(reading), _model.ExpectedOfDatabase(reading.Elapsed));
            }

            if (step != TimeSpan.Zero && _node is not null)
            {
                // First what lies ahead is moved, then we go by the new time. In between, leases are as long as they
                // were.
                await _record.DatabaseSteppedAsync(expected!.Value, shown, _node, cancellationToken);
                (_, leapt) = await _record.ReadDatabaseAsync(cancellationToken);
            }

            TimeSpan unwritten;
            lock (_lock)
            {
                _model.ReadDatabase(reading, leapt, step, new ClockReading(Elapsed, time.GetUtcNow()));
                unwritten = _model.Unwritten;
            }

            if (_node is not null)
            {
                await WriteAsync(_node, cancellationToken);
            }

            lock (_lock)
            {
                _model.HasWritten(unwritten);
            }
        }
        finally
        {
            _looking.Release();
        }
    }

    /// <exception cref="ClockSuspectException">A clock is doubted, and the doubt makes the difference of a year: a
    /// number drawn now would stand in the wrong register for ever.</exception>
    public async Task RequireYearAsync(DateTimeOffset now, CancellationToken cancellationToken)
    {
        if (_node is null)
        {
            // In a command nobody watches: look once.
            await LookAsync(cancellationToken);
        }

        if (Ask(m => m.IsYearDoubted(now)))
        {
            throw new ClockSuspectException();
        }
    }

    /// <summary>Whether a time was read off the process' clock while it ran as it does now. Only such a time says
    /// something of other clocks.</summary>
    public bool RanAsNowAt(DateTimeOffset then) => Ask(m => m.RanAsNowAt(then));

    /// <summary>A peer signed in our future. It is written down once, until the peer's clock agrees again.</summary>
    public async Task PeerIsAheadAsync(string peer, TimeSpan by, CancellationToken cancellationToken)
    {
        lock (_lock)
        {
            _peersThatAgree.Remove(peer);
            if (!_peersAhead.Add(peer))
            {
                return;
            }
        }

        await _record.BeginAsync("peer:" + peer, ClockAnomalyKind.Peer, by, cancellationToken);
    }

    /// <summary>A peer signed by a clock like ours: an anomaly that was open for an hour is over. It does not end
    /// sooner, because messages signed before and after a correction come mixed.</summary>
    public async Task PeerAgreesAsync(string peer, CancellationToken cancellationToken)
    {
        lock (_lock)
        {
            if (!_peersThatAgree.Add(peer))
            {
                return;
            }

            _peersAhead.Remove(peer);
        }

        await _record.EndAsync("peer:" + peer, TimeSpan.FromHours(1), cancellationToken);
    }

    public void Dispose() => _looking.Dispose();

    /// <summary>Reads our own clock and asks.</summary>
    private bool Ask(Func<ClockModel, bool> question)
    {
        lock (_lock)
        {
            _model.Read(new ClockReading(Elapsed, time.GetUtcNow()));
            return question(_model);
        }
    }

    /// <summary>A clock that is behind its own ledger was set back while nobody looked.</summary>
    private async Task LookBackAsync(CancellationToken cancellationToken)
    {
        var latest = await _record.LatestEntryAsync(cancellationToken);
        if (latest - time.GetUtcNow() is { } behind && behind > ClockModel.Noted)
        {
            lock (_lock)
            {
                _model.FoundBehindLedger(behind);
            }
        }
    }

    private async Task WriteAsync(string node, CancellationToken cancellationToken)
    {
        ClockAnomaly? begins;
        lock (_lock)
        {
            begins = _model.BeginningAnomaly;
        }

        if (begins is { } anomaly)
        {
            await _record.BeginAsync("node:" + node, anomaly.Kind, anomaly.By, cancellationToken);
            lock (_lock)
            {
                _model.HasBegun();
            }
        }

        bool ends;
        lock (_lock)
        {
            ends = _model.AreAnomaliesOver();
        }

        if (ends)
        {
            await _record.EndAsync("node:" + node, TimeSpan.Zero, cancellationToken);
            await _record.EndAsync("database", TimeSpan.Zero, cancellationToken);
            lock (_lock)
            {
                _model.HasEnded();
            }
        }
    }
}

/// <summary>A clock is doubted: what depends on it waits.</summary>
internal sealed class ClockSuspectException() : Exception(Code)
{
    public const string Code = ReasonCode.ClockSuspect;
}
