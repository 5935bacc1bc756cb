using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using SecureMail.Mail.Mime;
using SecureMail.Mail.Smtp;
using SecureMail.Mail.Smtp.Client;
using SecureMail.Mail.Smtp.Server;

namespace SecureMail.Tests.Mail;

public class SmtpClientTests
{
    private static readonly string[] One = ["c@d.vn"];

    private static MemoryStream Message(string text) => new(Encoding.Latin1.GetBytes(text));

    private static MemoryStream Simple() => Message("Subject: x\r\n\r\nbody\r\n");

    private static string Pin(X509Certificate2 certificate) =>
        Convert.ToHexString(SHA256.HashData(certificate.PublicKey.ExportSubjectPublicKeyInfo()));

    /// <summary>Speaks up to the 354.</summary>
    private static async Task UpToDataAsync(RawPeer peer)
    {
        await peer.WriteAsync("220 hello\r\n");
        (await peer.LineAsync()).ShouldBe("EHLO client.test");
        await peer.WriteAsync("250 mx\r\n");
        (await peer.LineAsync())!.ShouldStartWith("MAIL");
        await peer.WriteAsync("250 ok\r\n");
        (await peer.LineAsync())!.ShouldStartWith("RCPT");
        await peer.WriteAsync("250 ok\r\n");
        (await peer.LineAsync()).ShouldBe("DATA");
        await peer.WriteAsync("354 go\r\n");
    }

    private static async Task UpToDotAsync(RawPeer peer)
    {
        await UpToDataAsync(peer);
        while (await peer.LineAsync() is { } line && line != ".") { }
    }

    private static async Task<SmtpRecipientResult> SendAsync(
        Func<RawPeer, Task> script, Func<SmtpClientOptions, SmtpClientOptions>? change = null, Stream? message = null)
    {
        await using var server = new ScriptedServer(script);
        await using var client = await SmtpClient.ConnectAsync(
            change?.Invoke(server.ClientOptions) ?? server.ClientOptions, TimeProvider.System);
        return (await client.SendAsync("a@b.vn", One, message ?? Simple())).ShouldHaveSingleItem();
    }

    [Fact]
    public async Task Messages_follow_one_another_on_one_connection()
    {
        await using var server = await TestServer.StartAsync(o =>
            o with
            {
                OnRecipient = (_, _, recipient, _) =>
                    Task.FromResult(
                        recipient.Address.StartsWith("no", StringComparison.Ordinal)
                            ? new SmtpReply(550, "5.1.1", "no such")
                            : new SmtpReply(250, "2.1.5", "ok")),
            });
        await using var client = await SmtpClient.ConnectAsync(server.ClientOptions, TimeProvider.System);
        client.Capabilities.MaxSize.ShouldBe(100L * 1024 * 1024);

        var mixed = await client.SendAsync(
            "a@b.vn", ["c@d.vn", "no@d.vn", "e@d.vn"], Message(".one\r\n..\r\n.\r\n\r\nlast"));
        mixed.Select(r => r.Outcome).ShouldBe([SmtpOutcome.Delivered, SmtpOutcome.Permanent, SmtpOutcome.Delivered]);
        mixed[1].Reply!.Code.ShouldBe(550);
        mixed[1].Reply!.Enhanced.ShouldBe("5.1.1");
        mixed[1].Reply!.Lines.ShouldBe(["no such"]);

        (await client.SendAsync(null, ["no@d.vn"], Simple()))[0].Outcome.ShouldBe(SmtpOutcome.Permanent);
        (await client.SendAsync(null, One, Simple()))[0].Outcome.ShouldBe(SmtpOutcome.Delivered);
        client.IsUsable.ShouldBeTrue();

        Encoding.ASCII.GetString(server.Taken[0].Octets).ShouldBe(".one\r\n..\r\n.\r\n\r\nlast\r\n");
        server.Taken[0].Envelope.Recipients.Select(r => r.Address).ShouldBe(["c@d.vn", "e@d.vn"]);
        server.Taken[1].Envelope.From.Address.ShouldBeNull();
        server.Taken[1].Envelope.From.Size.ShouldBe(20);
    }

