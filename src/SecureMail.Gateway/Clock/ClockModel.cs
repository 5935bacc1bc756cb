using SecureMail.Gateway.Registers;
using SecureMail.Gateway.Vocabulary;

namespace SecureMail.Gateway.Clock;

/// <summary>What the process' clock showed, and what the monotonic counter showed at the same moment.</summary>
/// <param name="Elapsed">Of the counter, since some fixed moment.</param>
internal readonly record struct ClockReading(TimeSpan Elapsed, DateTimeOffset Shown);

/// <summary>An anomaly that begins.</summary>
/// <param name="Kind">One of <see cref="ClockAnomalyKind"/>.</param>
internal readonly record struct ClockAnomaly(string Kind, TimeSpan By);

/// <summary>
/// What is believed of the process' clock and of the database's clock. The model reads no clock and no database: it is
/// given readings and answers questions. Not for several threads.
/// </summary>
/// <remarks>
/// Each clock is compared with the monotonic counter, which nobody sets, and the two with each other:
/// <list type="number">
/// <item>the process' clock against the counter: it <em>stepped</em>;</item>
/// <item>the database's clock against the counter: it stepped;</item>
/// <item>one against the other: they are <em>apart</em>.</item>
/// </list>
/// A clock that steps into agreement with one that stood firm was corrected, and is believed at once. Clocks that step
/// together (one machine) are believed after <paramref name="settles"/>, because nobody else can say which time was
/// right.
/// </remarks>
/// <param name="settles">How long a step of both clocks together is doubted.</param>
internal sealed class ClockModel(TimeSpan settles, ClockReading first)
{
    /// <summary>NTP slews a clock by at most 0.5 ms a second. A larger difference between two readings is a
    /// step.</summary>
    public static readonly TimeSpan Step = TimeSpan.FromSeconds(10);

    /// <summary>From here on clocks that are apart are an anomaly. Machines that keep time are milliseconds
    /// apart.</summary>
    public static readonly TimeSpan Noted = TimeSpan.FromMinutes(1);

    /// <summary>From here on the process' clock is doubted. Peers tolerate five minutes, so what is signed within three
    /// is good everywhere.</summary>
    public static readonly TimeSpan Bearable = TimeSpan.FromMinutes(3);

    private ClockReading _own = first;
    private ClockReading? _database;
    private TimeSpan _databaseLeapt;
    private TimeSpan _apart;

    // What the clocks were moved by and is not believed yet; and when something moved last.
    private TimeSpan _moved;
    private TimeSpan _databaseMoved;
    private TimeSpan? _movedAt;

    // What our own clock showed when it had stepped last. A time before it may have been read off a wrong clock.
    private DateTimeOffset? _ownSince;

    // The steps of our own clock that are not written down yet, and what is written down.
    private TimeSpan _unwritten;
    private bool _isBegun;
    private bool _mayBeOpen = true;

    /// <summary>Whether the two clocks are too far apart to be let pass.</summary>
    public bool IsApart => _apart.Duration() >= Noted;

    /// <summary>Takes a reading of the process' clock.</summary>
    public void Read(ClockReading reading)
    {
        var step = reading.Shown - (_own.Shown + (reading.Elapsed - _own.Elapsed));
        _own = reading;
        if (step.Duration() >= Step)
        {
            _ownSince = reading.Shown;
            Move(step);
        }
    }

    /// <summary>Notes that the process' clock was set back while no process ran, because the ledger has later
    /// entries.</summary>
    public void FoundBehindLedger(TimeSpan by) => Move(-by);

    /// <summary>What the database's clock must show by the counter; null before it was read first.</summary>
    public DateTimeOffset? ExpectedOfDatabase(TimeSpan elapsed) =>
        _database is { } last ? last.Shown + (elapsed - last.Elapsed) : null;

    /// <summary>A time that never steps and that all nodes share: the database's without everything that it was ever
    /// moved by. Null before the database was read first.</summary>
    public DateTimeOffset? SteadyTime(TimeSpan elapsed) => ExpectedOfDatabase(elapsed) - _databaseLeapt;

