using System.Net;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.DataProtection;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using SecureMail.Gateway;

namespace SecureMail.Host.Pages;

/// <summary>
/// The console: pages rendered on the server, for reading. They listen on loopback alone until sign-in comes, and answer only to a host name that
/// is the loopback's, so that a page of another site cannot read them through the clerk's browser (DNS rebinding).
/// </summary>
internal static class ConsoleApp
{
    private const int Listed = 200;

    /// <summary>The web server of the console, not started: nothing of the process's configuration reaches it but what is given here.</summary>
    public static WebApplication Create(IPEndPoint listen, Action<ILoggingBuilder> logging)
    {
        var builder = WebApplication.CreateSlimBuilder();
        logging(builder.Logging);
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Listen(listen);
        });
        builder.Services.AddRazorComponents();
        // Pages have no forms yet; the keys that would protect them are not to be left in somebody's home.
        builder.Services.AddDataProtection().UseEphemeralDataProtectionProvider();
        builder.Services.AddRoutingCore();
        return builder.Build();
    }

    public static void Map(WebApplication app, GatewayNode node)
    {
        app.Use(async (context, next) =>
        {
            if (context.Request.Host.Host is not ("127.0.0.1" or "localhost" or "[::1]" or "::1"))
            {
                context.Response.StatusCode = StatusCodes.Status421MisdirectedRequest;
                return;
            }

            var headers = context.Response.Headers;
            headers.ContentSecurityPolicy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";
            headers.XContentTypeOptions = "nosniff";
            headers["Referrer-Policy"] = "no-referrer";
            headers.CacheControl = "no-store";
            await next();
        });
        app.MapGet("/", () => Results.Redirect("/incoming"));
        app.MapGet("/health/live", () => Results.Text("live"));
        app.MapGet("/health/ready", async (CancellationToken cancel) =>
        {
            var health = await node.HealthAsync(cancel);
            return Results.Json(health, CommandLine.Json, statusCode: health.Ready ? StatusCodes.Status200OK : StatusCodes.Status503ServiceUnavailable);
        });
        app.MapGet("/outgoing", async (CancellationToken cancel) => Page<Outgoing>(node, (nameof(Outgoing.Dispatches), await node.Outgoing.ListAsync(Listed, cancel))));
        app.MapGet("/outgoing/{id:guid}", async (Guid id, CancellationToken cancel) =>
            await node.Outgoing.FindAsync(id, cancel) is { } dispatch
                ? Page<OutgoingDetail>(node, (nameof(OutgoingDetail.Dispatch), dispatch), (nameof(OutgoingDetail.Entries), await node.Ledger.StoryAsync(id, cancel)))
                : Results.NotFound());
        app.MapGet("/incoming", async (CancellationToken cancel) => Page<Incoming>(node, (nameof(Incoming.Messages), await node.Incoming.ListAsync(null, null, Listed, cancel))));
        app.MapGet("/incoming/{id:guid}", async (Guid id, CancellationToken cancel) =>
            await node.Incoming.FindAsync(id, cancel) is { } message
                ? Page<IncomingDetail>(node, (nameof(IncomingDetail.Message), message), (nameof(IncomingDetail.Findings), await node.Incoming.FindingsAsync(id, cancel)),
                    (nameof(IncomingDetail.Entries), await node.Ledger.StoryAsync(message.DispatchId ?? id, cancel)))
                : Results.NotFound());
        app.MapGet("/incoming/{id:guid}/documents/{n:int}", async (Guid id, int n, CancellationToken cancel) =>
            await node.Incoming.FindAsync(id, cancel) is { Manifest: { } manifest } && n >= 1 && n <= manifest.Documents.Count
                // Always as a download of unknown type: a document of another agency is never run in the console's origin.
                ? Results.Stream(await node.Incoming.OpenDocumentAsync(id, n, cancel), "application/octet-stream", manifest.Documents[n - 1].Name)
                : Results.NotFound());
        app.MapGet("/ledger", async (CancellationToken cancel) => Page<LedgerHead>(node, (nameof(LedgerHead.Head), await node.Ledger.OverviewAsync(cancel))));
    }

    private static IResult Page<T>(GatewayNode node, params (string Name, object Value)[] parameters)
        where T : Microsoft.AspNetCore.Components.IComponent
    {
        var all = parameters.ToDictionary(p => p.Name, p => (object?)p.Value);
        all["Gateway"] = node.Name;
        return new RazorComponentResult<T>(all);
    }
}