    [Fact]
    public async Task A_thousand_recipients_and_a_large_message_pass()
    {
        await using var server = await TestServer.StartAsync();
        await using var client = await SmtpClient.ConnectAsync(server.ClientOptions, TimeProvider.System);
        var body = Encoding.ASCII.GetBytes(
            string.Concat(Enumerable.Repeat("." + new string('x', 74) + "\r\n", 40_000)));
        var results = await client.SendAsync(
            "a@b.vn", [.. Enumerable.Range(0, 1000).Select(i => $"xa{i}@huyen.vn")], new MemoryStream(body));
        results.ShouldAllBe(r => r.Outcome == SmtpOutcome.Delivered);
        server.Taken.Single().Octets.AsSpan().SequenceEqual(body).ShouldBeTrue();
    }

    [Fact]
    public async Task Gateways_know_each_other_by_pinned_keys_under_tls_1_3()
    {
        using var ours = TestCertificates.SelfSigned("a");
        using var theirs = TestCertificates.SelfSigned("b");
        await using var server = await TestServer.StartAsync(o =>
            o with
            {
                Certificate = theirs,
                RequireTls = true,
                AuthenticatePeer = shown => Pin(shown) == Pin(ours) ? "agency-a" : null,
                ExtraEhloLines = (peer, _) =>
                    Task.FromResult<IReadOnlyList<string>>(peer.Id is null ? [] : [$"XLEDGER {peer.Id}"]),
            });
        var options = server.ClientOptions with
        {
            RequireTls = true,
            ClientCertificate = ours,
            PinServer = shown => Pin(shown) == Pin(theirs),
        };
        for (var i = 0; i < 2; i++)
        {
            await using var client = await SmtpClient.ConnectAsync(options, TimeProvider.System);
            client.Capabilities.Has("XLEDGER", out var id).ShouldBeTrue();
            id.ShouldBe("agency-a");
            (await client.SendAsync("a@b.vn", One, Simple()))[0].Outcome.ShouldBe(SmtpOutcome.Delivered);
            server.Taken[i].Envelope.Session.Peer.Id.ShouldBe("agency-a");
        }
    }