    /// <summary>By how much the database's clock stepped since it was read last; zero where it did not.</summary>
    public TimeSpan StepOfDatabase(ClockReading database) =>
        database.Shown - ExpectedOfDatabase(database.Elapsed) is { } step && step.Duration() >= Step
            ? step
            : TimeSpan.Zero;

    /// <summary>Takes a reading of the database's clock and then one of the process' clock.</summary>
    /// <param name="leapt">By how much the database's clock was moved since the beginning.</param>
    /// <param name="step">What <see cref="StepOfDatabase"/> answered for the reading.</param>
    public void ReadDatabase(ClockReading database, TimeSpan leapt, TimeSpan step, ClockReading own)
    {
        (_database, _databaseLeapt) = (database, leapt);
        Read(own);
        _apart = ExpectedOfDatabase(own.Elapsed)!.Value - own.Shown;
        if (step != TimeSpan.Zero)
        {
            _databaseMoved += step;
            _movedAt = own.Elapsed;
        }

        // The clock that stood firm is the witness for the one that came to it. Where both moved and were not believed
        // yet, neither is a witness.
        var isCorrected = _moved.Duration() < Step || _databaseMoved.Duration() < Step;
        if (!IsApart && (isCorrected || SinceMoved >= settles))
        {
            _moved = _databaseMoved = TimeSpan.Zero;
        }
    }

    /// <summary>Whether what the process' clock shows may be wrong by more than peers tolerate.</summary>
    public bool IsDoubted =>
        _apart.Duration() >= Bearable || (_moved.Duration() >= Step && SinceMoved < settles);

    /// <summary>Whether the doubt makes the difference of a year in Vietnam's calendar.</summary>
    public bool IsYearDoubted(DateTimeOffset now) =>
        IsDoubted
        && (
            Register.YearOf(now) != Register.YearOf(now - _moved)
            || Register.YearOf(now) != Register.YearOf(now + _apart));

    /// <summary>Whether a time was read off the process' clock while it ran as it does now.</summary>
    public bool RanAsNowAt(DateTimeOffset then) => !IsDoubted && then <= _own.Shown && !(then < _ownSince);

    /// <summary>The anomaly of this node that begins now; null where none does, or where one is open.</summary>
    public ClockAnomaly? BeginningAnomaly =>
        _isBegun ? null
        : _unwritten.Duration() >= Step ? new ClockAnomaly(ClockAnomalyKind.Stepped, _unwritten)
        // A database whose clock was set is apart from every node. That is one anomaly, not one for each node.
        : (_apart - _databaseMoved).Duration() >= Noted ? new ClockAnomaly(ClockAnomalyKind.Apart, _apart)
        : null;

    /// <summary>Whether the anomalies of this node and of the database are over, and may be open in the
    /// ledger.</summary>
    public bool AreAnomaliesOver()
    {
        _mayBeOpen |= _isBegun || _databaseMoved != TimeSpan.Zero;
        // A moment of quiet is asked for, so that a clock that flaps is one anomaly.
        var quiet = settles < Step ? settles : Step;
        return _mayBeOpen && !IsDoubted && !IsApart && _databaseMoved == TimeSpan.Zero && SinceMoved >= quiet;
    }

    /// <summary>The steps of the process' clock that are not written down yet.</summary>
    public TimeSpan Unwritten => _unwritten;

    /// <summary>Notes that the beginning stands in the ledger.</summary>
    public void HasBegun() => _isBegun = true;

    /// <summary>Notes that the end stands in the ledger.</summary>
    public void HasEnded() => _mayBeOpen = _isBegun = false;

    /// <summary>Notes that steps of the process' clock were looked at.</summary>
    public void HasWritten(TimeSpan steps) => _unwritten -= steps;

    private TimeSpan SinceMoved => _movedAt is { } at ? _own.Elapsed - at : TimeSpan.MaxValue;

    private void Move(TimeSpan step)
    {
        _moved += step;
        _unwritten += step;
        _movedAt = _own.Elapsed;
    }
}
