using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using SecureMail.Host.Background;

namespace SecureMail.Host.Services;

/// <summary>What the Unix socket answers beside the API: the dashboard of jobs.</summary>
internal static class LocalRequests
{
    /// <summary>Answers requests over the socket. Those of the API, and all over a port, go on.</summary>
    public static void UseLocalSocket(this WebApplication app) =>
        app.MapWhen(
            static context =>
                LocalSocket.IsUsedBy(context.Features)
                && !context.Request.Path.StartsWithSegments("/api", StringComparison.OrdinalIgnoreCase),
            socket =>
            {
                socket.UseJobDashboard(app.Services);
                socket.Run(static context =>
                {
                    context.Response.StatusCode = StatusCodes.Status404NotFound;
                    return Task.CompletedTask;
                });
            });
}
