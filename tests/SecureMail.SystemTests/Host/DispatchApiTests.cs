using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using SecureMail.Gateway.Outbound;
using SecureMail.Gateway.Policy;
using SecureMail.Host;
using SecureMail.Host.Services;
using SecureMail.Ledger;
using SecureMail.Web.Api;

namespace SecureMail.SystemTests.Host;

/// <summary>POST and GET of <c>/api/v1/dispatches</c> at a serving gateway, and <c>securemail send</c> over
/// them.</summary>
public sealed class DispatchApiTests(DispatchApiTests.Serving serving) : IClassFixture<DispatchApiTests.Serving>
{
    private const string Boundary = "ranh-gioi";
    private static readonly Uri Dispatches = new(DispatchApi.Path, UriKind.Relative);

    /// <summary>Gateway A in a process of its own.</summary>
    public sealed class Serving : IAsyncLifetime
    {
        private readonly PostgresFixture _postgres = new();
        private GatewayProcess? _process;

        public TwoGateways Pair { get; private set; } = null!;

        public HttpClient Socket { get; private set; } = null!;

        public HttpClient Port { get; private set; } = null!;

        public async Task InitializeAsync()
        {
            await _postgres.InitializeAsync();
            Pair = await TwoGateways.StartAsync(_postgres, run: false);
            var http = TestPorts.Next();
            _process = GatewayProcess.Serve(Pair.A.Options, http);
            Socket = LocalHttp.Over(LocalSocket.PathOf(Pair.A.Options.DataFolder));
            Port = new HttpClient { BaseAddress = new Uri($"http://127.0.0.1:{http}") };
            await LocalHttp.ReadyAsync(Port);
        }

        public async Task DisposeAsync()
        {
            Socket?.Dispose();
            Port?.Dispose();
            if (_process is not null)
            {
                await _process.DisposeAsync();
            }

            await Pair.DisposeAsync();
            await _postgres.DisposeAsync();
        }
    }

    [Fact]
    public async Task A_dispatch_over_the_socket_is_accepted_once_for_each_key_and_its_state_can_be_asked()
    {
        // Three rows of a blob, and a name that a header carries only in the extended form.
        var large = RandomNumberGenerator.GetBytes(600_000);
        var id = Guid.CreateVersion7();
        using var first = await PostAsync(id, Manifest(), ("Công văn “số 1”.pdf", large), ("rỗng.txt", []));
        var text = await first.Content.ReadAsStringAsync();
        first.StatusCode.ShouldBe(HttpStatusCode.Accepted, text);
        first.Headers.Location!.ToString().ShouldBe($"{DispatchApi.Path}/{id}");
        using var again = await PostAsync(id, Manifest(), ("khác.txt", "khác"u8.ToArray()));
        (await again.Content.ReadAsStringAsync()).ShouldBe(text);
        var kept = (await serving.Pair.A.Node.Outgoing.FindAsync(id, CancellationToken.None))!;
        // Until there are accounts it is the act of this gateway's operator.
        var accepted = (await serving.Pair.A.Node.Ledger.AuditTrailAsync(id, CancellationToken.None))
            .Single(e => e.Kind == EntryKind.DispatchAccepted);
        accepted.Actor.ShouldBe(
            (await new OperatorAccount(serving.Pair.A.Node.Database).AuthorityAsync(CancellationToken.None)).Actor);
        kept.Manifest!.Documents.Select(d => (d.Name, d.MediaType, d.Length, Convert.ToHexString(d.Sha256))).ShouldBe(
        [
            ("Công văn “số 1”.pdf", "application/pdf", large.Length, Convert.ToHexString(SHA256.HashData(large))),
            ("rỗng.txt", "application/pdf", 0, Convert.ToHexString(SHA256.HashData([]))),
        ]);

        using var state = JsonDocument.Parse(await serving.Socket.GetStringAsync(first.Headers.Location));
        state.RootElement.GetProperty("dispatchId").GetGuid().ShouldBe(id);
        state.RootElement.GetProperty("number").GetString().ShouldBe(kept.Card.Number);
        state.RootElement.GetProperty("recipients")[0].GetProperty("code").GetString().ShouldBe(TwoGateways.AnHoa);
        using var none = await serving.Socket.GetAsync(
            new Uri($"{DispatchApi.Path}/{Guid.CreateVersion7()}", UriKind.Relative));
        await ProblemAsync(none, HttpStatusCode.NotFound, "NOT_FOUND");
        using var nowhere = await serving.Socket.GetAsync(new Uri("/api/v2/dispatches", UriKind.Relative));
        await ProblemAsync(nowhere, HttpStatusCode.NotFound, "NOT_FOUND");
        using var put = await serving.Socket.PutAsync(new Uri(DispatchApi.Path, UriKind.Relative), null);
        await ProblemAsync(put, HttpStatusCode.MethodNotAllowed, "REQUEST_INVALID");
    }

