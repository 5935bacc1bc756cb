using System.Globalization;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Storage;
using SecureMail.Storage.Queue;

namespace SecureMail.Gateway.Health;

/// <summary>
/// How much waits. What waits to go out refuses submissions alone, what waits to be validated refuses mail alone: if
/// both were counted together, two gateways full of mail for each other would refuse each other for ever.
/// </summary>
internal sealed class QueueCheck(
    GatewayDatabase database, HealthOptions options, TimeProvider time, DatabaseTurn turn)
    : DatabaseCheck(turn, time, CommitSignal.OfReadyWork(database.Source))
{
    // Counting a deep queue costs: it may take up one part in fifty of the time, and is done each three seconds all the
    // same.
    private const int CountShare = 50,
        CountEvery = 3;

    private long _countAgainAt;
    private List<HealthIssue> _depth = [];

    protected override async Task<IReadOnlyList<HealthIssue>> AskAsync(CancellationToken cancellationToken)
    {
        if (Time.GetTimestamp() < _countAgainAt)
        {
            return _depth;
        }

        var began = Time.GetTimestamp();
        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        // The limit is a literal for the planner; beyond it how many more there are makes no difference.
        var (outgoing, incoming, isAnyDead) = await connection.FindAsync<(long, long, bool)>(
            string.Create(
                CultureInfo.InvariantCulture,
                $"""
                SELECT count(*) FILTER (WHERE kind IN ('{WorkKind.SignAndEncrypt}', '{WorkKind.Send}')),
                  count(*) FILTER (WHERE kind NOT IN ('{WorkKind.SignAndEncrypt}', '{WorkKind.Send}')),
                  EXISTS (SELECT FROM gateway.work WHERE state = '{WorkState.Dead}')
                FROM (
                  SELECT kind FROM gateway.work WHERE state <> '{WorkState.Dead}' AND period IS NULL
                  LIMIT {(2L * options.QueueDepth) + 1}) w
                """
            ),
            null, cancellationToken);
        _depth = [];
        if (outgoing >= options.QueueDepth)
        {
            _depth.Add(HealthIssue.QueueFull);
        }

        if (incoming >= options.QueueDepth)
        {
            _depth.Add(HealthIssue.IncomingQueueFull);
        }

        if (isAnyDead)
        {
            _depth.Add(HealthIssue.WorkGivenUp);
        }

        var took = Time.GetTimestamp() - began;
        _countAgainAt = began + Math.Min(took * CountShare, Time.TimestampFrequency * CountEvery);
        return _depth;
    }
}
