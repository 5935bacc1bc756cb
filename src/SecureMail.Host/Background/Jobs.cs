using SecureMail.Gateway.Jobs;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Host.Services;

namespace SecureMail.Host.Background;

/// <summary>
/// The one class that Hangfire runs: a method for each kind of job, which takes one Guid. Rows in Hangfire's tables
/// name these methods, so a name never changes. Every method may be called twice, or on two nodes; the guard is ours
/// (<see cref="JobRunner"/>, and the row of <c>gateway.work</c>).
/// </summary>
/// <param name="stop">The node stops.</param>
internal sealed class Jobs(JobRunner runner, WorkerService worker, ServingNode node, CancellationToken stop)
{
    public Task Retention(Guid job) => RunAsync(JobKind.Retention, job);

    public Task StorageRotation(Guid job) => RunAsync(JobKind.StorageRotation, job);

    public Task LedgerVerification(Guid job) => RunAsync(JobKind.LedgerVerification, job);

    public Task LedgerExport(Guid job) => RunAsync(JobKind.LedgerExport, job);

    public Task BaseBackup(Guid job) => RunAsync(JobKind.BaseBackup, job);

    /// <summary>Releases one dispatch to be signed. The worker's look at the queue finds it too; whoever leases the row
    /// first signs.</summary>
    public Task SignDispatch(Guid dispatch) => worker.SignAsync(dispatch, stop);

    private Task RunAsync(string kind, Guid job) => runner.RunAsync(kind, job, node.Name, stop);
}
