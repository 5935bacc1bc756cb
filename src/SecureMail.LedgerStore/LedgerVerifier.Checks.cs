using Npgsql;
using SecureMail.Ledger;
using SecureMail.Storage;

namespace SecureMail.LedgerStore;

/// <summary>Reports one problem: its code, and what its sentences name.</summary>
internal delegate void ReportProblem(string code, params object[] arguments);

/// <summary>
/// Compares the computed subtrees with the stored ones, in the order in which a growing tree completes them. A wrong
/// leaf makes every subtree above it wrong. Only the lowest wrong subtree is reported, and neighbours are reported as
/// one range.
/// </summary>
internal sealed class NodeCheck(ReportProblem report)
{
    // Wrong subtrees whose parents were not compared yet. The parents are not reported again.
    private readonly HashSet<NodeId> _wrong = [];
    private NpgsqlDataReader? _stored;
    private bool _more;
    private bool _abandoned;
    private (long First, long Last)? _run;

    public async Task StartAsync(NpgsqlDataReader stored, CancellationToken cancellationToken) =>
        (_stored, _more) = (stored, await stored.ReadAsync(cancellationToken));

    public void Abandon()
    {
        Flush();
        _abandoned = true;
    }

    public async Task CheckAsync(NodeId id, byte[] hash, CancellationToken cancellationToken)
    {
        while (_more && Before(Stored(), id))
        {
            Extra(Stored());
            _more = await _stored!.ReadAsync(cancellationToken);
        }
        var present = _more && Stored() == id;
        var right = present && _stored!.GetFieldValue<byte[]>(2).AsSpan().SequenceEqual(hash);
        if (present)
        {
            _more = await _stored!.ReadAsync(cancellationToken);
        }

        var childWrong =
            _wrong.Remove(new NodeId(id.Level - 1, id.Index * 2))
            | _wrong.Remove(new NodeId(id.Level - 1, (id.Index * 2) + 1));
        if (right)
        {
            return;
        }

        _wrong.Add(id);
        if (!childWrong)
        {
            Add(id.Index << id.Level, ((id.Index + 1) << id.Level) - 1);
        }
    }

    public async Task FinishAsync(CancellationToken cancellationToken)
    {
        Flush();
        for (; _more; _more = await _stored!.ReadAsync(cancellationToken))
        {
            Extra(Stored());
        }
    }

    private void Add(long first, long last)
    {
        if (_run is { } run && run.Last + 1 == first)
        {
            _run = (run.First, last);
            return;
        }
        Flush();
        _run = (first, last);
    }

    private void Flush()
    {
        if (_run is { } run && !_abandoned)
        {
            var span = LedgerVerifier.Span(run.First, run.Last);
            report("order", span);
        }
        _run = null;
    }

    private void Extra(NodeId id)
    {
        if (!_abandoned)
        {
            report("node-extra", id.Level, id.Index);
        }
    }

    private NodeId Stored() => new(_stored!.GetInt16(0), _stored.GetInt64(1));

    private static bool Before(NodeId a, NodeId b)
    {
        var (endA, endB) = ((a.Index + 1) << a.Level, (b.Index + 1) << b.Level);
        return endA < endB || (endA == endB && a.Level < b.Level);
    }
}

/// <summary>Compares each stored checkpoint with the root computed at its size, and verifies its signature with the
/// log's key.</summary>
internal sealed class CheckpointCheck(VerifierKey log, ReportProblem report)
{
    private NpgsqlDataReader? _stored;
    private bool _more;
    private long _agreed;
    private bool _diverged;

    public long Count { get; private set; }

    public async Task StartAsync(NpgsqlDataReader stored, CancellationToken cancellationToken) =>
        (_stored, _more) = (stored, await stored.ReadAsync(cancellationToken));

    public void Abandon() => _more = false;

    public async Task CheckAsync(Frontier tree, CancellationToken cancellationToken)
    {
        if (!_more || _stored!.GetInt64(0) != tree.Size)
        {
            return;
        }

        Count++;
        Compare(tree.Size, tree.Root());
        _more = await _stored.ReadAsync(cancellationToken);
    }

    public async Task FinishAsync(long size, CancellationToken cancellationToken)
    {
        var last = _agreed;
        for (; _more; _more = await _stored!.ReadAsync(cancellationToken))
        {
            last = _stored!.GetInt64(0);
            report("tail-missing", last, size);
        }
        if (last < size && !_diverged)
        {
            report("uncovered", LedgerVerifier.Span(last, size - 1));
        }
    }

    private void Compare(long size, byte[] root)
    {
        Checkpoint? checkpoint = null;
        try
        {
            checkpoint = Checkpoint.Parse(_stored!.GetFieldValue<byte[]>(2));
        }
        catch (LedgerException)
        {
            // An unreadable checkpoint is reported below as one without a signature.
        }
        if (checkpoint is null || checkpoint.Origin != log.Name || !checkpoint.IsSignedBy(log))
        {
            report("checkpoint-signature", size);
        }
        else if (checkpoint.Size != size || !checkpoint.Root.Span.SequenceEqual(_stored!.GetFieldValue<byte[]>(1)))
        {
            report("checkpoint-columns", size);
        }
        var states = checkpoint?.Root.ToArray() ?? _stored!.GetFieldValue<byte[]>(1);
        if (states.AsSpan().SequenceEqual(root))
        {
            _agreed = size;
        }
        else if (!_diverged)
        {
            // All later roots differ as well, and are not reported again.
            _diverged = true;
            var span = LedgerVerifier.Span(_agreed, size - 1);
            report("checkpoint-root", span, size);
        }
    }
}

/// <summary>Compares the tree with checkpoints of this log that others hold. Only these show a ledger that was
/// rewritten and signed again.</summary>
internal sealed class SeenCheck
{
    private readonly VerifierKey _log;
    private readonly ReportProblem _report;
    private readonly List<Checkpoint> _sorted = [];
    private int _next;
    private long _agreed;
    private bool _abandoned;

    public SeenCheck(VerifierKey log, IReadOnlyList<Checkpoint> seen, ReportProblem report)
    {
        (_log, _report) = (log, report);
        foreach (var checkpoint in seen.OrderBy(c => c.Size))
        {
            if (checkpoint.Origin == _log.Name && checkpoint.Size > 0 && checkpoint.IsSignedBy(_log))
            {
                _sorted.Add(checkpoint);
                continue;
            }
            report("seen-signature", checkpoint.Size);
        }
    }

    public int Agreed { get; private set; }

    public void Abandon() => _abandoned = true;

    public void Check(Frontier tree)
    {
        for (; _next < _sorted.Count && _sorted[_next].Size == tree.Size; _next++)
        {
            if (_sorted[_next].Root.Span.SequenceEqual(tree.Root()))
            {
                Agreed++;
                _agreed = tree.Size;
                continue;
            }
            var span = LedgerVerifier.Span(_agreed, tree.Size - 1);
            _report("seen-fork", tree.Size, span);
        }
    }

    public void Finish(long size)
    {
        if (_abandoned)
        {
            return;
        }

        foreach (var checkpoint in _sorted.Skip(_next))
        {
            _report("seen-longer", checkpoint.Size, size);
        }
    }
}
