using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.WebUtilities;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Npgsql;
using SecureMail.Exchange;
using SecureMail.Gateway.Health;
using SecureMail.Gateway.Outbound;
using SecureMail.Gateway.Words;
using SecureMail.Host.Services;
using SecureMail.Storage;

namespace SecureMail.Host.Errors;

/// <summary>
/// What the API answers when a request went wrong: problem+json (RFC 9457) with one of our codes and the words of
/// <see cref="ErrorWords"/>. It is to the API what <see cref="CommandLine"/> is to the commands.
/// </summary>
internal static class ProblemResponses
{
    private const string Prefix = "/api";

    /// <summary>Answers for all that follows under <c>/api</c>. Until there are accounts the mode of the socket decides
    /// who may ask, so a port answers 401.</summary>
    public static void UseProblemResponses(this WebApplication app)
    {
        var logger = app.Services.GetRequiredService<ILoggerFactory>().CreateLogger("SecureMail.Api");
        app.UseWhen(
            static context => context.Request.Path.StartsWithSegments(Prefix, StringComparison.OrdinalIgnoreCase),
            api => api.Use(async (context, next) =>
            {
                if (!LocalSocket.IsUsedBy(context.Features))
                {
                    await WriteAsync(context, StatusCodes.Status401Unauthorized, "SIGN_IN_REQUIRED", ErrorWords.SignIn);
                    return;
                }

                try
                {
                    await next(context);
                    if (context.Response is { HasStarted: false, StatusCode: >= 400, ContentType: null } answer)
                    {
                        await WriteAsync(context, answer.StatusCode);
                    }
                }
                catch (Exception e) when (
                    !context.RequestAborted.IsCancellationRequested && !context.Response.HasStarted)
                {
                    var status = StatusOf(e);
                    var isOurs = status == StatusCodes.Status500InternalServerError;
                    if (isOurs)
                    {
                        HostLog.RequestFailed(logger, e, context.Request.Path);
                    }

                    await DrainAsync(context.Request);
                    await WriteAsync(
                        context, status, CodeOf(e), isOurs ? ErrorWords.OfSoftware(e) : ErrorWords.Of(e));
                }
            }));
    }

    private static int StatusOf(Exception e) =>
        e switch
        {
            SubmissionRefusedException => StatusCodes.Status422UnprocessableEntity,
            StorageUnavailableException or NpgsqlException => StatusCodes.Status503ServiceUnavailable,
            BadHttpRequestException b => b.StatusCode,
            _ => StatusCodes.Status500InternalServerError,
        };

    private static string CodeOf(Exception e) =>
        e switch
        {
            ReasonedException r => r.Code,
            NotTakenNowException n => n.Issue.Name,
            StorageUnavailableException s => s.Fault.ToString(),
            BadHttpRequestException => "REQUEST_INVALID",
            _ => "SOFTWARE",
        };

    /// <summary>A client writes its body to the end before it reads an answer. Kestrel holds the rest to its limits of
    /// size and rate.</summary>
    private static async Task DrainAsync(HttpRequest request)
    {
        try
        {
            await request.Body.CopyToAsync(Stream.Null, request.HttpContext.RequestAborted);
        }
        catch (Exception e) when (e is IOException or OperationCanceledException)
        {
            // The answer is written to a client that may not read it.
        }
    }

    /// <summary>An answer that the platform gives by its status alone: no such thing, no such method.</summary>
    private static Task WriteAsync(HttpContext context, int status) =>
        status == StatusCodes.Status404NotFound
            ? WriteAsync(context, status, "NOT_FOUND", ErrorWords.NotFound)
            : WriteAsync(
                context, status, "REQUEST_INVALID",
                ErrorWords.Of(new BadHttpRequestException(ReasonPhrases.GetReasonPhrase(status), status)));

    private static Task WriteAsync(HttpContext context, int status, string code, string detail)
    {
        context.Response.StatusCode = status;
        return context.Response.WriteAsJsonAsync(
            new Problem(ReasonPhrases.GetReasonPhrase(status), status, code, detail),
            FindingJson.Options, Problem.MediaType, context.RequestAborted);
    }
}

/// <summary>One answer of problem+json (RFC 9457 §3.1). The type is about:blank, so it is left out.</summary>
/// <param name="Code">What went wrong, for programs.</param>
/// <param name="Detail">The same for people: Vietnamese, then English.</param>
internal sealed record Problem(string Title, int Status, string Code, string Detail)
{
    public const string MediaType = "application/problem+json";
}