    [Fact]
    public async Task A_port_answers_nothing_of_the_api_before_there_are_accounts()
    {
        foreach (var path in new[] { DispatchApi.Path, "/API/V1/Dispatches", "/%61pi/v1/dispatches", "/api/v2" })
        {
            using var form = Form(Manifest(), ("a.txt", "a"u8.ToArray()));
            using var post = await serving.Port.PostAsync(new Uri(path, UriKind.Relative), form);
            await ProblemAsync(post, HttpStatusCode.Unauthorized, "SIGN_IN_REQUIRED");
            using var get = await serving.Port.GetAsync(
                new Uri($"{path}/{Guid.CreateVersion7()}", UriKind.Relative));
            await ProblemAsync(get, HttpStatusCode.Unauthorized, "SIGN_IN_REQUIRED");
        }
    }

    [Theory]
    [InlineData("""{"sender":"H90.NONE"}""", HttpStatusCode.UnprocessableEntity, "SENDER_UNKNOWN")]
    [InlineData("""{"recipients":[]}""", HttpStatusCode.UnprocessableEntity, "NO_RECIPIENT")]
    [InlineData("""{"notation":"CV\u0001"}""", HttpStatusCode.UnprocessableEntity, "NUMBER_INVALID")]
    [InlineData("""{"recipients":null}""", HttpStatusCode.BadRequest, "REQUEST_INVALID")]
    [InlineData("""{"reciepients":[]}""", HttpStatusCode.BadRequest, "REQUEST_INVALID")]
    [InlineData("""{"fields":{"number":""}}""", HttpStatusCode.BadRequest, "REQUEST_INVALID")]
    [InlineData("""{"fields":[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]}""", HttpStatusCode.BadRequest, "REQUEST_INVALID")]
    [InlineData("""{"sender":"\ud800"}""", HttpStatusCode.BadRequest, "REQUEST_INVALID")]
    public async Task A_manifest_that_cannot_stand_is_refused_with_its_reason(
        string change, HttpStatusCode status, string code)
    {
        var before = await serving.Pair.A.Probe.FootprintAsync();
        var manifest = Manifest();
        // As text, because a damaged escape is no JsonNode.
        var member = change[2..change.IndexOf('"', 2)];
        manifest = System.Text.RegularExpressions.Regex.Replace(
            manifest, $"\"{member}\":(\"[^\"]*\"|\\[[^]]*\\]|{{[^}}]*}}),?", "");
        manifest = "{" + change[1..^1] + "," + manifest[1..].Replace(",}", "}", StringComparison.Ordinal);
        using var answer = await PostAsync(null, manifest, ("a.txt", new byte[300_000]));
        await ProblemAsync(answer, status, code);
        (await serving.Pair.A.Probe.FootprintAsync()).ShouldBe(before);
    }

