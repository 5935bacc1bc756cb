using System.Text;
using SecureMail.Mail.Mime;
using SecureMail.Mail.Smtp;
using SecureMail.Mail.Smtp.Client;
using SecureMail.Mail.Smtp.Messages;
using SecureMail.Mail.Smtp.Server;

namespace SecureMail.Tests.Mail;

public class SmtpServerTests
{
    private static async Task<RawPeer> GreetedAsync(TestServer server, string hello = "EHLO client.test")
    {
        var peer = await RawPeer.ConnectAsync(server.Endpoint);
        (await peer.ReplyAsync()).ShouldStartWith("220 mx.test");
        (await peer.AskAsync(hello)).ShouldStartWith("250");
        return peer;
    }

    private static async Task<RawPeer> InDataAsync(TestServer server)
    {
        var peer = await GreetedAsync(server);
        (await peer.AskAsync("MAIL FROM:<a@b.vn>")).ShouldStartWith("250 2.1.0");
        (await peer.AskAsync("RCPT TO:<c@d.vn>")).ShouldStartWith("250 2.1.5");
        (await peer.AskAsync("DATA")).ShouldStartWith("354");
        return peer;
    }

    [Fact]
    public async Task A_message_is_taken_with_its_dots_unstuffed()
    {
        await using var server = await TestServer.StartAsync();
        await using var peer = await InDataAsync(server);
        await peer.WriteAsync("Subject: x\r\n\r\n..dot\r\n.\r");
        await peer.WriteAsync("\n");
        (await peer.ReplyAsync()).ShouldBe("250 2.0.0 Taken");
        (await peer.AskAsync("QUIT")).ShouldStartWith("221");
        (await peer.LineAsync()).ShouldBeNull();
        var (envelope, octets) = server.Taken.ShouldHaveSingleItem();
        Encoding.ASCII.GetString(octets).ShouldBe("Subject: x\r\n\r\n.dot\r\n");
        envelope.From.Address.ShouldBe("a@b.vn");
        envelope.Recipients.ShouldHaveSingleItem().Address.ShouldBe("c@d.vn");
        envelope.Session.Hello.ShouldBe("client.test");
        server.Aborted.ShouldBe(0);
    }

    [Fact]
    public async Task What_is_offered_is_said_in_the_answer_to_ehlo()
    {
        await using var server = await TestServer.StartAsync(o =>
            o with
            {
                Limits = new SmtpServerLimits { MessageBytes = 4242 },
                ExtraEhloLines = (_, _) => Task.FromResult<IReadOnlyList<string>>(["XLEDGER mx.test/ledger+1234"]),
            });
        await using var peer = await RawPeer.ConnectAsync(server.Endpoint);
        await peer.ReplyAsync();
        (await peer.AskAsync("EHLO [127.0.0.1]")).ShouldBe(
            "250-mx.test|250-PIPELINING|250-8BITMIME|250-ENHANCEDSTATUSCODES|250-SIZE 4242|250 XLEDGER "
                + "mx.test/ledger+1234");
        (await peer.AskAsync("HELO x")).ShouldBe("250 mx.test");
    }

