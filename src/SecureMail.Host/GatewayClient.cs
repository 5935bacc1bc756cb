using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Net.Sockets;
using System.Text.Json;
using SecureMail.Exchange;
using SecureMail.Gateway.Outbound;
using SecureMail.Host.Errors;
using SecureMail.Host.Services;
using SecureMail.Web.Api;

namespace SecureMail.Host;

/// <summary>Asks the running gateway of a data folder over its Unix socket, by the API.</summary>
internal sealed class GatewayClient : IDisposable
{
    private readonly HttpClient _http;

    private GatewayClient(string socket) =>
        _http = new HttpClient(
            new SocketsHttpHandler
            {
                ConnectCallback = (_, stop) => LocalSocket.ConnectAsync(socket, stop),
                UseProxy = false,
                UseCookies = false,
                AllowAutoRedirect = false,
                ActivityHeadersPropagator = null,
            })
        {
            BaseAddress = new Uri("http://localhost"),
            // A large document takes its time, and the gateway bounds a submission by itself.
            Timeout = Timeout.InfiniteTimeSpan,
        };

    /// <summary>Null where no gateway listens for this data folder.</summary>
    public static async Task<GatewayClient?> FindAsync(string dataFolder, CancellationToken cancellationToken)
    {
        var path = LocalSocket.PathOf(dataFolder);
        if (!File.Exists(path))
        {
            return null;
        }

        try
        {
            // The socket of a process that was killed is there and refuses.
            await using var probe = await LocalSocket.ConnectAsync(path, cancellationToken);
        }
        // Without the right to it, the files beside it cannot be read either, and say so.
        catch (SocketException e) when (
            e.SocketErrorCode is SocketError.ConnectionRefused or SocketError.AddressNotAvailable
                or SocketError.AccessDenied)
        {
            return null;
        }

        return new GatewayClient(path);
    }

    public void Dispose() => _http.Dispose();

    /// <summary>Gives a dispatch to the gateway. When this returns, the dispatch is durable.</summary>
    /// <param name="submission">It has an id, so that it may be given again.</param>
    /// <exception cref="GatewayProblemException">The gateway said no.</exception>
    /// <exception cref="HttpRequestException">The connection was lost. Whether the dispatch was accepted is not
    /// known.</exception>
    public async Task<SubmissionAnswer> SubmitAsync(Submission submission, CancellationToken cancellationToken)
    {
        using var form = new MultipartFormDataContent
        {
            {
                JsonContent.Create(
                    new NewDispatch(
                        submission.Sender, submission.Recipients,
                        submission.Fields with { Number = submission.Number ?? "" }, submission.Notation),
                    options: DispatchApi.Json),
                DispatchApi.ManifestPart
            },
        };
        await foreach (var document in submission.Documents.WithCancellation(cancellationToken))
        {
            var content = new StreamContent(document.Open());
            content.Headers.ContentType = MediaTypeHeaderValue.Parse(document.MediaType);
            form.Add(content, "file", document.Name);
        }

        using var request = new HttpRequestMessage(HttpMethod.Post, DispatchApi.Path) { Content = form };
        request.Headers.Add(DispatchApi.IdempotencyKey, $"\"{submission.DispatchId:D}\"");
        using var response = await _http.SendAsync(request, cancellationToken);
        if (response.StatusCode == HttpStatusCode.Accepted)
        {
            return await response.Content.ReadFromJsonAsync<SubmissionAnswer>(FindingJson.Options, cancellationToken)
                ?? throw new JsonException();
        }

        throw new GatewayProblemException(response.StatusCode, await ProblemOfAsync(response, cancellationToken));
    }

    /// <summary>The server below the API answers some requests by itself, without a body.</summary>
    private static async Task<Problem> ProblemOfAsync(
        HttpResponseMessage response, CancellationToken cancellationToken) =>
        (response.Content.Headers.ContentType?.MediaType == Problem.MediaType
            ? await response.Content.ReadFromJsonAsync<Problem>(FindingJson.Options, cancellationToken)
            : null)
        ?? new Problem(
            response.ReasonPhrase ?? "", (int)response.StatusCode, "", $"HTTP {(int)response.StatusCode}");
}

/// <summary>The running gateway did not do what it was asked. Its words are for the person who asked.</summary>
internal sealed class GatewayProblemException(HttpStatusCode status, Problem problem) : Exception(problem.Detail)
{
    public HttpStatusCode Status => status;

    /// <summary>One of our codes.</summary>
    public string Code => problem.Code;
}
