using Microsoft.Extensions.Diagnostics.HealthChecks;
using SecureMail.Storage;

namespace SecureMail.Gateway.Health;

/// <summary>Whether there is room where the data folder and a private cluster lie.</summary>
internal sealed class DiskCheck(GatewayDatabase database, DatabaseOptions storage, HealthOptions options) : IHealthCheck
{
    public Task<HealthCheckResult> CheckHealthAsync(
        HealthCheckContext context, CancellationToken cancellationToken = default) =>
        Task.FromResult(
            HealthChecks.Result(
                Volume.Free(storage.DataFolder) < options.LeastFree
                || (database.Cluster is { } cluster && Volume.Free(cluster.DataDirectory) < options.LeastFree)
                    ? [HealthIssue.DiskLow]
                    : []));
}

/// <summary>Whether there is room where temporary files are made.</summary>
internal sealed class TemporaryFolderCheck(HealthOptions options) : IHealthCheck
{
    public Task<HealthCheckResult> CheckHealthAsync(
        HealthCheckContext context, CancellationToken cancellationToken = default) =>
        Task.FromResult(
            HealthChecks.Result(
                Volume.Free(Path.GetTempPath()) < options.LeastFreeTemporary ? [HealthIssue.TemporaryLow] : []));
}

internal static class Volume
{
    /// <summary>Bytes that are free where a folder lies.</summary>
    public static long Free(string folder)
    {
        try
        {
            return new DriveInfo(folder).AvailableFreeSpace;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // A folder that is not there holds nothing: the worst is assumed.
            return 0;
        }
    }
}