    /// <summary>Commands, comma-separated, then the reply to the last.</summary>
    [Theory]
    [InlineData("MAIL FROM:<a@b.vn>", "503 5.5.1")]
    [InlineData("DATA", "503 5.5.1")]
    [InlineData("STARTTLS", "503 5.5.1")]
    [InlineData("EHLO x,RCPT TO:<c@d.vn>", "503 5.5.1")]
    [InlineData("EHLO x,MAIL FROM:<a@b.vn>,DATA", "503 5.5.1")]
    [InlineData("EHLO x,MAIL FROM:<a@b.vn>,MAIL FROM:<a@b.vn>", "503 5.5.1")]
    [InlineData("EHLO x,MAIL FROM:<a@b.vn>,RCPT TO:<c@d.vn>,RSET,DATA", "503 5.5.1")]
    [InlineData("EHLO x,MAIL FROM:<a@b.vn>,RCPT TO:<c@d.vn>,EHLO x,DATA", "503 5.5.1")]
    [InlineData("EHLO x,STARTTLS", "502 5.5.1")]
    [InlineData("EHLO", "501 5.5.4")]
    [InlineData("EHLO a b", "501 5.5.4")]
    [InlineData("EHLO x,MAIL", "501 5.5.4")]
    [InlineData("EHLO x,MAIL FROM:a@b.vn", "501 5.5.4")]
    [InlineData("EHLO x,MAIL FROM:<a@@b.vn>", "501 5.1.7")]
    [InlineData("EHLO x,MAIL FROM:<a@b.vn> SIZE=1 SIZE=2", "501 5.5.4")]
    [InlineData("EHLO x,MAIL FROM:<a@b.vn> BODY=BINARYMIME", "501 5.5.4")]
    [InlineData("EHLO x,MAIL FROM:<a@b.vn> SMTPUTF8", "555 5.5.4")]
    [InlineData("EHLO x,MAIL FROM:<a@b.vn> SIZE=99999999999", "552 5.3.4")]
    [InlineData("EHLO x,MAIL FROM:<>,RCPT TO:<>", "501 5.1.3")]
    [InlineData("EHLO x,MAIL FROM:<>,RCPT TO:<a>", "501 5.1.3")]
    [InlineData("EHLO x,MAIL FROM:<>,RCPT TO:<postmaster>", "250 2.1.5")]
    [InlineData("EHLO x,MAIL FROM:<>,RCPT TO:<@relay.vn:c@d.vn>", "250 2.1.5")]
    [InlineData("EHLO x,MAIL FROM:<> SIZE=5 BODY=8BITMIME", "250 2.1.0")]
    [InlineData("mail from:<a@b.vn>", "503 5.5.1")]
    [InlineData("VRFY root", "252 2.1.5")]
    [InlineData("NOOP whatever", "250 2.0.0")]
    [InlineData("RSET now", "501 5.5.4")]
    [InlineData("TURN", "500 5.5.2")]
    [InlineData("", "500 5.5.2")]
    [InlineData("NO\0OP", "500 5.5.2")]
    [InlineData("NOOP \r x", "500 5.5.2")]
    [InlineData("NOOP \u00e9", "500 5.5.2")]
    public async Task Commands_out_of_order_or_out_of_grammar_are_answered_as_the_table_says(
        string commands, string reply)
    {
        await using var server = await TestServer.StartAsync();
        await using var peer = await RawPeer.ConnectAsync(server.Endpoint);
        await peer.ReplyAsync();
        string? last = null;
        foreach (var command in commands.Split(','))
        {
            last = await peer.AskAsync(command);
        }

        last.ShouldStartWith(reply);
        (await peer.AskAsync("NOOP")).ShouldStartWith("250");
        server.Taken.ShouldBeEmpty();
    }

    [Fact]
    public async Task A_command_that_is_too_long_is_refused_and_the_next_is_read()
    {
        await using var server = await TestServer.StartAsync();
        await using var peer = await GreetedAsync(server);
        (await peer.AskAsync("NOOP " + new string('x', 20_000))).ShouldStartWith("500 5.5.2");
        (await peer.AskAsync("NOOP")).ShouldStartWith("250");
    }

    [Theory]
    [InlineData("NOOP\nMAIL FROM:<a@b.vn>\r\n")]
    [InlineData("\n")]
    public async Task A_bare_line_feed_in_a_command_ends_the_session(string octets)
    {
        await using var server = await TestServer.StartAsync();
        await using var peer = await GreetedAsync(server);
        await peer.WriteAsync(octets);
        (await peer.ReplyAsync()).ShouldStartWith("500 5.5.2");
        (await peer.ReplyAsync()).ShouldBeNull();
    }

