using SecureMail.Host.Services;

namespace SecureMail.TestKit;

/// <summary>HTTP to a serving gateway.</summary>
internal static class LocalHttp
{
    /// <summary>A client over the gateway's Unix socket.</summary>
    public static HttpClient Over(string path) =>
        new(
            new SocketsHttpHandler { ConnectCallback = (_, stop) => LocalSocket.ConnectAsync(path, stop) })
        {
            BaseAddress = new Uri("http://localhost"),
        };

    /// <summary>Waits until <c>/health/ready</c> answers 200.</summary>
    public static Task ReadyAsync(HttpClient client) =>
        TwoGateways.EventuallyAsync(
            async () =>
            {
                try
                {
                    using var answer = await client.GetAsync(new Uri("/health/ready", UriKind.Relative));
                    return answer.IsSuccessStatusCode ? "" : null;
                }
                catch (HttpRequestException)
                {
                    return null;
                }
            },
            "the gateway to be ready");
}
