using SecureMail.Gateway.Directories;

namespace SecureMail.Gateway.Health;

/// <summary>Whether there is a directory, and whether the next one is late; asking also brings the known snapshot up to
/// date.</summary>
internal sealed class DirectoryCheck(DirectoryStore directories, TimeProvider time, DatabaseTurn turn)
    : DatabaseCheck(turn, time)
{
    private readonly TimeProvider _time = time;

    protected override async Task<IReadOnlyList<HealthIssue>> AskAsync(CancellationToken cancellationToken)
    {
        try
        {
            var directory = await directories.CurrentAsync(cancellationToken);
            return directory.Expires < _time.GetUtcNow() ? [HealthIssue.DirectoryExpired] : [];
        }
        catch (DirectoryException)
        {
            return [HealthIssue.NoDirectory];
        }
    }
}