    [Fact]
    public async Task A_command_without_an_end_ends_the_session()
    {
        await using var server = await TestServer.StartAsync();
        await using var peer = await GreetedAsync(server);
        await peer.WriteAsync(new string('x', 70_000));
        (await peer.ReplyAsync()).ShouldStartWith("500 5.5.2");
        (await peer.ReplyAsync()).ShouldBeNull();
    }

    /// <summary>Each holds a false end of data and, behind it, another message. One reply may come, and it must be a
    /// refusal.</summary>
    [Theory]
    [InlineData("\n.\n")]
    [InlineData("\n.\r\n")]
    [InlineData("\r\n.\n")]
    [InlineData("\r.\r")]
    [InlineData("\r\n.\r")]
    [InlineData("\r.\r\n")]
    [InlineData("\r.\n")]
    [InlineData("\n.\r")]
    [InlineData("\r\n\0.\r\n")]
    [InlineData("\r\n.\0\r\n")]
    [InlineData("\r\r\n.\r\r\n")]
    [InlineData("\r\n.\r\r\n")]
    [InlineData("\n\n.\r\n")]
    public async Task No_false_end_of_data_smuggles_a_message(string end)
    {
        await using var server = await TestServer.StartAsync();
        await using var peer = await InDataAsync(server);
        await peer.WriteAsync(
            $"Subject: x\r\n\r\nfirst{end}MAIL FROM:<evil@x.vn>\r\nRCPT TO:<c@d.vn>\r\nDATA\r\nSubject: y\r\n\r\n"
                + "second\r\n.\r\n");
        (await peer.ReplyAsync()).ShouldStartWith("554 5.6.0");
        (await peer.AskAsync("NOOP")).ShouldStartWith("250");
        server.Taken.ShouldBeEmpty();
        server.Aborted.ShouldBe(1);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(7)]
    public void The_end_of_data_is_found_whatever_pieces_it_comes_in(int piece)
    {
        var input = "..a\r\n.b\r\n\r\n....\r\nlong line of text\r\n.\r\nNOOP\r\n"u8.ToArray();
        var reader = new DataReader();
        var output = new MemoryStream();
        var buffer = new byte[64];
        var position = 0;
        for (var done = false; !done;)
        {
            done = reader.Feed(
                input.AsSpan(position, Math.Min(piece, input.Length - position)), buffer, out var consumed,
                out var written);
            output.Write(buffer, 0, written);
            position += consumed;
        }

        reader.IsBad.ShouldBeFalse();
        Encoding.ASCII.GetString(output.ToArray()).ShouldBe(".a\r\nb\r\n\r\n...\r\nlong line of text\r\n");
        Encoding.ASCII.GetString(input[position..]).ShouldBe("NOOP\r\n");
    }

    [Fact]
    public async Task Pipelined_commands_are_answered_in_order()
    {
        await using var server = await TestServer.StartAsync();
        await using var peer = await GreetedAsync(server);
        await peer.WriteAsync("MAIL FROM:<a@b.vn>\r\nRCPT TO:<c@d.vn>\r\nRCPT TO:<bad>\r\nDATA\r\n");
        (await peer.ReplyAsync()).ShouldStartWith("250 2.1.0");
        (await peer.ReplyAsync()).ShouldStartWith("250 2.1.5");
        (await peer.ReplyAsync()).ShouldStartWith("501 5.1.3");
        (await peer.ReplyAsync()).ShouldStartWith("354");
        await peer.WriteAsync("one\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<c@d.vn>\r\nDATA\r\n");
        (await peer.ReplyAsync()).ShouldStartWith("250 2.0.0");
        (await peer.ReplyAsync()).ShouldStartWith("250 2.1.0");
        (await peer.ReplyAsync()).ShouldStartWith("250 2.1.5");
        (await peer.ReplyAsync()).ShouldStartWith("354");
        await peer.WriteAsync(".\r\nQUIT\r\n");
        (await peer.ReplyAsync()).ShouldStartWith("250 2.0.0");
        (await peer.ReplyAsync()).ShouldStartWith("221");
        server.Taken.Select(t => t.Octets.Length).ShouldBe([5, 0]);
    }

