using System.Globalization;
using Hangfire;
using Hangfire.Dashboard;
using Hangfire.PostgreSql;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using SecureMail.Gateway.Words;

namespace SecureMail.Host.Background;

/// <summary><c>/admin/jobs</c>: Hangfire's dashboard, for reading. Its buttons would leave no entry in the ledger, so
/// they are off.</summary>
internal static class JobDashboard
{
    private const string Path = "/admin/jobs";

    // The pages of the dashboard load their scripts, styles and fonts as files of their own. The script that draws the
    // graphs sets styles by the object model, which a policy does not concern.
    private const string Policy =
        "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self' data:; "
        + "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

    /// <summary>Answers the requests of the dashboard; others go on.</summary>
    public static void UseJobDashboard(this IApplicationBuilder app, IServiceProvider services)
    {
        var storage = services.GetRequiredService<PostgreSqlStorage>();
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
        app.Use(
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
        app.Map(
            Path,
            dashboard =>
                dashboard.UseMiddleware<AspNetCoreDashboardMiddleware>(storage, options, DashboardRoutes.Routes));
    }
}
