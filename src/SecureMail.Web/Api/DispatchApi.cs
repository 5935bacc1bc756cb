using System.Collections.ObjectModel;
using System.Runtime.CompilerServices;
using System.Text.Json;
using System.Text.Json.Serialization;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Routing;
using Microsoft.AspNetCore.WebUtilities;
using Microsoft.Net.Http.Headers;
using SecureMail.Exchange;
using SecureMail.Gateway.Outbound;
using SecureMail.Gateway.Registers;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Ledger;

namespace SecureMail.Web.Api;

/// <summary>What a program says of a dispatch that it gives to the gateway: the part <c>manifest</c> of the
/// request.</summary>
/// <param name="Sender">The sending agency's code.</param>
/// <param name="Recipients">The addressees' codes.</param>
/// <param name="Fields">Its number is empty where the register is to draw one under
/// <paramref name="Notation"/>.</param>
/// <param name="Action">One of <see cref="DispatchAction"/>.</param>
/// <param name="RelatesTo">The dispatches that the action is about.</param>
/// <param name="DeliverAt">When a document of the urgency 4 must be with its addressees.</param>
/// <param name="Attention">By an addressee's code, its unit or person whom the dispatch is for.</param>
public sealed record NewDispatch(
    string Sender, IReadOnlyList<string> Recipients, DispatchFields Fields, string? Notation = null,
    string Action = DispatchAction.New, IReadOnlyList<RelatedDispatch>? RelatesTo = null,
    DateTimeOffset? DeliverAt = null, IReadOnlyDictionary<string, string>? Attention = null);

/// <summary>
/// <c>/api/v1/dispatches</c>. POST takes a dispatch as <c>multipart/form-data</c> (RFC 7578): first the part
/// <c>manifest</c>, a <see cref="NewDispatch"/> as JSON, then each document as a part with a file name. The octets of a
/// document go encrypted into the database while they come; there is no temporary file. <c>Idempotency-Key</c> is the
/// dispatch's id, a UUIDv7 that the caller chooses: the same id is accepted once, and a repetition gets the first
/// answer.
/// </summary>
public static class DispatchApi
{
    public const string Path = "/api/v1/dispatches";
    public const string IdempotencyKey = "Idempotency-Key";
    public const string ManifestPart = "manifest";

    /// <summary>What a request is written with and read by. A member that the gateway does not know is refused, because
    /// the caller meant something by it.</summary>
    public static readonly JsonSerializerOptions Json = new(WireJson.Options)
    {
        UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
    };

    // RFC 2046 §5.1.1: a boundary has at most 70 characters.
    private const int LongestBoundary = 70;

    // More than a manifest may name, so that one document too many is refused with the words for that.
    private const int MostParts = 512;

    /// <summary>Maps POST, and GET of one dispatch.</summary>
    /// <param name="submit">Accepts the dispatch. When it returns, the dispatch is durable.</param>
    /// <param name="largest">The longest request in bytes.</param>
    public static void MapDispatches(
        this IEndpointRouteBuilder endpoints,
        Func<Submission, CancellationToken, Task<SubmissionAnswer>> submit, long largest)
    {
        endpoints.MapPost(
            Path,
            async (HttpContext context, CancellationToken cancellationToken) =>
            {
                context.Features.Get<IHttpMaxRequestBodySizeFeature>()!.MaxRequestBodySize = largest;
                var answer = await submit(await ReadAsync(context.Request, cancellationToken), cancellationToken);
                context.Response.Headers.Location = $"{Path}/{answer.DispatchId}";
                return Results.Json(answer, FindingJson.Options, statusCode: StatusCodes.Status202Accepted);
            });
        endpoints.MapGet(
            Path + "/{id:guid}",
            async (Guid id, OutgoingRegister outgoing, CancellationToken cancellationToken) =>
                await outgoing.FindAsync(id, cancellationToken) is { } dispatch
                    ? Results.Json(StateOf(dispatch), FindingJson.Options)
                    : Results.NotFound());
    }