    [Fact]
    public async Task A_message_that_grows_too_large_is_refused_and_the_session_goes_on()
    {
        await using var server = await TestServer.StartAsync(o =>
            o with
            {
                Limits = new SmtpServerLimits { MessageBytes = 1000 },
            });
        await using var peer = await InDataAsync(server);
        await peer.WriteAsync(new string('x', 900) + "\r\n" + new string('x', 900) + "\r\n.\r\n");
        (await peer.ReplyAsync()).ShouldStartWith("552 5.3.4");
        (await peer.AskAsync("NOOP")).ShouldStartWith("250");
        server.Taken.ShouldBeEmpty();
        server.Aborted.ShouldBe(1);
    }

    [Fact]
    public async Task A_refused_message_without_end_ends_the_session()
    {
        await using var server = await TestServer.StartAsync(o =>
            o with
            {
                Limits = new SmtpServerLimits { MessageBytes = 1000 },
            });
        await using var peer = await InDataAsync(server);
        await peer.WriteAsync(string.Concat(Enumerable.Repeat(new string('x', 998) + "\r\n", 100)));
        (await peer.ReplyAsync()).ShouldStartWith("421 4.3.4");
        (await peer.ReplyAsync()).ShouldBeNull();
    }

    [Fact]
    public async Task Recipients_errors_and_idle_commands_are_counted()
    {
        await using var server = await TestServer.StartAsync(o =>
            o with
            {
                Limits = new SmtpServerLimits
                {
                    Recipients = 2,
                    Errors = 3,
                    IdleCommands = 5,
                },
            });
        await using (var peer = await GreetedAsync(server))
        {
            await peer.AskAsync("MAIL FROM:<>");
            (await peer.AskAsync("RCPT TO:<a@b>")).ShouldStartWith("250");
            (await peer.AskAsync("RCPT TO:<b@b>")).ShouldStartWith("250");
            (await peer.AskAsync("RCPT TO:<c@b>")).ShouldStartWith("452 4.5.3");
            for (var i = 0; i < 2; i++)
            {
                await peer.AskAsync("BAD");
            }

            (await peer.AskAsync("BAD")).ShouldStartWith("500");
            (await peer.ReplyAsync()).ShouldStartWith("421 4.7.0");
            (await peer.ReplyAsync()).ShouldBeNull();
        }

        await using (var peer = await GreetedAsync(server))
        {
            for (var i = 0; i < 4; i++)
            {
                await peer.AskAsync("NOOP");
            }

            await peer.AskAsync("NOOP");
            (await peer.ReplyAsync()).ShouldStartWith("421 4.7.0");
        }
    }

    [Fact]
    public async Task Connections_beyond_the_limit_are_turned_away()
    {
        await using var server = await TestServer.StartAsync(o =>
            o with
            {
                Limits = new SmtpServerLimits { ConnectionsPerAddress = 1 },
            });
        await using var first = await GreetedAsync(server);
        await using var second = await RawPeer.ConnectAsync(server.Endpoint);
        (await second.ReplyAsync()).ShouldStartWith("421 4.7.0");
        (await first.AskAsync("NOOP")).ShouldStartWith("250");
    }

