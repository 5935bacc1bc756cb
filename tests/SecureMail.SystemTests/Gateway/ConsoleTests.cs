using System.Net;
using System.Text;
using System.Text.RegularExpressions;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.DataProtection.KeyManagement;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using SecureMail.Exchange;
using SecureMail.Gateway.Outbound;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Web;

namespace SecureMail.SystemTests.Gateway;

/// <summary>The console's pages over HTTP, with what was really exchanged, some of it meant to hurt a
/// browser.</summary>
public sealed partial class ConsoleTests(ConsoleTests.Exchange exchange) : IClassFixture<ConsoleTests.Exchange>
{
    private const string Hostile = "<script>alert(1)</script> \"'&";

    /// <summary>One dispatch from A to B with hostile words in it, one mail that nobody signed, and both
    /// consoles.</summary>
    public sealed class Exchange : IAsyncLifetime
    {
        private readonly PostgresFixture _postgres = new();
        private readonly List<WebApplication> _apps = [];

        public TwoGateways Pair { get; private set; } = null!;

        public HttpClient A { get; private set; } = null!;

        public HttpClient B { get; private set; } = null!;

        public Guid Dispatch { get; private set; }

        public async Task InitializeAsync()
        {
            await _postgres.InitializeAsync();
            Pair = await TwoGateways.StartAsync(_postgres);
            await Pair.ListeningAsync();
            (A, B) = (await ServeAsync(Pair.A), await ServeAsync(Pair.B));
            var submission = TwoGateways.Submission(TwoGateways.AnHoa) with
            {
                Fields = new DispatchFields
                {
                    Number = "",
                    Subject = $"V/v {Hostile}",
                    SignerInfo = new Signatory("Chánh Văn phòng", "<b>Nguyễn</b>"),
                },
                Documents = TwoGateways.Documents(
                    new SubmittedDocument("<img src=x onerror=alert(1)> số 1.html", "text/html", () =>
                        new MemoryStream("<script>alert(2)</script>"u8.ToArray()))),
            };
            Dispatch = (await Pair.A.Node.SubmitAsync(submission, CancellationToken.None)).DispatchId;
            await Pair.A.OutgoingAsync(Dispatch, d => d.Recipients.All(r => r.State == "acknowledged"));
            await SharedPair.DeliverAsync(
                Pair,
                Encoding.UTF8.GetBytes("From: <script>@b.test\r\nSubject: <script>alert(3)</script>\r\n\r\nBody\r\n"));
        }

        public async Task DisposeAsync()
        {
            A.Dispose();
            B.Dispose();
            foreach (var app in _apps)
            {
                await app.DisposeAsync();
            }

            await Pair.DisposeAsync();
            await _postgres.DisposeAsync();
        }

        private async Task<HttpClient> ServeAsync(RunningGateway gateway)
        {
            var node = gateway.Node;
            var builder = WebApplication.CreateSlimBuilder();
            builder.Logging.ClearProviders();
            builder.AddConsole(new IPEndPoint(IPAddress.Loopback, 0));
            builder
                .Services.AddSingleton(gateway.Options.Settings.Directory)
                .AddSingleton(node.Outgoing)
                .AddSingleton(node.Incoming)
                .AddSingleton(node.Notices)
                .AddSingleton(node.Ledger)
                .AddSingleton(node.Destinations);
            var app = builder.Build();
            app.MapConsole(node.HealthAsync);
            await app.StartAsync();
            _apps.Add(app);
            return new HttpClient { BaseAddress = new Uri(app.Urls.Single()) };
        }
    }

    [Fact]
    public async Task Outgoing_tells_the_clerk_what_could_not_be_sent_and_which_gateway_is_down()
    {
        var a = exchange.Pair.A;
        const string Diagnostic = "Refused 550 <script>alert(4)</script>";
        foreach (
            var (action, reason) in new (string, string?)[]
            {
                (NoticeAction.Delayed, null),
                (NoticeAction.Failed, "GIVEN_UP"),
                (NoticeAction.Failed, "Refused 550 5.1.1"),
                (NoticeAction.Overdue, null),
            })
        {
            await a.Probe.Outgoing.AddNoticeAsync(exchange.Dispatch, action, reason, Diagnostic);
        }

        await a.Probe.Queue.BackOffAsync("gateway-down.test", 3, TimeSpan.FromMinutes(1), "TlsRefused <script>");
        var list = await PageAsync(exchange.A, "/outgoing");
        foreach (
            var text in new[]
            {
                "chưa gửi được tới H90.SL.101 (gateway-b.test)",
                "Chưa rõ đã tới hay chưa",
                "Cổng nhận từ chối vĩnh viễn: Refused 550 5.1.1",
                "hãy hỏi nơi nhận",
                "Chưa liên lạc được với cổng gateway-down.test",
                "3 lần liên tiếp",
                "TlsRefused &lt;script&gt;",
                $"/outgoing/{exchange.Dispatch}",
            })
        {
            list.ShouldContain(text);
        }

        var notices = await a.Node.Notices.ListAsync(TwoGateways.Province, 10, CancellationToken.None);
        notices.Select(n => n.Action).ShouldBe(["overdue", "failed", "failed", "delayed"]);
        notices.ShouldAllBe(n => n.State == "acknowledged" && n.Number == "01-CV/VPTU" && n.MayHaveArrived);
        (await a.Node.Notices.ListAsync(TwoGateways.AnHoa, 10, CancellationToken.None)).ShouldBeEmpty();
    }