    public static TheoryData<string, string, string, HttpStatusCode> Bodies()
    {
        var manifest = $"--{Boundary}\r\nContent-Disposition: form-data; name=manifest\r\n\r\n{Manifest()}\r\n";
        var file = $"--{Boundary}\r\nContent-Disposition: form-data; name=file; filename=a.txt\r\n\r\nA\r\n";
        var end = $"--{Boundary}--\r\n";
        var form = $"multipart/form-data; boundary={Boundary}";
        var (bad, type) = (HttpStatusCode.BadRequest, HttpStatusCode.UnsupportedMediaType);
        var refused = HttpStatusCode.UnprocessableEntity;
        var many = string.Concat(Enumerable.Range(0, 513).Select(n => file.Replace("a.txt", n + ".txt")));
        return new TheoryData<string, string, string, HttpStatusCode>
        {
            { "no type", "", manifest + file + end, type },
            { "another type", "application/json", Manifest(), type },
            { "no boundary", "multipart/form-data", manifest + file + end, type },
            { "a long boundary", $"multipart/form-data; boundary={new string('b', 71)}", "", type },
            { "empty", form, "", bad },
            { "the file first", form, file + manifest + end, bad },
            { "no name", form, manifest + file.Replace("; filename=a.txt", "") + end, bad },
            { "no disposition", form, manifest + file.Replace("Content-Disposition", "X") + end, bad },
            { "cut off in the manifest", form, manifest[..^30], bad },
            { "cut off in a document", form, manifest + file, bad },
            { "a long head", form, manifest + file.Replace("=file", "=" + new string('f', 40_000)) + end, bad },
            { "many parts", form, manifest + many + end, bad },
            {
                "a long manifest", form, manifest.Replace("{\"", new string(' ', 3 << 20) + "{\"") + file + end,
                HttpStatusCode.RequestEntityTooLarge
            },
            { "a path as name", form, manifest + file.Replace("a.txt", "\"../a.txt\"") + end, refused },
            { "one name twice", form, manifest + file + file + end, refused },
            { "no document", form, manifest + end, refused },
        };
    }

    [Theory]
    [MemberData(nameof(Bodies))]
    public async Task A_body_that_is_no_dispatch_is_refused_and_leaves_nothing(
        string what, string type, string body, HttpStatusCode status)
    {
        var before = await serving.Pair.A.Probe.FootprintAsync();
        using var content = new ByteArrayContent(Encoding.UTF8.GetBytes(body));
        if (type.Length > 0)
        {
            content.Headers.TryAddWithoutValidation("Content-Type", type).ShouldBeTrue();
        }

        using var answer = await serving.Socket.PostAsync(Dispatches, content);
        answer.StatusCode.ShouldBe(status, what + ": " + await answer.Content.ReadAsStringAsync());
        answer.Content.Headers.ContentType!.MediaType.ShouldBe("application/problem+json", what);
        (await serving.Pair.A.Probe.FootprintAsync()).ShouldBe(before, what);
    }

    [Theory]
    [InlineData("zzz")]
    [InlineData("f81d4fae-7dec-11d0-a765-00a0c91e6bf6")]
    public async Task A_key_that_is_no_UUIDv7_is_refused(string key)
    {
        using var form = Form(Manifest(), ("a.txt", "a"u8.ToArray()));
        using var request = new HttpRequestMessage(HttpMethod.Post, Dispatches) { Content = form };
        request.Headers.Add(DispatchApi.IdempotencyKey, key);
        using var answer = await serving.Socket.SendAsync(request);
        await ProblemAsync(answer, HttpStatusCode.UnprocessableEntity, "ID_INVALID");
    }

    [Fact]
    public async Task A_client_that_goes_away_within_a_document_leaves_nothing()
    {
        var before = await serving.Pair.A.Probe.FootprintAsync();
        using (var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified))
        {
            await socket.ConnectAsync(
                new UnixDomainSocketEndPoint(LocalSocket.PathOf(serving.Pair.A.Options.DataFolder)));
            var start =
                $"POST {DispatchApi.Path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900000\r\n"
                + $"Content-Type: multipart/form-data; boundary={Boundary}\r\n\r\n--{Boundary}\r\n"
                + $"Content-Disposition: form-data; name=manifest\r\n\r\n{Manifest()}\r\n--{Boundary}\r\n"
                + "Content-Disposition: form-data; name=file; filename=a.txt\r\n\r\n" + new string('a', 500_000);
            await socket.SendAsync(Encoding.UTF8.GetBytes(start));
            await TwoGateways.UntilAsync(
                async () => await serving.Pair.A.Probe.OpenTransactionsAsync() > 0, "the transaction of the dispatch");
        }