    [Fact]
    public async Task Messages_beyond_the_places_are_put_off_and_taken_when_a_place_is_free()
    {
        await using var server = await TestServer.StartAsync(o =>
            o with
            {
                Limits = new SmtpServerLimits { Messages = 2, MessagesPerPeer = 1 },
            });
        await using var first = await InDataAsync(server);
        await using var second = await GreetedAsync(server);
        for (var i = 0; i < 2; i++)
        {
            await second.AskAsync("MAIL FROM:<a@client.test>");
            await second.AskAsync("RCPT TO:<b@mx.test>");
            (await second.AskAsync("DATA")).ShouldStartWith(i == 0 ? "452 4.3.2" : "354");
            if (i == 0)
            {
                (await first.AskAsync("x\r\n.")).ShouldStartWith("250");
            }
        }
    }

    [Fact]
    public async Task A_delegate_refuses_with_a_reply_of_its_own_and_421_ends_the_session()
    {
        var code = 452;
        await using var server = await TestServer.StartAsync(o =>
            o with
            {
                OnMail = (_, _, _) => throw new SmtpRefusalException(new SmtpReply(code, "4.3.1", "Full")),
            });
        await using var peer = await GreetedAsync(server);
        (await peer.AskAsync("MAIL FROM:<a@client.test>")).ShouldBe("452 4.3.1 Full");
        code = 421;
        (await peer.AskAsync("MAIL FROM:<a@client.test>")).ShouldBe("421 4.3.1 Full");
        (await peer.ReplyAsync()).ShouldBeNull();
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_session_has_an_end_however_busy_it_is_and_one_without_TLS_a_sooner_one(bool withoutTls)
    {
        using var certificate = TestCertificates.SelfSigned("mx.test");
        var brief = TimeSpan.FromMilliseconds(300);
        var limits = withoutTls
            ? new SmtpServerLimits { TimeToTls = brief, IdleCommands = int.MaxValue }
            : new SmtpServerLimits { SessionTime = brief, IdleCommands = int.MaxValue };
        await using var server = await TestServer.StartAsync(o =>
            o with
            {
                Certificate = certificate,
                RequireTls = withoutTls,
                Limits = limits,
            });
        await using var peer = await RawPeer.ConnectAsync(server.Endpoint);
        var reply = await peer.ReplyAsync();
        using var limit = new TimeLimit("A session with a limit of its own");
        while (reply is not null && !reply.StartsWith("421 4.4.2", StringComparison.Ordinal))
        {
            try
            {
                reply = await peer.AskAsync("NOOP");
            }
            catch (IOException)
            {
                reply = null; // closed while we wrote
            }
        }
    }

    [Fact]
    public async Task Whoever_says_nothing_is_told_so_and_let_go()
    {
        var limits = new SmtpServerLimits
        {
            CommandTimeout = TimeSpan.FromMilliseconds(150),
            DataBlockTimeout = TimeSpan.FromMilliseconds(150),
        };
        await using var server = await TestServer.StartAsync(o => o with { Limits = limits });
        await using var peer = await RawPeer.ConnectAsync(server.Endpoint);
        await peer.ReplyAsync();
        (await peer.ReplyAsync()).ShouldStartWith("421 4.4.2");
        (await peer.ReplyAsync()).ShouldBeNull();
    }

    [Fact]
    public async Task Whoever_sends_commands_for_ever_and_no_message_is_let_go()
    {
        await using var server = await TestServer.StartAsync(o =>
            o with
            {
                Limits = new SmtpServerLimits
                {
                    TimeToData = TimeSpan.FromMilliseconds(200),
                    IdleCommands = int.MaxValue,
                },
            });
        await using var peer = await RawPeer.ConnectAsync(server.Endpoint);
        var reply = await peer.ReplyAsync();
        using var limit = new TimeLimit("A session with a limit of its own");
        while (reply is not null && !reply.StartsWith("421 4.4.2", StringComparison.Ordinal))
        {
            try
            {
                reply = await peer.AskAsync("NOOP");
            }
            catch (IOException)
            {
                reply = null; // closed while we wrote
            }
        }

        server.Taken.ShouldBeEmpty();
    }

    [Fact]
    public async Task A_message_that_trickles_is_cut_off_though_each_octet_comes_in_time()
    {
        var time = new SteppedTime();
        var limits = new SmtpServerLimits { DataGrace = TimeSpan.FromMinutes(1), DataBytesPerSecond = int.MaxValue };
        await using var server = await TestServer.StartAsync(o => o with { Limits = limits }, time);
        await using var peer = await InDataAsync(server);
        await peer.WriteAsync("x\r\n");
        await server.Arrived.Task;
        time.Step(limits.DataGrace);
        await peer.WriteAsync("x\r\n");

        (await peer.ReplyAsync()).ShouldStartWith("421 4.4.2");
        (await peer.LineAsync()).ShouldBeNull();
        server.Taken.ShouldBeEmpty();
        server.Aborted.ShouldBe(1);
    }

    /// <summary>The real clock, set forward by hand.</summary>
    private sealed class SteppedTime : TimeProvider
    {
        private long _ahead;

        public override long GetTimestamp() => base.GetTimestamp() + Interlocked.Read(ref _ahead);

        public void Step(TimeSpan by) => Interlocked.Add(ref _ahead, (long)(by.TotalSeconds * TimestampFrequency));
    }

    [Fact]
    public async Task What_the_product_cannot_do_now_is_answered_transient()
    {
        await using var server = await TestServer.StartAsync(o =>
            o with
            {
                OnMail = (_, mail, _) =>
                    mail.Address == "throw@b.vn"
                        ? throw new InvalidOperationException("no")
                        : Task.FromResult(new SmtpReply(250, "2.1.0", "ok")),
                OnRecipient = (_, _, recipient, _) =>
                    Task.FromResult(
                        recipient.Address == "no@d.vn"
                            ? new SmtpReply(550, "5.1.1", "no such mailbox")
                            : new SmtpReply(250, "2.1.5", "ok")),
            });
        server.OnCommit = () => throw new IOException("disk full");
        await using var peer = await GreetedAsync(server);
        (await peer.AskAsync("MAIL FROM:<throw@b.vn>")).ShouldStartWith("451 4.3.0");
        (await peer.AskAsync("MAIL FROM:<a@b.vn>")).ShouldStartWith("250");
        (await peer.AskAsync("RCPT TO:<no@d.vn>")).ShouldStartWith("550 5.1.1");
        (await peer.AskAsync("DATA")).ShouldStartWith("503");
        (await peer.AskAsync("RCPT TO:<c@d.vn>")).ShouldStartWith("250");
        (await peer.AskAsync("DATA")).ShouldStartWith("354");
        (await peer.AskAsync("x\r\n.")).ShouldStartWith("451 4.3.0");
        server.Aborted.ShouldBe(1);
        (await peer.AskAsync("NOOP")).ShouldStartWith("250");
    }

    [Fact]
    public async Task A_peer_that_goes_within_data_leaves_nothing_behind()
    {
        await using var server = await TestServer.StartAsync();
        await using (var peer = await InDataAsync(server))
        {
            await peer.WriteAsync("half a mess");
        }

        await server.DisposeAsync();
        server.Taken.ShouldBeEmpty();
        server.Aborted.ShouldBe(1);
    }

    [Fact]
    public async Task A_server_that_stops_says_so_to_whoever_is_connected()
    {
        var server = await TestServer.StartAsync();
        await using var idle = await GreetedAsync(server);
        await using var sending = await InDataAsync(server);
        await sending.WriteAsync("half a mess");
        await server.DisposeAsync();
        (await idle.ReplyAsync()).ShouldStartWith("421 4.3.2");
        (await sending.ReplyAsync()).ShouldStartWith("421 4.3.2");
        (server.Taken.Count, server.Aborted).ShouldBe((0, 1));
    }

    [Fact]
    public async Task Where_tls_is_required_nothing_else_is_done_before()
    {
        using var certificate = TestCertificates.SelfSigned("mx.test");
        await using var server = await TestServer.StartAsync(o =>
            o with
            {
                Certificate = certificate,
                RequireTls = true,
            });
        await using var peer = await GreetedAsync(server);
        (await peer.AskAsync("MAIL FROM:<a@b.vn>")).ShouldStartWith("530 5.7.0");
        (await peer.AskAsync("VRFY x")).ShouldStartWith("530 5.7.0");
        (await peer.AskAsync("STARTTLS")).ShouldStartWith("220");
        await peer.AsClientAsync(null);
        (await peer.AskAsync("MAIL FROM:<a@b.vn>")).ShouldStartWith("503"); // RFC 3207 §4.2: EHLO again
        (await peer.AskAsync("EHLO x"))!.ShouldNotContain("STARTTLS");
        (await peer.AskAsync("STARTTLS")).ShouldStartWith("503");
        (await peer.AskAsync("MAIL FROM:<a@b.vn>")).ShouldStartWith("250");
    }

    [Fact]
    public async Task What_is_sent_in_the_clear_behind_starttls_is_never_obeyed()
    {
        using var certificate = TestCertificates.SelfSigned("mx.test");
        await using var server = await TestServer.StartAsync(o => o with { Certificate = certificate });
        await using var peer = await GreetedAsync(server);
        await peer.WriteAsync("STARTTLS\r\nEHLO evil\r\nMAIL FROM:<evil@x.vn>\r\nRCPT TO:<c@d.vn>\r\n");
        (await peer.ReplyAsync()).ShouldStartWith("220");
        await peer.AsClientAsync(null);
        (await peer.AskAsync("DATA")).ShouldStartWith("503");
        (await peer.AskAsync("EHLO x")).ShouldStartWith("250");
        (await peer.AskAsync("DATA")).ShouldStartWith("503");
    }

    [Fact]
    public async Task A_private_command_is_for_peers_that_are_known_and_between_messages()
    {
        using var own = TestCertificates.SelfSigned("mx.test");
        using var client = TestCertificates.SelfSigned("peer.test");
        await using var server = await TestServer.StartAsync(o =>
            o with
            {
                Certificate = own,
                AuthenticatePeer = _ => "peer.test",
                PrivateCommands = new Dictionary<string, Func<SmtpPeer, string, CancellationToken, Task<SmtpReply>>>
                {
                    ["XHELD"] = (peer, argument, _) =>
                        Task.FromResult(new SmtpReply(250, "2.0.0", [$"{peer.Id} {argument}", "more"])),
                    ["XFAIL"] = (_, _, _) => throw new InvalidOperationException(),
                },
            });
        await using (var stranger = await GreetedAsync(server))
        {
            (await stranger.AskAsync("XHELD 3")).ShouldStartWith("500 5.5.2");
        }

        await using var known = await SmtpClient.ConnectAsync(
            server.ClientOptions with
            {
                RequireTls = true,
                ClientCertificate = client,
                PinServer = _ => true,
            },
            TimeProvider.System);
        var reply = await known.CommandAsync("xheld 3");
        (reply.Code, string.Join('|', reply.Lines)).ShouldBe((250, "peer.test 3|more"));
        (await known.CommandAsync("XFAIL")).Code.ShouldBe(451);
        (await known.CommandAsync("XOTHER")).Code.ShouldBe(500);
        (await known.CommandAsync("MAIL FROM:<a@b.vn>")).Code.ShouldBe(250);
        (await known.CommandAsync("XHELD 3")).Code.ShouldBe(500);
        (await known.CommandAsync("RSET")).Code.ShouldBe(250);
        foreach (var bad in new[] { "", "XHELD 3\r\nMAIL", "XHELD é", new string('X', 511) })
        {
            await Should.ThrowAsync<ArgumentException>(() => known.CommandAsync(bad));
        }

        (await known.CommandAsync("NOOP")).Code.ShouldBe(250);
    }
}