    [Fact]
    public async Task Outgoing_shows_the_dispatch_its_addressees_and_its_story()
    {
        var list = await PageAsync(exchange.A, "/outgoing");
        list.ShouldContain("Văn bản đi");
        list.ShouldContain($"/outgoing/{exchange.Dispatch}");
        list.ShouldContain("01-CV/VPTU");
        list.ShouldContain("Đã nhận (có biên nhận)");
        var detail = await PageAsync(exchange.A, $"/outgoing/{exchange.Dispatch}");
        foreach (
            var text in new[]
            {
                "Đảng ủy xã An Hòa",
                "Đã ký và mã hóa",
                "Đã có biên nhận",
                "Đã nhận (có biên nhận)",
                "&lt;script&gt;alert(1)",
                "&lt;img src=x onerror=alert(1)&gt; số 1.html",
                "&lt;b&gt;Nguyễn",
            })
        {
            detail.ShouldContain(text);
        }
    }

    [Fact]
    public async Task Outgoing_names_the_addressees_because_of_whom_a_dispatch_is_encrypted_weaker()
    {
        var path = $"/outgoing/{exchange.Dispatch}";
        (await PageAsync(exchange.A, path)).ShouldNotContain("Mã hóa yếu hơn");
        await exchange.Pair.A.Probe.Outgoing.SetCipherAsync(exchange.Dispatch, "AES-256-CBC");
        (await PageAsync(exchange.A, path)).ShouldContain("Mã hóa yếu hơn (AES-256-CBC) vì phần mềm của H90.SL.101 ");
        // An older node wrote neither.
        await exchange.Pair.A.Probe.Outgoing.SetCipherAsync(exchange.Dispatch, null);
        (await PageAsync(exchange.A, path)).ShouldNotContain("Mã hóa yếu hơn");
    }

    [Fact]
    public async Task Incoming_shows_what_was_judged_and_keeps_what_was_not_proven_to_itself()
    {
        var list = await PageAsync(exchange.B, "/incoming");
        foreach (
            var text in new[]
            {
                "Văn bản đến",
                "Hợp lệ",
                "Văn phòng Tỉnh ủy Sông Lam",
                "Đảng ủy xã An Hòa",
                "chưa xác thực",
                "Không có chữ ký",
            })
        {
            list.ShouldContain(text);
        }

        list.ShouldNotContain("alert(3)");
        var unsigned = await exchange.Pair.B.IncomingAsync(m => m.Verdict == "unsigned");
        (await PageAsync(exchange.B, $"/incoming/{unsigned.Id}")).ShouldContain("Thư không có chữ ký");
        var message = await exchange.Pair.B.IncomingAsync(m => m.DispatchId == exchange.Dispatch);
        var detail = await PageAsync(exchange.B, $"/incoming/{message.Id}");
        foreach (
            var text in new[]
            {
                "Kết luận về chữ ký",
                "TOTAL-PASSED",
                "gateway-a.test",
                "Đã kiểm tra và ghi nhận",
                "&lt;img src=x",
                $"/incoming/{message.Id}/documents/1",
            })
        {
            detail.ShouldContain(text);
        }
    }

    [Fact]
    public async Task A_document_is_a_download_and_nothing_else()
    {
        var message = await exchange.Pair.B.IncomingAsync(m => m.DispatchId == exchange.Dispatch);
        using var response = await exchange.B.GetAsync(
            new Uri($"/incoming/{message.Id}/documents/1", UriKind.Relative));
        response.StatusCode.ShouldBe(HttpStatusCode.OK);
        response.Content.Headers.ContentType!.MediaType.ShouldBe("application/octet-stream");
        response.Content.Headers.ContentDisposition!.DispositionType.ShouldBe("attachment");
        response.Content.Headers.ContentDisposition.FileNameStar.ShouldBe("<img src=x onerror=alert(1)> số 1.html");
        RequireHeaders(response);
        (await response.Content.ReadAsStringAsync()).ShouldBe("<script>alert(2)</script>");
        foreach (
            var path in new[]
            {
                $"/incoming/{message.Id}/documents/0",
                $"/incoming/{message.Id}/documents/2",
                $"/incoming/{message.Id}/documents/x",
                $"/incoming/{Guid.NewGuid()}",
                $"/outgoing/{Guid.NewGuid()}",
                "/nothing",
                "/incoming/../../etc/passwd",
            })
        {
            using var missing = await exchange.B.GetAsync(new Uri(path, UriKind.Relative));
            missing.StatusCode.ShouldBe(HttpStatusCode.NotFound, path);
        }
    }

