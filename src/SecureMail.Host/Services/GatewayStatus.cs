using Microsoft.Extensions.Hosting;
using SecureMail.Gateway.Health;
using SecureMail.Web;

namespace SecureMail.Host.Services;

/// <summary>Whether the node can take new work now. The answer comes in bounded time, whatever hangs.</summary>
internal sealed class GatewayStatus(Admission admission, IHostApplicationLifetime lifetime)
{
    public async Task<GatewayHealth> AskAsync(CancellationToken cancellationToken)
    {
        var issues = await admission.IssuesAsync(cancellationToken);
        List<string> problems = [.. issues.Select(i => i.Name)];
        var isReady = issues.All(i => i.IsOnlyShown);
        if (
            !lifetime.ApplicationStarted.IsCancellationRequested || lifetime.ApplicationStopping.IsCancellationRequested
        )
        {
            problems.Insert(0, "not-started");
            isReady = false;
        }

        return new GatewayHealth(isReady, problems);
    }
}
