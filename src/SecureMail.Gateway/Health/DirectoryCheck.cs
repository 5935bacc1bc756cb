using SecureMail.Gateway.Directories;

namespace SecureMail.Gateway.Health;

/// <summary>Whether there is a directory; asking also brings the known snapshot up to date.</summary>
internal sealed class DirectoryCheck(DirectoryStore directories, TimeProvider time, DatabaseTurn turn)
    : DatabaseCheck(turn, time)
{
    protected override async Task<IReadOnlyList<HealthIssue>> AskAsync(CancellationToken cancellationToken)
    {
        try
        {
            await directories.CurrentAsync(cancellationToken);
            return [];
        }
        catch (DirectoryException)
        {
            return [HealthIssue.NoDirectory];
        }
    }
}