    [Fact]
    public async Task The_ledger_shows_its_checkpoint_and_the_peers_cosignature()
    {
        // A page may be asked for just before the receipt's evidence is recorded.
        var page = await TwoGateways.EventuallyAsync(
            async () =>
                await PageAsync(exchange.A, "/ledger") is var p
                && p.Contains("gateway-b.test", StringComparison.Ordinal)
                    ? p
                    : null,
            "the cosignature");
        page.ShouldContain("Điểm chốt mới nhất");
        page.ShouldContain("gateway-a.test");
        page.ShouldContain("Nhất quán");
    }

    [Fact]
    public async Task Health_answers_live_and_ready()
    {
        (await exchange.A.GetStringAsync(new Uri("/health/live", UriKind.Relative))).ShouldBe("live");
        using var ready = await exchange.A.GetAsync(new Uri("/health/ready", UriKind.Relative));
        ready.StatusCode.ShouldBe(HttpStatusCode.OK);
        (await ready.Content.ReadAsStringAsync()).ShouldContain("\"ready\":true");
    }

    [Fact]
    public void No_key_of_the_web_server_is_written_to_a_disk()
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.AddConsole(new IPEndPoint(IPAddress.Loopback, 0));
        using var services = builder.Services.BuildServiceProvider();
        services
            .GetRequiredService<IOptions<KeyManagementOptions>>()
            .Value.XmlRepository.ShouldBeOfType<KeysInMemory>();
    }

    [Theory]
    [InlineData("evil.test")]
    [InlineData("127.0.0.1.evil.test")]
    [InlineData("localhost.evil.test")]
    public async Task Another_host_name_is_misdirected_and_learns_nothing(string host)
    {
        foreach (var path in new[] { "/incoming", "/ledger", "/health/ready" })
        {
            using var request = new HttpRequestMessage(HttpMethod.Get, new Uri(path, UriKind.Relative))
            {
                Headers = { Host = host },
            };
            using var response = await exchange.B.SendAsync(request);
            response.StatusCode.ShouldBe(HttpStatusCode.MisdirectedRequest);
            (await response.Content.ReadAsStringAsync()).ShouldBeEmpty();
        }
    }

    /// <summary>A page with its headers checked: it fetches nothing, runs nothing, and what others wrote is text in
    /// it.</summary>
    private static async Task<string> PageAsync(HttpClient client, string path)
    {
        using var response = await client.GetAsync(new Uri(path, UriKind.Relative));
        response.StatusCode.ShouldBe(HttpStatusCode.OK);
        response.Content.Headers.ContentType!.ToString().ShouldBe("text/html; charset=utf-8");
        RequireHeaders(response);
        var html = await response.Content.ReadAsStringAsync();
        Fetching().Matches(html).Select(m => m.Value).ShouldBeEmpty();
        html.ShouldContain("<html lang=\"vi\">");
        // Vietnamese letters stand as they are or as character references; a test reads them as they are.
        return Letters().Replace(html, m => ((char)Convert.ToInt32(m.Groups["code"].Value, 16)).ToString());
    }

    private static void RequireHeaders(HttpResponseMessage response)
    {
        string Header(string name) => string.Join(",", response.Headers.GetValues(name));
        Header("Content-Security-Policy")
            .ShouldBe(
                "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; "
                    + "form-action 'self'"
            );
        Header("X-Content-Type-Options").ShouldBe("nosniff");
        Header("Referrer-Policy").ShouldBe("no-referrer");
        Header("Cache-Control").ShouldBe("no-store");
        response.Headers.Contains("Server").ShouldBeFalse();
    }

    // Elements and attributes that make a browser fetch or run something; links that a person follows stay on the
    // console.
    [GeneratedRegex(
        """<(script|link|img|iframe|object|embed|video|audio|svg|form)\b|<[^<>]*\s(on\w+|src|srcset|action|style)\s*=|url\(|@import|href="(?!/)""",
        RegexOptions.IgnoreCase | RegexOptions.ExplicitCapture
    )]
    private static partial Regex Fetching();

    [GeneratedRegex("&#x(?<code>[0-9A-Fa-f]{2,4});", RegexOptions.ExplicitCapture)]
    private static partial Regex Letters();
}
