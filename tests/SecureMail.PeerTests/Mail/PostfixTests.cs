using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Threading.Channels;
using Microsoft.Extensions.Logging.Abstractions;
using SecureMail.Mail.Mime;
using SecureMail.Mail.Smtp;
using SecureMail.Mail.Smtp.Client;
using SecureMail.Mail.Smtp.Server;

namespace SecureMail.PeerTests.Mail;

public class PostfixTests
{
    [Fact]
    public async Task Mail_passes_from_our_client_through_postfix_to_our_server_unchanged()
    {
        var taken = Channel.CreateUnbounded<(SmtpEnvelope Envelope, byte[] Octets)>();
        using var certificate = SelfSigned("gateway.test");
        await using var server = new SmtpServer(
            new SmtpServerOptions
            {
                Listen = new IPEndPoint(IPAddress.Loopback, 0),
                HostName = "gateway.test",
                Certificate = certificate,
                RequireTls = true,
                OnData = (envelope, _) => Task.FromResult<SmtpReception>(new Reception(envelope, taken.Writer)),
            },
            TimeProvider.System,
            NullLogger.Instance);
        await server.StartAsync();
        await using var postfix = await Postfix.StartAsync(server.Endpoint.Port);

        await using var client = await SmtpClient.ConnectAsync(
            new SmtpClientOptions
            {
                Host = "127.0.0.1",
                Port = postfix.Port,
                EhloName = "gateway.test",
                RequireTls = true,
                PinServer = shown => shown.RawDataMemory.Span.SequenceEqual(postfix.Certificate.RawDataMemory.Span),
            },
            TimeProvider.System);
        client.Capabilities.Has("PIPELINING").ShouldBeTrue();
        for (var i = 0; i < 2; i++)
        {
            var body = await ComposeAsync(i);
            var results = await client.SendAsync(
                "vanthu@tinhuy.vn", ["xa1@huyen.vn", "xa2@huyen.vn"], new MemoryStream(body));
            results.Select(r => r.Outcome).ShouldBe([SmtpOutcome.Delivered, SmtpOutcome.Delivered]);

            using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(60));
            var (envelope, octets) = await taken.Reader.ReadAsync(patience.Token);
            envelope.From.Address.ShouldBe("vanthu@tinhuy.vn");
            envelope.Recipients.Select(r => r.Address).ShouldBe(["xa1@huyen.vn", "xa2@huyen.vn"], ignoreOrder: true);
            envelope.Session.Peer.IsTls.ShouldBeTrue();
            // Postfix writes its Received field before the message and changes nothing in it.
            Encoding.ASCII.GetString(octets).ShouldEndWith(Encoding.ASCII.GetString(body));
            MailMessage.Parse(octets).Subject.ShouldBe("Về việc tổ chức Hội nghị");
        }
    }

    private static async Task<byte[]> ComposeAsync(int number)
    {
        var memory = new MemoryStream();
        await MimeEntity
            .Multipart(
                "mixed",
                [
                    MimeEntity.Text("From đầu dòng\n.chấm\n\n.\ncuối  "),
                    MimeEntity.Leaf(
                        MimeContentType.Of("application/pdf"), () => new MemoryStream(new byte[200_000]),
                        fileName: "Công văn.pdf"),
                ])
            .AddMailboxes("From", [new Mailbox("Văn thư", "vanthu@tinhuy.vn")])
            .AddText("Subject", "Về việc tổ chức Hội nghị")
            .AddDate("Date", DateTimeOffset.UnixEpoch)
            .AddRaw("Message-ID", $"<{number}@tinhuy.vn>")
            .AddRaw("MIME-Version", "1.0")
            .WriteAsync(memory);
        return memory.ToArray();
    }

    private static X509Certificate2 SelfSigned(string name)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var now = TimeProvider.System.GetUtcNow();
        using var made = new CertificateRequest($"CN={name}", key, HashAlgorithmName.SHA256).CreateSelfSigned(
            now.AddDays(-1), now.AddDays(2));
        return X509CertificateLoader.LoadPkcs12(made.Export(X509ContentType.Pkcs12), null);
    }

    private sealed class Reception(SmtpEnvelope envelope, ChannelWriter<(SmtpEnvelope Envelope, byte[] Octets)> taken)
        : SmtpReception
    {
        private readonly MemoryStream _octets = new();

        public override Task WriteAsync(ReadOnlyMemory<byte> octets, CancellationToken ct)
        {
            _octets.Write(octets.Span);
            return Task.CompletedTask;
        }

        public override async Task<SmtpReply> CommitAsync(CancellationToken ct)
        {
            await taken.WriteAsync((envelope, _octets.ToArray()), ct);
            return new SmtpReply(250, "2.0.0", "Taken");
        }

        public override Task AbortAsync() => Task.CompletedTask;
    }
}