    [Fact]
    public async Task A_server_with_another_key_gets_nothing()
    {
        using var ours = TestCertificates.SelfSigned("a");
        using var theirs = TestCertificates.SelfSigned("b");
        await using var server = await TestServer.StartAsync(o =>
            o with
            {
                Certificate = theirs,
                AuthenticatePeer = _ => "any",
            });
        var error = await Should.ThrowAsync<SmtpException>(() =>
            SmtpClient.ConnectAsync(
                server.ClientOptions with
                {
                    RequireTls = true,
                    ClientCertificate = ours,
                    PinServer = shown => Pin(shown) == Pin(ours),
                },
                TimeProvider.System));
        error.Failure.ShouldBe(SmtpFailure.TlsRefused);
        error.Outcome.ShouldBe(SmtpOutcome.Transient);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_client_with_another_key_or_none_is_let_go(bool hasCertificate)
    {
        using var ours = TestCertificates.SelfSigned("a");
        using var theirs = TestCertificates.SelfSigned("b");
        await using var server = await TestServer.StartAsync(o =>
            o with
            {
                Certificate = theirs,
                RequireTls = true,
                AuthenticatePeer = _ => null,
            });
        var error = await Should.ThrowAsync<SmtpException>(() =>
            SmtpClient.ConnectAsync(
                server.ClientOptions with
                {
                    RequireTls = true,
                    ClientCertificate = hasCertificate ? ours : null,
                    PinServer = _ => true,
                },
                TimeProvider.System));
        error.Failure.ShouldBeOneOf(SmtpFailure.ConnectionLost, SmtpFailure.TlsRefused);
        error.Outcome.ShouldBe(SmtpOutcome.Transient);
    }

    [Fact]
    public async Task Without_the_tls_that_is_required_nothing_is_sent()
    {
        await using var server = await TestServer.StartAsync();
        var error = await Should.ThrowAsync<SmtpException>(() =>
            SmtpClient.ConnectAsync(
                server.ClientOptions with
                {
                    RequireTls = true,
                    PinServer = _ => true,
                },
                TimeProvider.System));
        error.Failure.ShouldBe(SmtpFailure.TlsNotOffered);
    }

    [Fact]
    public async Task An_answer_injected_behind_the_answer_to_starttls_is_noticed()
    {
        await using var server = new ScriptedServer(async peer =>
        {
            await peer.WriteAsync("220 hello\r\n");
            await peer.LineAsync();
            await peer.WriteAsync("250-mx\r\n250 STARTTLS\r\n");
            await peer.LineAsync();
            await peer.WriteAsync("220 go\r\n250-evil\r\n250 SIZE 1\r\n");
            await peer.LineAsync();
        });
        var error = await Should.ThrowAsync<SmtpException>(() =>
            SmtpClient.ConnectAsync(
                server.ClientOptions with
                {
                    RequireTls = true,
                    PinServer = _ => true,
                },
                TimeProvider.System));
        error.Failure.ShouldBe(SmtpFailure.Protocol);
    }

    [Fact]
    public async Task Nobody_there_is_transient()
    {
        var server = await TestServer.StartAsync();
        var options = server.ClientOptions;
        await server.DisposeAsync();
        var error = await Should.ThrowAsync<SmtpException>(() => SmtpClient.ConnectAsync(options, TimeProvider.System));
        (error.Failure, error.Outcome).ShouldBe((SmtpFailure.Connect, SmtpOutcome.Transient));
    }

    [Theory]
    [InlineData("554 5.3.2 not here\r\n", SmtpOutcome.Permanent, SmtpFailure.Refused)]
    [InlineData("421 4.3.2 later\r\n", SmtpOutcome.Transient, SmtpFailure.Refused)]
    [InlineData("HTTP/1.1 400 Bad Request\r\n", SmtpOutcome.Transient, SmtpFailure.Protocol)]
    [InlineData("220 hello\n", SmtpOutcome.Transient, SmtpFailure.Protocol)]
    [InlineData("220-a\r\n221 b\r\n", SmtpOutcome.Transient, SmtpFailure.Protocol)]
    [InlineData("", SmtpOutcome.Transient, SmtpFailure.ConnectionLost)]
    public async Task A_greeting_that_is_none_says_what_to_do(string greeting, SmtpOutcome outcome, SmtpFailure failure)
    {
        await using var server = new ScriptedServer(peer => peer.WriteAsync(greeting));
        var error = await Should.ThrowAsync<SmtpException>(() =>
            SmtpClient.ConnectAsync(server.ClientOptions, TimeProvider.System));
        (error.Outcome, error.Failure).ShouldBe((outcome, failure));
    }

    [Fact]
    public async Task A_reply_that_never_ends_is_refused()
    {
        await using var server = new ScriptedServer(peer =>
            peer.WriteAsync(string.Concat(Enumerable.Repeat("220-x\r\n", 200))));
        (
            await Should.ThrowAsync<SmtpException>(() =>
                SmtpClient.ConnectAsync(server.ClientOptions, TimeProvider.System))
        ).Failure.ShouldBe(SmtpFailure.Protocol);
    }

    [Theory]
    [InlineData("250 2.0.0 ok\r\n", SmtpOutcome.Delivered)]
    [InlineData("451 4.3.0 later\r\n", SmtpOutcome.Transient)]
    [InlineData("421 4.3.2 closing\r\n", SmtpOutcome.Transient)]
    [InlineData("554 5.6.0 no\r\n", SmtpOutcome.Permanent)]
    [InlineData("", SmtpOutcome.Unknown)]
    [InlineData("25", SmtpOutcome.Unknown)]
    [InlineData("nonsense\r\n", SmtpOutcome.Unknown)]
    [InlineData("354 again\r\n", SmtpOutcome.Unknown)]
    public async Task The_answer_to_the_final_dot_decides(string answer, SmtpOutcome outcome)
    {
        var result = await SendAsync(async peer =>
        {
            await UpToDotAsync(peer);
            await peer.WriteAsync(answer);
        });
        result.Outcome.ShouldBe(outcome);
        (result.Failure is null).ShouldBe(outcome == SmtpOutcome.Delivered);
    }

    [Fact]
    public async Task Silence_behind_the_final_dot_is_unknown()
    {
        var answered = new TaskCompletionSource();
        var result = await SendAsync(
            async peer =>
            {
                await UpToDotAsync(peer);
                await peer.LineAsync(); // until the client goes
                answered.SetResult();
            },
            o => o with { Timeouts = new() { DataEnd = TimeSpan.FromMilliseconds(150) } });
        await answered.Task;
        (result.Outcome, result.Failure).ShouldBe((SmtpOutcome.Unknown, (SmtpFailure?)SmtpFailure.Timeout));
    }

    [Fact]
    public async Task Cancelling_behind_the_final_dot_is_unknown_and_before_it_an_exception()
    {
        using var cancel = new CancellationTokenSource();
        await using (
            var server = new ScriptedServer(async peer =>
            {
                await UpToDotAsync(peer);
                await cancel.CancelAsync();
                await peer.LineAsync();
            }))
        {
            await using var client = await SmtpClient.ConnectAsync(server.ClientOptions, TimeProvider.System);
            (await client.SendAsync(null, One, Simple(), cancel.Token))[0].Outcome.ShouldBe(SmtpOutcome.Unknown);
            client.IsUsable.ShouldBeFalse();
        }

        await using var other = await TestServer.StartAsync();
        await using var second = await SmtpClient.ConnectAsync(other.ClientOptions, TimeProvider.System);
        await Should.ThrowAsync<OperationCanceledException>(() => second.SendAsync(null, One, Simple(), cancel.Token));
    }

    [Fact]
    public async Task A_connection_lost_before_the_final_dot_is_transient()
    {
        var body = Encoding.ASCII.GetBytes(string.Concat(Enumerable.Repeat(new string('x', 98) + "\r\n", 300_000)));
        var result = await SendAsync(
            async peer =>
            {
                await UpToDataAsync(peer);
                await peer.LineAsync();
            },
            message: new MemoryStream(body));
        result.Outcome.ShouldBe(SmtpOutcome.Transient);
        result.Failure.ShouldBe(SmtpFailure.ConnectionLost);
    }

    [Theory]
    [InlineData("550 5.7.1 no\r\n", SmtpOutcome.Permanent)]
    [InlineData("450 4.7.1 wait\r\n", SmtpOutcome.Transient)]
    [InlineData("421 4.7.0 bye\r\n", SmtpOutcome.Transient)]
    [InlineData("", SmtpOutcome.Transient)]
    public async Task A_sender_refused_is_refused_for_every_recipient(string answer, SmtpOutcome outcome)
    {
        await using var server = new ScriptedServer(async peer =>
        {
            await peer.WriteAsync("220 hello\r\n");
            await peer.LineAsync();
            await peer.WriteAsync("250-mx\r\n250 PIPELINING\r\n");
            await peer.LineAsync();
            await peer.LineAsync();
            await peer.LineAsync();
            await peer.WriteAsync(answer.Length == 0 ? "" : answer + "503 no\r\n503 no\r\n");
        });
        await using var client = await SmtpClient.ConnectAsync(server.ClientOptions, TimeProvider.System);
        var results = await client.SendAsync("a@b.vn", ["c@d.vn", "e@f.vn"], Simple());
        results.Select(r => r.Outcome).ShouldBe([outcome, outcome]);
    }

    [Theory]
    [InlineData("354 go", "250 ok", "354 go")]
    [InlineData("250 ok", "354 go", "354 go")]
    [InlineData("250 ok", "250 ok", "250 ok")]
    [InlineData("250 ok", "250 ok", "334 go")]
    public async Task A_yes_in_the_wrong_place_takes_no_message(string mail, string rcpt, string data)
    {
        var result = await SendAsync(async peer =>
        {
            await peer.WriteAsync("220 hello\r\n");
            foreach (var reply in new[] { "250 mx", mail, rcpt, data })
            {
                if (await peer.LineAsync() is null)
                {
                    return;
                }

                await peer.WriteAsync(reply + "\r\n");
            }

            await peer.LineAsync();
        });
        (result.Outcome, result.Failure).ShouldBe((SmtpOutcome.Transient, (SmtpFailure?)SmtpFailure.Protocol));
    }

    [Fact]
    public async Task A_server_that_takes_no_more_of_the_message_is_left_before_the_final_dot()
    {
        var body = Encoding.ASCII.GetBytes(string.Concat(Enumerable.Repeat(new string('x', 98) + "\r\n", 300_000)));
        var left = new TaskCompletionSource();
        await using var server = new ScriptedServer(async peer =>
        {
            await UpToDataAsync(peer);
            await left.Task;
        });
        await using var client = await SmtpClient.ConnectAsync(
            server.ClientOptions with
            {
                Timeouts = new() { DataBlock = TimeSpan.FromMilliseconds(300) },
            },
            TimeProvider.System);
        var result = (await client.SendAsync("a@b.vn", One, new MemoryStream(body))).ShouldHaveSingleItem();
        left.SetResult();
        (result.Outcome, result.Failure).ShouldBe((SmtpOutcome.Transient, (SmtpFailure?)SmtpFailure.Timeout));
    }

    [Fact]
    public async Task Data_refused_is_refused_for_those_accepted()
    {
        var result = await SendAsync(async peer =>
        {
            await peer.WriteAsync("220 hello\r\n");
            foreach (var reply in new[] { "250 mx", "250 ok", "250 ok", "451 4.3.0 no room" })
            {
                await peer.LineAsync();
                await peer.WriteAsync(reply + "\r\n");
            }
        });
        (result.Outcome, result.Reply!.Enhanced).ShouldBe((SmtpOutcome.Transient, "4.3.0"));
    }

    [Theory]
    [InlineData("Subject: x\n\nbody\n")]
    [InlineData("Subject: x\r\n\r\nbo\rdy\r\n")]
    [InlineData("Subject: x\r\n\r\nbo\ndy\r\n")]
    [InlineData("Subject: x\r\n\r\nbo\0dy\r\n")]
    [InlineData("Subject: x\r\n\r\nbody\r")]
    [InlineData("Subject: x\r\n\r\n.\n\r\n")]
    [InlineData("")]
    public async Task A_message_that_another_server_could_split_is_refused_before_it_is_sent(string text)
    {
        await using var server = await TestServer.StartAsync();
        await using var client = await SmtpClient.ConnectAsync(server.ClientOptions, TimeProvider.System);
        var error = await Should.ThrowAsync<SmtpException>(() => client.SendAsync(null, One, Message(text)));
        (error.Outcome, error.Failure).ShouldBe((SmtpOutcome.Permanent, SmtpFailure.Message));
        (await client.SendAsync(null, One, Simple()))[0].Outcome.ShouldBe(SmtpOutcome.Delivered);
        server.Taken.Count.ShouldBe(1);
    }

    [Fact]
    public async Task Lines_size_and_8_bit_are_checked_against_what_the_server_takes()
    {
        await using var server = await TestServer.StartAsync(o =>
            o with
            {
                Limits = new SmtpServerLimits { MessageBytes = 2000 },
            });
        await using var client = await SmtpClient.ConnectAsync(server.ClientOptions, TimeProvider.System);
        (
            await Should.ThrowAsync<SmtpException>(() =>
                client.SendAsync(null, One, Message(new string('x', 999) + "\r\n")))
        ).Failure.ShouldBe(SmtpFailure.Message);
        (
            await Should.ThrowAsync<SmtpException>(() =>
                client.SendAsync(null, One, Message(string.Concat(Enumerable.Repeat("0123456\r\n", 300)))))
        ).Failure.ShouldBe(SmtpFailure.Message);
        (await client.SendAsync(null, One, Message("\u00e9\r\n")))[0].Outcome.ShouldBe(SmtpOutcome.Delivered);
        server.Taken.Single().Envelope.From.EightBit.ShouldBeTrue();

        await using var seven = new ScriptedServer(async peer =>
        {
            await peer.WriteAsync("220 hello\r\n");
            await peer.LineAsync();
            await peer.WriteAsync("250 mx\r\n");
            await peer.LineAsync();
        });
        await using var other = await SmtpClient.ConnectAsync(seven.ClientOptions, TimeProvider.System);
        (
            await Should.ThrowAsync<SmtpException>(() => other.SendAsync(null, One, Message("\u00e9\r\n")))
        ).Failure.ShouldBe(SmtpFailure.Message);
    }

    [Theory]
    [InlineData("a@b.vn>\r\nRCPT TO:<x@y.vn")]
    [InlineData("a b@c.vn")]
    [InlineData("tên@b.vn")]
    public async Task An_address_that_is_none_is_refused_before_anything_is_sent(string address)
    {
        await using var server = await TestServer.StartAsync();
        await using var client = await SmtpClient.ConnectAsync(server.ClientOptions, TimeProvider.System);
        await Should.ThrowAsync<MimeException>(() => client.SendAsync(null, [address], Simple()));
        await Should.ThrowAsync<MimeException>(() => client.SendAsync(address, One, Simple()));
        (await client.SendAsync(null, One, Simple()))[0].Outcome.ShouldBe(SmtpOutcome.Delivered);
    }
}
