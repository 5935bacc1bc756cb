using System.Globalization;
using Hangfire;
using Hangfire.Dashboard;
using Hangfire.PostgreSql;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using SecureMail.Gateway.Words;
using SecureMail.Host.Services;

namespace SecureMail.Host.Background;

/// <summary>
/// What the Unix socket answers: <c>/admin/jobs</c>, Hangfire's dashboard, for reading. Its buttons would leave no
/// entry in the ledger, so they are off. A port answers nothing of it until there are accounts.
/// </summary>
internal static class JobDashboard
{
    private const string Path = "/admin/jobs";

    // The pages of the dashboard load their scripts, styles and fonts as files of their own. The script that draws the
    // graphs sets styles by the object model, which a policy does not concern.
    private const string Policy =
        "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self' data:; "
        + "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

    /// <summary>Answers requests over the socket; others go on to the console.</summary>
    public static void UseLocalSocket(this WebApplication app)
    {
        var storage = app.Services.GetRequiredService<PostgreSqlStorage>();
        var options = new DashboardOptions
        {
            // The mode of the socket decided who may ask.
            Authorization = [],
            IsReadOnlyFunc = static _ => true,
            DisplayStorageConnectionString = false,
            AppPath = null,
            DashboardTitle = "SecureMail",
            StatsPollingInterval = 10_000,
        };
        app.MapWhen(
            static context => LocalSocket.IsUsedBy(context.Features),
            socket =>
            {
                socket.Use(
                    static (context, next) =>
                    {
                        var headers = context.Response.Headers;
                        headers.ContentSecurityPolicy = Policy;
                        headers.XContentTypeOptions = "nosniff";
                        headers["Referrer-Policy"] = "no-referrer";
                        // The dashboard has no Vietnamese words.
                        CultureInfo.CurrentUICulture = Catalogue.English;
                        return next(context);
                    });
                socket.Map(
                    Path,
                    dashboard =>
                        dashboard.UseMiddleware<AspNetCoreDashboardMiddleware>(
                            storage, options, DashboardRoutes.Routes));
                socket.Run(static context =>
                {
                    context.Response.StatusCode = StatusCodes.Status404NotFound;
                    return Task.CompletedTask;
                });
            });
    }
}
