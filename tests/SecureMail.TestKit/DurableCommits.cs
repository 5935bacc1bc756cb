using SecureMail.Storage;

namespace SecureMail.TestKit;

/// <summary>The commits of the product.</summary>
internal static class DurableCommits
{
    /// <summary>The name of each; null where it is not written at the call.</summary>
    public static IReadOnlyList<string?> Names() =>
    [
        .. ProductCalls
            .Of(nameof(DurableCommit.CommitAsync), nameof(DurableCommit.InTransactionAsync))
            .Where(c => c.Type == nameof(DurableCommit) && c.In != nameof(DurableCommit))
            .Select(c => c.Text),
    ];
}