        await TwoGateways.UntilAsync(
            async () => await serving.Pair.A.Probe.OpenTransactionsAsync() == 0, "its end");
        (await serving.Pair.A.Probe.FootprintAsync()).ShouldBe(before);
    }

    [Fact]
    public async Task The_command_sends_over_the_socket_without_the_keys_and_the_database()
    {
        // The same folder, and a database that nobody reaches.
        var clerk = serving.Pair.A.Options with
        {
            DatabaseConnection = $"Host=127.0.0.1;Port={TestPorts.Next()};Timeout=5",
            OwnerConnection = null,
        };
        var file = Path.Combine(serving.Pair.Folder, "Công văn.txt");
        await File.WriteAllTextAsync(file, "Nội dung");
        var own = await File.ReadAllTextAsync(Path.Combine(clerk.DataFolder, "securemail.json"));
        try
        {
            await using var sent = GatewayProcess.Run(
                clerk, null, "send", "--from", TwoGateways.Province, "--to", TwoGateways.AnHoa, "--to", "H90.NONE",
                "--notation", "CV/VPTU", "--subject", "V/v", "--json", file);
            (await sent.EndAsync()).ShouldBe(ExitCode.Wanting, sent.Said);
            var answer = JsonSerializer.Deserialize<SubmissionAnswer>(sent.Said, Exchange.FindingJson.Options)!;
            answer.Recipients.Select(r => (r.Code, r.Refusal?.Code)).ShouldBe(
                [(TwoGateways.AnHoa, null), ("H90.NONE", "RECIPIENT_UNKNOWN")]);
            (await serving.Pair.A.Probe.Outgoing.StateAsync(answer.DispatchId)).ShouldNotBeNull();

            await using var refused = GatewayProcess.Run(
                clerk, null, "send", "--from", "H90.NONE", "--to", TwoGateways.AnHoa, "--subject", "V/v", file);
            (await refused.EndAsync()).ShouldBe(ExitCode.NotPermitted, refused.Said);
            refused.Said.ShouldContain("H90.NONE");
            refused.Said.ShouldContain(" / ");

            // A file whose first byte cannot be read (EIO). It is not taken for a lost connection.
            var before = await serving.Pair.A.Probe.FootprintAsync();
            await using var unreadable = GatewayProcess.Run(
                clerk, null, "send", "--from", TwoGateways.Province, "--to", TwoGateways.AnHoa, "--subject", "V/v",
                file, "/proc/self/mem");
            (await unreadable.EndAsync()).ShouldBe(ExitCode.Data, unreadable.Said);
            unreadable.Said.ShouldContain("mem cannot be read to its end; nothing was sent.");
            await TwoGateways.UntilAsync(
                async () => await serving.Pair.A.Probe.OpenTransactionsAsync() == 0, "its end");
            (await serving.Pair.A.Probe.FootprintAsync()).ShouldBe(before);
        }
        finally
        {
            await File.WriteAllTextAsync(Path.Combine(clerk.DataFolder, "securemail.json"), own);
        }
    }

    private static string Manifest() =>
        JsonSerializer.Serialize(
            new NewDispatch(
                TwoGateways.Province, [TwoGateways.AnHoa],
                new SecureMail.Exchange.DispatchFields { Number = "", Subject = "V/v triệu tập" }, "CV/VPTU"),
            DispatchApi.Json);

    private static MultipartFormDataContent Form(string manifest, params (string Name, byte[] Octets)[] files)
    {
        var form = new MultipartFormDataContent(Boundary) { { new StringContent(manifest), DispatchApi.ManifestPart } };
        foreach (var (name, octets) in files)
        {
            var file = new ByteArrayContent(octets);
            file.Headers.ContentType = new("application/pdf");
            form.Add(file, "file", name);
        }

        return form;
    }

    private async Task<HttpResponseMessage> PostAsync(
        Guid? key, string manifest, params (string Name, byte[] Octets)[] files)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, Dispatches) { Content = Form(manifest, files) };
        if (key is not null)
        {
            request.Headers.Add(DispatchApi.IdempotencyKey, $"\"{key}\"");
        }

        return await serving.Socket.SendAsync(request);
    }

    private static async Task ProblemAsync(HttpResponseMessage answer, HttpStatusCode status, string code)
    {
        var text = await answer.Content.ReadAsStringAsync();
        answer.StatusCode.ShouldBe(status, text);
        answer.Content.Headers.ContentType!.MediaType.ShouldBe("application/problem+json");
        using var problem = JsonDocument.Parse(text);
        problem.RootElement.GetProperty("code").GetString().ShouldBe(code);
        problem.RootElement.GetProperty("status").GetInt32().ShouldBe((int)status);
        problem.RootElement.GetProperty("detail").GetString()!.ShouldContain(" / ");
    }
}
