using Microsoft.Extensions.Logging;
using Npgsql;
using SecureMail.Exchange;
using SecureMail.Gateway.Registers;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Storage;

namespace SecureMail.Gateway.Clock;

/// <summary>
/// Watches the two clocks that a node goes by, its own and the database's, and says when they cannot be believed.
/// </summary>
/// <remarks>
/// Evidence (signatures, ledger entries, numbers of a year) bears the process' time; what is agreed between nodes
/// (leases, retries, overdue, retention) goes by the database's; how long something takes goes by the monotonic
/// counter, which nobody sets. docs/time.md says which use goes by which, and why. Each second the three are compared:
/// <list type="number">
/// <item>the process' clock against the counter: it <em>stepped</em>;</item>
/// <item>the database's clock against the counter: that one stepped. What lies ahead of it is moved along
/// (<c>gateway.note_step</c>), and no span of time counts the step;</item>
/// <item>one against the other: they are <em>apart</em>.</item>
/// </list>
/// A clock that steps into agreement with one that stood firm was corrected, and is believed at once. Clocks that step
/// together (one machine) are believed after <see cref="ClockOptions.ClockSettles"/>: nobody else can say which time
/// was right. While a clock is doubted nothing is signed, and nothing is refused, set aside or numbered in another year
/// for a reason of time: it waits. One entry in the ledger at the beginning of an anomaly, one at its end, however
/// often the clock jumps meanwhile. What nobody was there to see is not seen: a leap while no node ran. A clock that is
/// behind its own ledger is (the battery of a mainboard).
/// </remarks>
internal sealed class ClockWatch(
    GatewayDatabase database, ClockOptions options, TimeProvider time, ILogger<ClockWatch> logger) : IDisposable
{
    /// <summary>How far a peer's claimed time may lie ahead of ours before it is an anomaly.</summary>
    public static readonly TimeSpan PeerTolerance = TimeSpan.FromMinutes(5);

    /// <summary>How far ahead a peer's clock is still taken for a clock that is wrong: a leap to tomorrow, in any time
    /// zone's dress. What claims more is not believed.</summary>
    public static readonly TimeSpan PeerLimit = TimeSpan.FromHours(26);

    private static readonly TimeSpan LookEvery = TimeSpan.FromSeconds(1);

    // Slewing by NTP is at most 0.5 ms a second: what is more than this in one look is a step.
    private static readonly TimeSpan Step = TimeSpan.FromSeconds(10);

    // Machines that keep time are milliseconds apart. Peers bear five minutes, so what is signed within three is good
    // everywhere.
    private static readonly TimeSpan Noted = TimeSpan.FromMinutes(1);
    private static readonly TimeSpan Bearable = TimeSpan.FromMinutes(3);

    private static readonly TimeSpan TooSlow = TimeSpan.FromSeconds(2);

    private readonly Lock _lock = new();
    private readonly SemaphoreSlim _looking = new(1);
    private readonly ClockRecord _record = new(database, time, logger);
    private readonly HashSet<string> _peersThatAgree = [];
    private readonly HashSet<string> _peersAhead = [];

    private (long Counter, DateTimeOffset Shown) _own = (time.GetTimestamp(), time.GetUtcNow());
    private (long Counter, DateTimeOffset Shown)? _databases;
    private TimeSpan _leapt;
    private TimeSpan _apart;

    // What the clocks were moved by and is not believed yet, since when, and since when nothing has moved.
    private TimeSpan _moved;
    private TimeSpan _databaseMoved;
    private long? _movedAt;

    // What our own clock showed when it had stepped last: what bears an earlier time may bear a wrong one.
    private DateTimeOffset? _ownSince;
    private TimeSpan _sinceLook;
    private bool _begun;
    private bool _mayBeOpen = true;
    private string? _node;

    /// <summary>When work that waits for the clocks is looked at again.</summary>
    public TimeSpan AskAgain { get; } =
        TimeSpan.FromSeconds(Math.Clamp(options.ClockSettles.TotalSeconds / 4, 0.5, 15));

    /// <summary>Whether what the process' clock shows may be wrong by more than anybody bears. Compares it there and
    /// then: a step is known before it is used.</summary>
    public bool IsDoubted
    {
        get
        {
            lock (_lock)
            {
                CompareOwn();
                return Doubted();
            }
        }
    }

    /// <summary>Whether the process' and the database's clock are too far apart to be let pass.</summary>
    public bool IsApart
    {
        get
        {
            lock (_lock)
            {
                return _apart.Duration() >= Noted;
            }
        }
    }

    /// <summary>
    /// What the database's clock must show, by the counter since the last look; null before the first. A step is in it
    /// only when everything that lies ahead was moved along. UTC.
    /// </summary>
    public DateTime? DatabaseNow
    {
        get
        {
            lock (_lock)
            {
                return _databases is { } line ? (line.Shown + time.GetElapsedTime(line.Counter)).UtcDateTime : null;
            }
        }
    }

    /// <summary>
    /// A time that never steps and that all nodes share: the database's, without everything it was ever moved by. For
    /// intervals, not for dates. Null before the first look.
    /// </summary>
    public DateTimeOffset? SteadyNow
    {
        get
        {
            lock (_lock)
            {
                return _databases is { } line ? line.Shown + time.GetElapsedTime(line.Counter) - _leapt : null;
            }
        }
    }

    /// <summary>Looks once, so that what was wrong before the node started is known before it does anything.</summary>
    /// <param name="node">Its name in the ledger.</param>
    public async Task StartAsync(string node, CancellationToken cancellationToken)
    {
        _node = node;
        try
        {
            await LookBackAsync(cancellationToken);
            await LookAsync(cancellationToken);
        }
        catch (Exception e) when (e is NpgsqlException or IOException or TimeoutException)
        {
            // What was seen is known all the same; it is written down by the next look.
        }
    }

    /// <summary>Looks each second until cancelled.</summary>
    public async Task RunAsync(CancellationToken stop)
    {
        while (!stop.IsCancellationRequested)
        {
            try
            {
                await LookAsync(stop);
            }
            catch (Exception e)
                when (e is NpgsqlException or IOException or TimeoutException or OperationCanceledException)
            {
                // Away: health says so, and the counter goes on meanwhile.
            }

            await Task.Delay(LookEvery, time, stop).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    /// <summary>Compares all three now, and writes down what is new. To be called before something that cannot be taken
    /// back goes by the database's clock.</summary>
    public async Task LookAsync(CancellationToken cancellationToken)
    {
        await _looking.WaitAsync(cancellationToken);
        try
        {
            var began = time.GetTimestamp();
            var (shown, leapt) = await _record.ReadDatabaseAsync(cancellationToken);
            if (time.GetElapsedTime(began) > TooSlow)
            {
                // When it was read cannot be told well enough.
                return;
            }

            var read = time.GetTimestamp();
            var expected = _databases is { } line ? line.Shown + time.GetElapsedTime(line.Counter, read) : shown;
            var databaseStep = shown - expected;
            if (databaseStep.Duration() < Step)
            {
                databaseStep = TimeSpan.Zero;
            }
            else if (_node is not null)
            {
                // First what lies ahead is moved, then we go by the new time: in between leases are as long as they
                // were.
                await _record.DatabaseSteppedAsync(expected, shown, _node, cancellationToken);
                (_, leapt) = await _record.ReadDatabaseAsync(cancellationToken);
            }

            TimeSpan ownStep;
            lock (_lock)
            {
                (_databases, _leapt) = ((read, shown), leapt);
                CompareOwn();
                ownStep = _sinceLook;
                Weigh(shown - _own.Shown, databaseStep);
            }

            if (_node is not null)
            {
                await WriteAsync(_node, ownStep, cancellationToken);
            }

            lock (_lock)
            {
                _sinceLook -= ownStep;
            }
        }
        finally
        {
            _looking.Release();
        }
    }

    /// <exception cref="ClockSuspectException">A clock is doubted, and it makes the difference of a year: a number
    /// drawn now would stand in the wrong register for ever.</exception>
    public async Task RequireYearAsync(DateTimeOffset now, CancellationToken cancellationToken)
    {
        if (_node is null)
        {
            // Nobody watches here (a command): look once.
            await LookAsync(cancellationToken);
        }

        lock (_lock)
        {
            CompareOwn();
            if (
                Doubted()
                && (
                    Register.YearOf(now) != Register.YearOf(now - _moved)
                    || Register.YearOf(now) != Register.YearOf(now + _apart)))
            {
                throw new ClockSuspectException();
            }
        }
    }

    /// <summary>Whether a time that was read off the process' clock was read off one that ran then as it does now. What
    /// says something of other clocks must hang on no other.</summary>
    public bool RanAsNowAt(DateTimeOffset then)
    {
        lock (_lock)
        {
            CompareOwn();
            return !Doubted() && then <= _own.Shown && !(then < _ownSince);
        }
    }

    /// <summary>A peer signed in our future. Written down once, until its clock agrees again.</summary>
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

    /// <summary>A peer signed by a clock like ours: if an anomaly was open for an hour, it is over. (Not sooner:
    /// messages signed before and after come mixed.)</summary>
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

    /// <summary>A clock that is behind what its own ledger says was set back while nobody looked.</summary>
    private async Task LookBackAsync(CancellationToken cancellationToken)
    {
        await using (
            var command = database.Source.CreateCommand(
                "SELECT min(time) FROM (SELECT time FROM ledger.entry ORDER BY entry_id DESC LIMIT 20) latest"))
        {
            // Twenty of them: one node whose clock ran ahead must not make the others doubt theirs.
            if (await command.ExecuteScalarAsync(cancellationToken) is DateTime latest
                && new DateTimeOffset(latest, TimeSpan.Zero) - time.GetUtcNow() is var behind
                && behind > Noted)
            {
                lock (_lock)
                {
                    Move(-behind);
                }
            }
        }
    }

    private void CompareOwn()
    {
        var (counter, shown) = (time.GetTimestamp(), time.GetUtcNow());
        var step = shown - (_own.Shown + time.GetElapsedTime(_own.Counter, counter));
        _own = (counter, shown);
        if (step.Duration() >= Step)
        {
            _ownSince = shown;
            Move(step);
        }
    }

    private void Move(TimeSpan step)
    {
        _moved += step;
        _sinceLook += step;
        _movedAt = time.GetTimestamp();
    }

    /// <summary>What a look means for what is believed.</summary>
    private void Weigh(TimeSpan apart, TimeSpan databaseStep)
    {
        _apart = apart;
        if (databaseStep != TimeSpan.Zero)
        {
            _databaseMoved += databaseStep;
            _movedAt = time.GetTimestamp();
        }

        var settled = SinceMoved() >= options.ClockSettles;
        // The one that stood firm is the witness for the one that came to it. Where both moved and were not believed
        // yet, neither is.
        var corrected = _moved.Duration() < Step || _databaseMoved.Duration() < Step;
        if (apart.Duration() < Noted && (settled || corrected))
        {
            _moved = _databaseMoved = TimeSpan.Zero;
        }
    }

    private bool Doubted() =>
        _apart.Duration() >= Bearable || (_moved.Duration() >= Step && SinceMoved() < options.ClockSettles);

    private TimeSpan SinceMoved() => _movedAt is { } at ? time.GetElapsedTime(at) : TimeSpan.MaxValue;

    private async Task WriteAsync(string node, TimeSpan ownStep, CancellationToken cancellationToken)
    {
        var subject = "node:" + node;
        // A database whose clock was set is apart from every node, and that is one anomaly, not one for each.
        var apart = (_apart - _databaseMoved).Duration() >= Noted;
        if (!_begun && (ownStep.Duration() >= Step || apart))
        {
            await _record.BeginAsync(
                subject, ownStep.Duration() >= Step ? ClockAnomalyKind.Stepped : ClockAnomalyKind.Apart,
                ownStep.Duration() >= Step ? ownStep : _apart, cancellationToken);
            _begun = true;
        }

        _mayBeOpen |= _begun || _databaseMoved != TimeSpan.Zero;
        if (_mayBeOpen && IsCalm())
        {
            await _record.EndAsync(subject, TimeSpan.Zero, cancellationToken);
            await _record.EndAsync("database", TimeSpan.Zero, cancellationToken);
            _mayBeOpen = _begun = false;
        }
    }

    private bool IsCalm()
    {
        lock (_lock)
        {
            // A moment of quiet, so that a clock that flaps is one anomaly.
            var quiet = options.ClockSettles < Step ? options.ClockSettles : Step;
            return !Doubted() && _apart.Duration() < Noted && _databaseMoved == TimeSpan.Zero && SinceMoved() >= quiet;
        }
    }
}

/// <summary>A clock is doubted: what hangs on it waits.</summary>
internal sealed class ClockSuspectException() : Exception(Code)
{
    /// <summary>One of Wording's.</summary>
    public const string Code = ReasonCode.ClockSuspect;
}
