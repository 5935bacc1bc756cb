using System.Net;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Unicode;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Components;
using Microsoft.AspNetCore.Components.Web;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using SecureMail.Exchange;
using SecureMail.Gateway;
using SecureMail.Storage;
using SecureMail.Storage.Queue;
using SecureMail.Web.Pages;

namespace SecureMail.Web;

/// <summary>
/// The console: pages rendered on the server, for reading. They listen on loopback alone until sign-in comes, and
/// answer only to a host name that is the loopback's, so that a page of another site cannot read them through the
/// clerk's browser (DNS rebinding).
/// </summary>
public static class ConsoleApp
{
    private const int Listed = 200;
    private const int Noticed = 20;

    private static readonly JsonSerializerOptions Json = new(JsonSerializerDefaults.Web);

    // Vietnamese letters stand in the page as they are; what HTML gives a meaning to is still escaped.
    private static readonly HtmlEncoder Letters = HtmlEncoder.Create(UnicodeRanges.All);

    /// <summary>The web server of the console, not started: nothing of the process's configuration reaches it but what
    /// is given here.</summary>
    public static WebApplication Create(IPEndPoint listen, Action<ILoggingBuilder> logging)
    {
        var builder = WebApplication.CreateSlimBuilder();
        logging(builder.Logging);
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Listen(listen);
            // A page is asked for in one small request and read at once; who is slower at either holds up nobody else.
            kestrel.Limits.MaxConcurrentConnections = 200;
            kestrel.Limits.RequestHeadersTimeout = TimeSpan.FromSeconds(5);
            kestrel.Limits.KeepAliveTimeout = TimeSpan.FromSeconds(60);
            kestrel.Limits.MaxRequestBodySize = 64 * 1024;
            kestrel.Limits.MinRequestBodyDataRate = new MinDataRate(240, TimeSpan.FromSeconds(5));
            kestrel.Limits.MinResponseDataRate = new MinDataRate(1024, TimeSpan.FromSeconds(10));
        });
        builder.Services.AddRoutingCore();
        return builder.Build();
    }

    public static void Map(WebApplication app, GatewayNode node)
    {
        app.Use(
            async (context, next) =>
            {
                if (context.Request.Host.Host is not ("127.0.0.1" or "localhost" or "[::1]" or "::1"))
                {
                    context.Response.StatusCode = StatusCodes.Status421MisdirectedRequest;
                    return;
                }

                var headers = context.Response.Headers;
                headers.ContentSecurityPolicy =
                    "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";
                headers.XContentTypeOptions = "nosniff";
                headers["Referrer-Policy"] = "no-referrer";
                headers.CacheControl = "no-store";
                await next();
            });
        app.MapGet("/", () => Results.Redirect("/incoming"));
        app.MapGet("/health/live", () => Results.Text("live"));
        app.MapGet("/health/ready", async (CancellationToken cancellationToken) =>
        {
            var health = await node.HealthAsync(cancellationToken);
            return Results.Json(
                health, Json,
                statusCode: health.Ready ? StatusCodes.Status200OK : StatusCodes.Status503ServiceUnavailable);
        });
        app.MapGet("/outgoing", async (CancellationToken cancellationToken) =>
            await PageAsync<Outgoing>(
                node, (nameof(Outgoing.Dispatches), await node.Outgoing.ListAsync(Listed, cancellationToken)),
                (nameof(Outgoing.Notices), await node.Notices.ListAsync(null, Noticed, cancellationToken)),
                (nameof(Outgoing.Down), await node.Destinations.BackingOffAsync(cancellationToken))));
        app.MapGet("/outgoing/{id:guid}", async (Guid id, CancellationToken cancellationToken) =>
            await node.Outgoing.FindAsync(id, cancellationToken) is { } dispatch
                ? await PageAsync<OutgoingDetail>(
                    node, (nameof(OutgoingDetail.Dispatch), dispatch),
                    (nameof(OutgoingDetail.Entries), await node.Ledger.StoryAsync(id, cancellationToken)))
                : Results.NotFound());
        app.MapGet("/incoming", async (CancellationToken cancellationToken) =>
            await PageAsync<Incoming>(
                node, (nameof(Incoming.Messages), await node.Incoming.ListAsync(null, null, Listed, cancellationToken)))
        );
        app.MapGet("/incoming/{id:guid}", async (Guid id, CancellationToken cancellationToken) =>
            await node.Incoming.FindAsync(id, cancellationToken) is { } message
                ? await PageAsync<IncomingDetail>(
                    node,
                    (nameof(IncomingDetail.Message), message),
                    (nameof(IncomingDetail.Findings), await node.Incoming.FindingsAsync(id, cancellationToken)),
                    (
                        nameof(IncomingDetail.Entries),
                        await node.Ledger.StoryAsync(message.DispatchId ?? id, cancellationToken)))
                : Results.NotFound());
        app.MapGet(
            "/incoming/{id:guid}/documents/{n:int}",
            async (Guid id, int n, CancellationToken cancellationToken) =>
                await node.Incoming.FindAsync(id, cancellationToken) is { Manifest: { } manifest }
                && n >= 1
                && n <= manifest.Documents.Count
                    // Always as a download of unknown type: a document of another agency is never run in the console's
                    // origin.
                    ? await DocumentAsync(node, id, n, manifest.Documents[n - 1].Name, cancellationToken)
                    : Results.NotFound());
        app.MapGet("/ledger", async (CancellationToken cancellationToken) =>
            await PageAsync<LedgerHead>(
                node, (nameof(LedgerHead.Head), await node.Ledger.OverviewAsync(cancellationToken))));
    }

    private static async Task<IResult> DocumentAsync(
        GatewayNode node, Guid incoming, int n, string name, CancellationToken cancellationToken)
    {
        try
        {
            return Results.Stream(
                await node.Incoming.OpenDocumentAsync(incoming, n, cancellationToken), "application/octet-stream",
                name);
        }
        catch (ContentErasedException e)
        {
            return Results.Text(e.Message, "text/plain; charset=utf-8", statusCode: StatusCodes.Status410Gone);
        }
    }

    /// <summary>One page, rendered to its end before a byte leaves: a fault is a 500, never half a page.</summary>
    private static async Task<IResult> PageAsync<T>(GatewayNode node, params (string Name, object Value)[] parameters)
        where T : IComponent
    {
        // The renderer alone: the web services for components would bring forms, and keys for them that lie in
        // somebody's home.
        await using var services = new ServiceCollection().AddSingleton(Letters).BuildServiceProvider();
        await using var renderer = new HtmlRenderer(services, NullLoggerFactory.Instance);
        var values = parameters.Append(("Gateway", node.Name)).ToDictionary(p => p.Item1, p => (object?)p.Item2);
        var html = await renderer.Dispatcher.InvokeAsync(async () =>
            (await renderer.RenderComponentAsync<T>(ParameterView.FromDictionary(values))).ToHtmlString());
        return Results.Content(html, "text/html; charset=utf-8");
    }
}
