using System.Net;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Unicode;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Components;
using Microsoft.AspNetCore.DataProtection.KeyManagement;
using Microsoft.AspNetCore.DataProtection.XmlEncryption;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Routing;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using SecureMail.Exchange;
using SecureMail.Gateway.Registers;
using SecureMail.Storage;
using SecureMail.Storage.Queue;
using SecureMail.Web.Pages;

namespace SecureMail.Web;

/// <summary>
/// The console: pages rendered on the server, for reading. They listen on loopback alone until sign-in comes, and
/// answer only to a host name that is the loopback's, so that a page of another site cannot read them through the
/// clerk's browser (DNS rebinding).
/// </summary>
public static class ConsoleServices
{
    private const int Listed = 200;
    private const int Noticed = 20;

    private static readonly JsonSerializerOptions Json = new(JsonSerializerDefaults.Web);

    // Vietnamese letters stand in the page as they are; what HTML gives a meaning to is still escaped.
    private static readonly HtmlEncoder Letters = HtmlEncoder.Create(UnicodeRanges.All);

    /// <summary>Adds the pages and where they listen.</summary>
    public static void AddConsole(this WebApplicationBuilder builder, IPEndPoint listen)
    {
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Listen(listen);
            // A page is asked for in one small request and read at once. A slower client must hold up nobody else.
            kestrel.Limits.MaxConcurrentConnections = 200;
            kestrel.Limits.RequestHeadersTimeout = TimeSpan.FromSeconds(5);
            kestrel.Limits.KeepAliveTimeout = TimeSpan.FromSeconds(60);
            kestrel.Limits.MaxRequestBodySize = 64 * 1024;
            kestrel.Limits.MinRequestBodyDataRate = new MinDataRate(240, TimeSpan.FromSeconds(5));
            kestrel.Limits.MinResponseDataRate = new MinDataRate(1024, TimeSpan.FromSeconds(10));
        });
        builder.Services.AddRoutingCore();
        builder.Services.AddRazorComponents();
        builder.Services.Configure<KeyManagementOptions>(o =>
        {
            o.XmlRepository = new KeysInMemory();
            o.XmlEncryptor = new NullXmlEncryptor();
        });
        builder.Services.AddSingleton(Letters);
    }

    /// <summary>Maps the pages and the health checks.</summary>
    /// <param name="status">Whether the gateway can take new work; answers in bounded time.</param>
    public static void MapConsole(this WebApplication app, Func<CancellationToken, Task<GatewayHealth>> status)
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
                    "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; "
                    + "form-action 'self'";
                headers.XContentTypeOptions = "nosniff";
                headers["Referrer-Policy"] = "no-referrer";
                headers.CacheControl = "no-store";
                await next();
            });
        app.MapGet("/", () => Results.Redirect("/incoming"));
        app.MapGet("/health/live", () => Results.Text("live"));
        app.MapGet("/health/ready", async (CancellationToken cancellationToken) =>
        {
            var health = await status(cancellationToken);
            return Results.Json(
                health, Json,
                statusCode: health.Ready ? StatusCodes.Status200OK : StatusCodes.Status503ServiceUnavailable);
        });
        app.MapGet(
            "/outgoing",
            async (
                OutgoingRegister outgoing, NoticeRegister notices, DestinationQueues destinations,
                CancellationToken cancellationToken) =>
                Page<Outgoing>(
                    (nameof(Outgoing.Dispatches), await outgoing.ListAsync(Listed, cancellationToken)),
                    (nameof(Outgoing.Notices), await notices.ListAsync(null, Noticed, cancellationToken)),
                    (nameof(Outgoing.Down), await destinations.BackingOffAsync(cancellationToken))));
        app.MapGet(
            "/outgoing/{id:guid}",
            async (
                Guid id, OutgoingRegister outgoing, LedgerRegister ledger,
                CancellationToken cancellationToken) =>
                await outgoing.FindAsync(id, cancellationToken) is { } dispatch
                    ? Page<OutgoingDetail>(
                        (nameof(OutgoingDetail.Dispatch), dispatch),
                        (nameof(OutgoingDetail.Entries), await ledger.AuditTrailAsync(id, cancellationToken)))
                    : Results.NotFound());
        app.MapGet(
            "/incoming",
            async (IncomingRegister incoming, CancellationToken cancellationToken) =>
                Page<Incoming>(
                    (nameof(Incoming.Messages), await incoming.ListAsync(null, null, Listed, cancellationToken))));
        app.MapGet(
            "/incoming/{id:guid}",
            async (
                Guid id, IncomingRegister incoming, LedgerRegister ledger,
                CancellationToken cancellationToken) =>
                await incoming.FindAsync(id, cancellationToken) is { } message
                    ? Page<IncomingDetail>(
                        (nameof(IncomingDetail.Message), message),
                        (nameof(IncomingDetail.Findings), await incoming.FindingsAsync(id, cancellationToken)),
                        (
                            nameof(IncomingDetail.Entries),
                            await ledger.AuditTrailAsync(message.DispatchId ?? id, cancellationToken)))
                    : Results.NotFound());
        app.MapGet(
            "/incoming/{id:guid}/documents/{n:int}",
            async (Guid id, int n, IncomingRegister incoming, CancellationToken cancellationToken) =>
                await incoming.FindAsync(id, cancellationToken) is { Manifest: { } manifest }
                && n >= 1
                && n <= manifest.Documents.Count
                    // Always as a download of unknown type: a document of another agency must never run in the
                    // console's origin.
                    ? await DocumentAsync(incoming, id, n, manifest.Documents[n - 1].Name, cancellationToken)
                    : Results.NotFound());
        app.MapGet("/ledger", async (LedgerRegister ledger, CancellationToken cancellationToken) =>
            Page<LedgerHead>(
                (nameof(LedgerHead.Head), await ledger.OverviewAsync(cancellationToken))));
    }

    private static async Task<IResult> DocumentAsync(
        IncomingRegister register, Guid incoming, int n, string name, CancellationToken cancellationToken)
    {
        try
        {
            return Results.Stream(
                await register.OpenDocumentAsync(incoming, n, cancellationToken), "application/octet-stream", name);
        }
        catch (ContentErasedException)
        {
            return Results.Text(
                Wording.ContentErased, "text/plain; charset=utf-8", statusCode: StatusCodes.Status410Gone);
        }
    }

    /// <summary>One page, rendered to its end before a byte leaves: a fault is a 500, never half a page.</summary>
    private static RazorComponentResult<T> Page<T>(params (string Name, object? Value)[] parameters)
        where T : IComponent =>
        new(parameters.ToDictionary(p => p.Name, p => p.Value)) { PreventStreamingRendering = true };
}
