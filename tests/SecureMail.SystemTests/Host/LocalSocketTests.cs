using System.Net;
using System.Text.RegularExpressions;
using SecureMail.Host.Services;

namespace SecureMail.SystemTests.Host;

/// <summary>The socket of the running gateway: who can open it, and that the dashboard is there, for reading, and
/// nowhere else.</summary>
public sealed partial class LocalSocketTests(PostgresFixture postgres) : IClassFixture<PostgresFixture>
{
    private const UnixFileMode Owner = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;
    private const UnixFileMode Passed = Owner | UnixFileMode.GroupExecute | UnixFileMode.OtherExecute;

    [Fact]
    public async Task The_dashboard_is_on_the_socket_for_reading_and_on_no_port()
    {
        await using var pair = await TwoGateways.StartAsync(postgres, run: false);
        var port = TestPorts.Next();
        await using var serving = GatewayProcess.Serve(pair.A.Options, port);
        using var socket = LocalHttp.Over(LocalSocket.PathOf(pair.A.Options.DataFolder));
        using var tcp = new HttpClient(new SocketsHttpHandler { AllowAutoRedirect = false })
        {
            BaseAddress = new Uri($"http://127.0.0.1:{port}"),
        };
        await LocalHttp.ReadyAsync(tcp);

        await TwoGateways.UntilAsync(async () => await pair.A.Probe.Jobs.HasScheduleAsync(), "the schedule");
        using var page = await socket.GetAsync(new Uri("/admin/jobs/recurring", UriKind.Relative));
        page.StatusCode.ShouldBe(HttpStatusCode.OK);
        var html = await page.Content.ReadAsStringAsync();
        html.ShouldContain("retention");
        // The policy forbids scripts and styles within the page, and the page needs none.
        string.Join(",", page.Headers.GetValues("Content-Security-Policy"))
            .ShouldBe(
                "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self' data:; "
                    + "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'");
        foreach (var path in new[] { "", "/recurring", "/jobs/enqueued", "/jobs/succeeded", "/servers", "/retries" })
        {
            var text = await socket.GetStringAsync(new Uri("/admin/jobs" + path, UriKind.Relative));
            Inline().Matches(text).Select(m => m.Value).ShouldBeEmpty(path);
            text.ShouldNotContain("Host=");
            foreach (var file in Files().Matches(text).Select(m => m.Groups["path"].Value))
            {
                using var answer = await socket.GetAsync(new Uri(file, UriKind.Relative));
                answer.StatusCode.ShouldBe(HttpStatusCode.OK, file);
            }
        }

        // Nothing can be done there, with the page's own token or without.
        var token = Token().Match(html);
        token.Success.ShouldBeTrue();
        foreach (var withToken in new[] { false, true })
        {
            using var trigger = new HttpRequestMessage(
                HttpMethod.Post, new Uri("/admin/jobs/recurring/trigger", UriKind.Relative))
            {
                Content = new FormUrlEncodedContent([new("jobs[]", "retention")]),
            };
            if (withToken)
            {
                trigger.Headers.Add("RequestVerificationToken", token.Groups["token"].Value);
            }

            using var answer = await socket.SendAsync(trigger);
            ((int)answer.StatusCode).ShouldBeInRange(400, 499);
        }

        (await pair.A.Probe.Jobs.TriggeredCallsAsync()).ShouldBe(0);
        foreach (var path in new[] { "/", "/incoming", "/health/ready", "/admin" })
        {
            using var other = await socket.GetAsync(new Uri(path, UriKind.Relative));
            other.StatusCode.ShouldBe(HttpStatusCode.NotFound, path);
        }

        foreach (var path in new[] { "/admin/jobs", "/admin/jobs/recurring", "/admin/jobs/stats" })
        {
            using var other = await tcp.GetAsync(new Uri(path, UriKind.Relative));
            other.StatusCode.ShouldBe(HttpStatusCode.NotFound, path);
        }
    }

    [Fact]
    public async Task Others_pass_to_the_socket_and_to_nothing_else_in_the_data_folder()
    {
        await using var pair = await TwoGateways.StartAsync(postgres, run: false);
        var data = pair.A.Options.DataFolder;
        File.SetUnixFileMode(data, Passed | UnixFileMode.GroupRead | UnixFileMode.OtherRead);
        File.SetUnixFileMode(Path.Combine(data, "keys"), Passed | UnixFileMode.GroupRead | UnixFileMode.OtherRead);
        var path = LocalSocket.PathOf(data);
        path.ShouldBe(Path.Combine(data, "run", "securemail.sock"));
        var port = TestPorts.Next();
        await using (var serving = GatewayProcess.Serve(pair.A.Options, port))
        {
            await SharedAsync(path);
            File.GetUnixFileMode(data).ShouldBe(Passed);
            File.GetUnixFileMode(Path.GetDirectoryName(path)!).ShouldBe(Passed);
            foreach (var entry in new DirectoryInfo(data).EnumerateFileSystemInfos().Where(e => e.Name != "run"))
            {
                (entry.UnixFileMode & ~Owner).ShouldBe(UnixFileMode.None, entry.Name);
            }

            await serving.KillAsync();
        }

        // The socket of a killed process does not stop the next one.
        File.Exists(path).ShouldBeTrue();
        await using var again = GatewayProcess.Serve(pair.A.Options, port);
        using var socket = LocalHttp.Over(path);
        await TwoGateways.EventuallyAsync(
            async () =>
            {
                try
                {
                    return await socket.GetStringAsync(new Uri("/admin/jobs", UriKind.Relative));
                }
                catch (HttpRequestException)
                {
                    return null;
                }
            },
            "the socket of the next process");
    }

    [Fact]
    public async Task Where_the_path_would_be_too_long_for_a_socket_a_short_folder_serves()
    {
        await using var pair = await TwoGateways.StartAsync(postgres, run: false);
        var options = pair.A.Options with
        {
            DataFolder = Path.Combine(pair.Folder, new string('d', 100)),
        };
        await SoftHsm.RunAsync("cp", "-a", pair.A.Options.DataFolder, options.DataFolder);
        var path = LocalSocket.PathOf(options.DataFolder);
        System.Text.Encoding.UTF8.GetByteCount(path).ShouldBeLessThanOrEqualTo(107);
        try
        {
            await using var serving = GatewayProcess.Serve(options, TestPorts.Next());
            await SharedAsync(path);
            File.GetUnixFileMode(Path.GetDirectoryName(path)!).ShouldBe(Passed);
            using var socket = LocalHttp.Over(path);
            (await socket.GetStringAsync(new Uri("/admin/jobs", UriKind.Relative))).ShouldContain("SecureMail");
        }
        finally
        {
            Directory.Delete(Path.GetDirectoryName(path)!, recursive: true);
        }
    }

    private static Task SharedAsync(string path) =>
        TwoGateways.EventuallyAsync(
            () =>
                Task.FromResult(
                    File.Exists(path)
                    && File.GetUnixFileMode(path)
                        == (UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead
                            | UnixFileMode.GroupWrite)
                        ? ""
                        : null),
            $"{path} with mode 0660");

    [GeneratedRegex("""<script(?![^>]*\ssrc=)|<style\b|\sstyle\s*=|\son\w+\s*=|href="javascript:""", RegexOptions.IgnoreCase)]
    private static partial Regex Inline();

    [GeneratedRegex("""(?:<script src|<link rel="stylesheet" href)="(?<path>[^"]+)""")]
    private static partial Regex Files();

    [GeneratedRegex("""<meta name="csrf-token" content="(?<token>[^"]+)""")]
    private static partial Regex Token();
}