    /// <summary>What the request asks for. Its documents are read from the body when they are enumerated, one after the
    /// other.</summary>
    /// <exception cref="BadHttpRequestException">The request is not of the form above.</exception>
    internal static async Task<Submission> ReadAsync(HttpRequest request, CancellationToken cancellationToken)
    {
        if (
            !MediaTypeHeaderValue.TryParse(request.ContentType, out var type)
            || !type.MediaType.Equals("multipart/form-data", StringComparison.OrdinalIgnoreCase)
            || HeaderUtilities.RemoveQuotes(type.Boundary) is not { Length: > 0 and <= LongestBoundary } boundary)
        {
            throw new BadHttpRequestException(
                "A dispatch is multipart/form-data.", StatusCodes.Status415UnsupportedMediaType);
        }

        var reader = new MultipartReader(boundary.ToString(), request.Body);
        if (
            await NextAsync(reader, cancellationToken) is not { } first
            || first.GetContentDispositionHeader() is not { } disposition
            || HeaderUtilities.RemoveQuotes(disposition.Name) != ManifestPart)
        {
            throw new BadHttpRequestException("The first part is the manifest.");
        }

        var asked = await ManifestAsync(new FormPartStream(first.Body), cancellationToken);
        return new Submission
        {
            DispatchId = KeyOf(request),
            Sender = asked.Sender,
            Recipients = asked.Recipients,
            Number = asked.Fields.Number is { Length: > 0 } number ? number : null,
            Notation = asked.Notation,
            Fields = asked.Fields,
            Action = asked.Action,
            RelatesTo = asked.RelatesTo,
            DeliverAt = asked.DeliverAt,
            Attention = asked.Attention ?? ReadOnlyDictionary<string, string>.Empty,
            Documents = DocumentsAsync(reader, cancellationToken),
        };
    }

    private static Guid? KeyOf(HttpRequest request) =>
        request.Headers[IdempotencyKey] switch
        {
            [] => null,
            [{ } key] when Guid.TryParseExact(key.Trim('"'), "D", out var id) => id,
            _ => throw new SubmissionRefusedException(ReasonCode.IdInvalid),
        };

    private static async Task<NewDispatch> ManifestAsync(Stream part, CancellationToken cancellationToken)
    {
        using var bytes = new MemoryStream();
        var buffer = new byte[16 * 1024];
        while (await part.ReadAsync(buffer, cancellationToken) is > 0 and var read)
        {
            if (bytes.Length + read > Manifest.MaxBytes)
            {
                throw new BadHttpRequestException(
                    "The manifest is too long.", StatusCodes.Status413PayloadTooLarge);
            }

            bytes.Write(buffer, 0, read);
        }

        try
        {
            return JsonSerializer.Deserialize<NewDispatch>(bytes.GetBuffer().AsSpan(0, (int)bytes.Length), Json)
                ?? throw new JsonException();
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // The message of either can quote the text, so the answer leaves it out. The parser throws
            // InvalidOperationException at an escape that is half a surrogate pair.
            throw new BadHttpRequestException("The manifest cannot be read.", e);
        }
    }

    private static async IAsyncEnumerable<SubmittedDocument> DocumentsAsync(
        MultipartReader reader, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        for (var n = 1; await NextAsync(reader, cancellationToken) is { } part; n++)
        {
            if (n > MostParts)
            {
                throw new BadHttpRequestException("The request has too many parts.");
            }

            if (
                part.GetContentDispositionHeader() is not { } disposition
                || NameOf(disposition) is not { Length: > 0 } name)
            {
                throw new BadHttpRequestException("Each part after the manifest is a file with a name.");
            }

            yield return new SubmittedDocument(
                name, part.ContentType ?? "application/octet-stream", () => new FormPartStream(part.Body));
        }
    }

    /// <summary>RFC 6266 §4.3: the extended form goes before the plain one. Null where a parameter has no
    /// value.</summary>
    private static string? NameOf(ContentDispositionHeaderValue disposition) =>
        disposition.Parameters.Any(p => !p.Value.HasValue) ? null
        : disposition.FileNameStar is { Length: > 0 } extended
            ? extended.ToString()
            : HeaderUtilities.RemoveQuotes(disposition.FileName).ToString();

    private static async Task<MultipartSection?> NextAsync(MultipartReader reader, CancellationToken cancellationToken)
    {
        try
        {
            return await reader.ReadNextSectionAsync(cancellationToken);
        }
        catch (Exception e) when (FormPartStream.IsOfBody(e))
        {
            throw FormPartStream.Damaged(e);
        }
    }

    private static object StateOf(OutgoingDispatch dispatch) =>
        new
        {
            dispatchId = dispatch.Id,
            number = dispatch.Card.Number,
            state = dispatch.State,
            reason = dispatch.Reason,
            acceptedAt = dispatch.AcceptedAt,
            recipients = dispatch.Recipients.Select(r => new
            {
                code = r.Code,
                name = r.Name,
                state = r.State,
                reason = r.Reason,
                firstSentAt = r.FirstSentAt,
                closedAt = r.ClosedAt,
                overdueAt = r.OverdueAt,
                answer = r.Answer,
                arrivalNumber = r.ArrivalNumber,
            }),
        };
}
