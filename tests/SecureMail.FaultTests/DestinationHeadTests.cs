using System.Diagnostics;
using System.Formats.Asn1;
using System.Globalization;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using SecureMail.Cms;
using SecureMail.Exchange;
using SecureMail.Gateway.Outbound;
using SecureMail.Gateway.Retention;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Ledger;
using SecureMail.Mail.Mime;
using SecureMail.Mail.Smtp.Client;
using SecureMail.Smime;
using SecureMail.Storage.Queue;
using SecureMail.Trust;
using Xunit.Abstractions;

namespace SecureMail.FaultTests;

/// <summary>One dispatch to several gateways: one signature, one ciphertext, and before it for each gateway a head that
/// names its own agencies alone.</summary>
public sealed class DestinationHeadTests(PostgresFixture postgres, ITestOutputHelper output)
    : IClassFixture<PostgresFixture>, IAsyncLifetime
{
    private const string Elsewhere = "gateway-c.test";

    private readonly string _folder = Directory.CreateTempSubdirectory("smhead").FullName;
    private readonly List<HostilePeer> _peers = [];
    private bool _down;

    public Task InitializeAsync() => Task.CompletedTask;

    public async Task DisposeAsync()
    {
        await Task.WhenAll(_peers.Select(p => p.DisposeAsync().AsTask()));
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public async Task Each_gateway_gets_the_one_ciphertext_behind_a_head_of_its_own()
    {
        var (pair, peer) = await StartAsync();
        await using var _ = pair;
        var dispatch = (
            await pair.A.Node.SubmitAsync(
                TwoGateways.Submission(TwoGateways.AnHoa, TwoGateways.BinhMinh), CancellationToken.None)
        ).DispatchId;
        var sent = await pair.A.OutgoingAsync(dispatch, d =>
            d.Recipients.Select(r => r.State).SequenceEqual(["acknowledged", "sent"]));
        var (here, there) = (
            await MailAtBAsync(pair, dispatch, TwoGateways.AnHoa), peer.Taken.ShouldHaveSingleItem().Octets);
        var whole = await Octets.ReadAsync(
            await pair.A.Node.OpenMessageAsync(sent.MessageBlob!.Value, CancellationToken.None));
        var (atB, atC, all) = (Envelope.Of(here), Envelope.Of(there), Envelope.Of(whole));
        var directory = await pair.A.Node.Directory.CurrentAsync(CancellationToken.None);
        var (anHoa, binhMinh) = (
            directory.FindEverByCode(TwoGateways.AnHoa)!, directory.FindEverByCode(TwoGateways.BinhMinh)!);
        atB.Serials.ShouldBe([SerialOf(anHoa)]);
        atC.Serials.ShouldBe([SerialOf(binhMinh)]);
        all.Serials.ShouldBe([SerialOf(anHoa), SerialOf(binhMinh)], ignoreOrder: true);
        atB.Ciphertext.ShouldBe(all.Ciphertext);
        atC.Ciphertext.ShouldBe(all.Ciphertext);

        // The same signature comes out of each, and nobody reads outside who else got one.
        var digest = await pair.A.Probe.Outgoing.SignedDigestAsync(dispatch);
        foreach (var (octets, agency) in new[] { (here, anHoa), (there, binhMinh), (whole, anHoa), (whole, binhMinh) })
        {
            using var judgement = await JudgeAsync(pair, octets, TestSigners.KeysOf(agency));
            (judgement.Verdict, judgement.EnvelopeIsProven, judgement.Headers!.To.Count).ShouldBe(
                (Verdict.Valid, true, 2));
            judgement.SignedBytesDigest.ShouldBe(digest);
            judgement.Message!.Mailboxes("To").ShouldBeEmpty();
        }

        using (var strange = await JudgeAsync(pair, here, TestSigners.KeysOf(binhMinh)))
        {
            strange.State.ShouldBe(FileState.Locked);
        }

        (await pair.A.Probe.Ledger.EntriesAsync(EntryKind.DispatchSigned)).ShouldBe(1);
        await pair.A.Probe.WaitUntilQuietAsync();
        (await pair.A.Probe.Outgoing.PrefixGatewaysAsync()).Count.ShouldBe(2);
    }

    [Fact]
    public async Task An_agency_that_moved_gets_the_head_that_has_it_and_a_row_of_an_older_node_the_whole_message()
    {
        _down = true;
        var (pair, peer) = await StartAsync();
        await using var _ = pair;
        var older = await QueuedForElsewhereAsync(pair);
        // As a node of the build before writes it.
        await pair.A.Probe.Outgoing.ForgetPrefixesAsync(older);
        _down = false;
        await pair.A.OutgoingAsync(older, d =>
            d.Recipients.Select(r => r.State).SequenceEqual(["acknowledged", "sent"]));
        Envelope.Of(peer.Taken.ShouldHaveSingleItem().Octets).Serials.Count.ShouldBe(2);

        _down = true;
        var moved = await QueuedForElsewhereAsync(pair);
        var document = await TestDirectory.ReadAsync(await pair.PublishAsync(2));
        var signed = await TestDirectory.SignAsync(document with { Gateways = [.. document.Gateways, peer.Record] });
        await pair.A.Node.Directory.ImportAsync(signed, CancellationToken.None);
        await pair.B.Node.Directory.ImportAsync(signed, CancellationToken.None);
        await pair.A.OutgoingAsync(moved, d => d.Recipients.All(r => r.State == "acknowledged"));
        var directory = await pair.A.Node.Directory.CurrentAsync(CancellationToken.None);
        var (first, second) = (
            Envelope.Of(await MailAtBAsync(pair, moved, TwoGateways.AnHoa)),
            Envelope.Of(await MailAtBAsync(pair, moved, TwoGateways.BinhMinh)));
        first.Serials.ShouldBe([SerialOf(directory.FindEverByCode(TwoGateways.AnHoa)!)]);
        second.Serials.ShouldBe([SerialOf(directory.FindEverByCode(TwoGateways.BinhMinh)!)]);
        second.Ciphertext.ShouldBe(first.Ciphertext);
        peer.Messages.ShouldBe(1);
    }

    [Fact]
    public async Task Heads_serve_a_gateway_that_lost_its_mail_and_go_with_the_message()
    {
        var (pair, peer) = await StartAsync();
        await using var _ = pair;
        await pair.ListeningAsync();
        List<Guid> dispatches = [];
        for (var n = 0; n < 3; n++)
        {
            dispatches.Add(
                (
                    await pair.A.Node.SubmitAsync(
                        TwoGateways.Submission(TwoGateways.AnHoa, TwoGateways.BinhMinh), CancellationToken.None)
                ).DispatchId);
            await pair.A.OutgoingAsync(dispatches[n], d =>
                d.Recipients.Select(r => r.State).SequenceEqual(["acknowledged", "sent"]));
        }

        await pair.A.Probe.WaitUntilQuietAsync();
        await using (
            var client = await SmtpClient.ConnectAsync(
                new SmtpClientOptions
                {
                    Host = "127.0.0.1",
                    Port = pair.A.Port,
                    EhloName = Elsewhere,
                    RequireTls = true,
                    ClientCertificate = peer.Identity.Tls,
                    PinServer = _ => true,
                },
                TimeProvider.System))
        {
            (await client.CommandAsync("XRESEND 2026-01-01T00:00:00Z")).Lines.ShouldBe(["3"]);
        }

        await TwoGateways.UntilAsync(() => Task.FromResult(peer.Messages == 6), "what was lost");
        var mails = peer.Taken.Select(t => Envelope.Of(t.Octets)).ToList();
        mails.ShouldAllBe(m => m.Serials.Count == 1);
        mails.Select(m => m.Ciphertext.Length).ShouldAllBe(l => l > 0);
        mails
            .Select(m => Convert.ToHexString(SHA256.HashData(m.Ciphertext)))
            .CountBy(c => c)
            .Select(c => c.Value)
            .ShouldBe([2, 2, 2]);
        await pair.A.Probe.WaitUntilQuietAsync();

        // The first is erased, the second's time is over, the third stays.
        await pair.A.Probe.Outgoing.AcknowledgeAsync();
        await pair.A.Node.Erasure.EraseOutgoingAsync(
            dispatches[0], "Thu hồi", "vanthu", TestActor.VanThu, CancellationToken.None);
        await pair.A.Probe.Outgoing.AgeAsync(TimeSpan.FromDays(60), dispatches[1]);
        (await pair.A.SweepAsync(new RetentionOptions()))["composed"].ShouldBe(1);
        (await pair.A.Probe.Outgoing.PrefixDispatchesAsync()).ShouldBe([dispatches[2]]);
        (await pair.A.Probe.Outgoing.PrefixGatewaysAsync()).Count.ShouldBe(2);
    }

    [Fact]
    public async Task A_dispatch_to_3300_agencies_on_64_gateways_is_signed_and_encrypted_once_and_each_head_is_small()
    {
        const int Agencies = 3300,
            Gateways = 64;
        using var keys = new Communes(Agencies);
        for (var n = 0; n < Gateways; n++)
        {
            _peers.Add(new HostilePeer($"tinh-{n:00}.test", _folder, _ => null));
        }

        // From one agency behind a gateway to more than one mail has recipients.
        var behind = Enumerable
            .Range(0, Agencies)
            .Select(n => (int)Math.Sqrt(n / (double)Agencies * Gateways * Gateways))
            .ToArray();
        // How fast the machine is, is not the question here.
        await using var pair = await TwoGateways.StartAsync(
            postgres,
            changeA: o => o with { Health = o.Health with { SlowDatabase = TimeSpan.FromMinutes(1) } },
            changeDirectory: d =>
            {
                var like = d.Agencies.Single(a => a.Names.Any(n => n.Code == TwoGateways.BinhMinh));
                return d with
                {
                    Gateways = [.. d.Gateways, .. _peers.Select(p => p.Record)],
                    Agencies =
                    [
                        .. d.Agencies,
                        .. Enumerable
                            .Range(0, Agencies)
                            .Select(n =>
                                _peers[behind[n]].Agency(like, n, "H91.XA") with
                                {
                                    Certificates =
                                    [
                                        TestDirectory.Listed(CertificateUse.Encrypt, keys.Certificates[n].RawData),
                                    ],
                                }),
                    ],
                };
            });
        var content = RandomNumberGenerator.GetBytes(100_000);
        var started = Stopwatch.GetTimestamp();
        var dispatch = (
            await pair.A.Node.SubmitAsync(
                TwoGateways.Submission([.. Enumerable.Range(0, Agencies).Select(n => $"H91.XA.{n:000}")]) with
                {
                    Documents = TwoGateways.Documents(
                        new SubmittedDocument("Quét.pdf", "application/pdf", () => new MemoryStream(content))),
                },
                CancellationToken.None)
        ).DispatchId;
        var accepted = Stopwatch.GetElapsedTime(started);
        await TwoGateways.UntilAsync(
            async () => await pair.A.Probe.Outgoing.StateAsync(dispatch) == "queued",
            "the seal");
        var queued = Stopwatch.GetElapsedTime(started);
        await TwoGateways.UntilAsync(
            async () => await pair.A.Probe.Outgoing.TransmissionsAsync([TransmissionState.Sent]) == Agencies,
            "all of it to be sent");
        var sent = Stopwatch.GetElapsedTime(started);

        var whole = await Octets.ReadAsync(
            await pair.A.Node.OpenMessageAsync(
                (await pair.A.Node.Outgoing.FindAsync(dispatch, CancellationToken.None))!.MessageBlob!.Value,
                CancellationToken.None));
        var mails = _peers
            .SelectMany(
                (p, n) => p.Taken.Select(t => (Gateway: n, t.Recipients, t.Octets, Envelope: Envelope.Of(t.Octets))))
            .ToList();
        output.WriteLine(
            string.Create(
                CultureInfo.InvariantCulture,
                $"accepted {accepted.TotalSeconds:0.0} s, queued {(queued - accepted).TotalSeconds:0.0} s "
                    + $"later, all sent {(sent - queued).TotalSeconds:0.0} s later"
            ));
        output.WriteLine(
            string.Create(
                CultureInfo.InvariantCulture,
                $"{mails.Count} mails, {mails.Sum(m => (long)m.Octets.Length):N0} octets; the whole message is "
                    + $"{whole.Length:N0} octets, {mails.Count} of it {(long)whole.Length * mails.Count:N0}"
            ));

        var prefixes = await pair.A.Probe.Outgoing.PrefixSizesAsync();
        var cut = prefixes.Max(p => p.BodyOffset);
        var (smallest, largest) = (prefixes.Min(p => p.Length), prefixes.Max(p => p.Length));
        output.WriteLine(
            string.Create(
                CultureInfo.InvariantCulture,
                $"heads of {smallest:N0} to {largest:N0} octets for "
                    + $"{behind.GroupBy(b => b).Min(b => b.Count())} to {behind.GroupBy(b => b).Max(b => b.Count())} "
                    + $"agencies, {cut:N0} for all; the body is {whole.Length - cut:N0}"
            ));
        var ciphertext = Envelope.Of(whole).Ciphertext;
        (await pair.A.Probe.Ledger.EntriesAsync(EntryKind.DispatchSigned)).ShouldBe(1);
        var digest = await pair.A.Probe.Outgoing.SignedDigestAsync(dispatch);
        for (var n = 0; n < Gateways; n++)
        {
            var ours = Enumerable.Range(0, Agencies).Where(a => behind[a] == n).ToList();
            var copies = mails.Where(m => m.Gateway == n).ToList();
            copies
                .SelectMany(m => m.Recipients)
                .Order()
                .ShouldBe(ours.Select(a => $"vanthu{a}@tinh-{n:00}.test").Order());
            foreach (var mail in copies)
            {
                // One ciphertext in all; keys for those behind this gateway and nobody else; a head that grows with
                // their number, and with no one else's.
                mail.Envelope.Ciphertext.AsSpan().SequenceEqual(ciphertext).ShouldBeTrue();
                mail.Envelope.Serials.ToHashSet()
                    .SetEquals(ours.Select(a => keys.Certificates[a].SerialNumber))
                    .ShouldBeTrue($"tinh-{n:00}.test: {mail.Envelope.Serials.Count} keys for {ours.Count}");
                mail.Octets.AsSpan(mail.Octets.Length - (int)(whole.Length - cut))
                    .SequenceEqual(whole.AsSpan((int)cut))
                    .ShouldBeTrue();
                (mail.Octets.Length - (whole.Length - cut)).ShouldBeLessThan((ours.Count * 800) + 8000);
                var outside = Encoding.ASCII.GetString(mail.Octets, 0, mail.Octets.AsSpan().IndexOf("\r\n\r\n"u8));
                outside.ShouldContain("\r\nTo: undisclosed-recipients:;\r\n");
                outside.ShouldNotContain("tinh-");
            }

            using var judgement = await JudgeAsync(pair, copies[0].Octets, [keys.Of(ours[^1])]);
            (judgement.Verdict, judgement.Headers!.To.Count).ShouldBe((Verdict.Valid, Agencies));
            judgement.SignedBytesDigest.ShouldBe(digest);
            using var strange = await JudgeAsync(pair, copies[0].Octets, [keys.Of((ours[^1] + 1) % Agencies)]);
            strange.State.ShouldBe(FileState.Locked);
        }

        mails.Sum(m => (long)m.Octets.Length).ShouldBeLessThan((long)whole.Length * mails.Count / 2);
    }

    /// <summary>A and B as ever, but that Bình Minh is served by a third gateway, which takes mail when it is
    /// up.</summary>
    private async Task<(TwoGateways Pair, HostilePeer Peer)> StartAsync()
    {
        var peer = new HostilePeer(Elsewhere, _folder, _ => _down ? new PeerFault("greeting", "reset") : null);
        _peers.Add(peer);
        return (
            await TwoGateways.StartAsync(
                postgres,
                changeA: o =>
                    o with
                    {
                        Probe = new RetrySchedule(TimeSpan.FromMilliseconds(100), TimeSpan.FromMilliseconds(400)),
                    },
                changeDirectory: d =>
                    (d with { Gateways = [.. d.Gateways, peer.Record] }).With(
                        TwoGateways.BinhMinh, a => a.ServedBy(Elsewhere))),
            peer);
    }

    private static async Task<Guid> QueuedForElsewhereAsync(TwoGateways pair)
    {
        var dispatch = (
            await pair.A.Node.SubmitAsync(
                TwoGateways.Submission(TwoGateways.AnHoa, TwoGateways.BinhMinh), CancellationToken.None)
        ).DispatchId;
        await pair.A.OutgoingAsync(dispatch, d =>
            d.Recipients.Select(r => r.State).SequenceEqual(["acknowledged", "queued"]));
        return dispatch;
    }

    private static async Task<byte[]> MailAtBAsync(TwoGateways pair, Guid dispatch, string code)
    {
        var agency = (await pair.B.Node.Directory.CurrentAsync(CancellationToken.None)).FindEverByCode(code)!;
        var incoming = (await pair.B.Node.Incoming.ListAsync(code, null, 100, CancellationToken.None)).Single(m =>
            m.DispatchId == dispatch);
        incoming.Disposition.ShouldBe("inbox", agency.LastName.Name);
        return await Octets.ReadAsync(
            await pair.B.Node.Incoming.OpenReceivedAsync(incoming.Id, CancellationToken.None));
    }

    private static Task<MessageValidation> JudgeAsync(
        TwoGateways pair, byte[] octets, IReadOnlyList<RecipientKey> keys) =>
        MessageValidator.ValidateAsync(
            new MemoryStream(octets),
            keys,
            new ValidationOptions
            {
                Trust = TrustMaterial.Load(pair.A.Options.Anchors, pair.A.Options.Intermediates, pair.A.Options.Crls),
                At = DateTimeOffset.UtcNow,
            });

    private static string SerialOf(Agency agency) =>
        agency.CertificatesFor(CertificateUse.Encrypt).ShouldHaveSingleItem().Certificate.SerialNumber;

    /// <summary>What a mail is encrypted to, and its ciphertext.</summary>
    private sealed record Envelope(IReadOnlyList<string> Serials, byte[] Ciphertext)
    {
        public static Envelope Of(byte[] mail)
        {
            using var decoded = MailMessage.Parse(mail).Root.OpenDecoded();
            using var cms = new MemoryStream();
            decoded.CopyTo(cms);
            // RFC 5083 §2.1: AuthEnvelopedData; RFC 5652 §6.2.1, §6.2.2: a recipient of either kind, here by issuer and
            // serial number.
            var info = new AsnReader(cms.ToArray(), AsnEncodingRules.DER).ReadSequence();
            info.ReadObjectIdentifier().ShouldBe("1.2.840.113549.1.9.16.1.23");
            var data = info.ReadSequence(new Asn1Tag(TagClass.ContextSpecific, 0)).ReadSequence();
            data.ReadInteger();
            var originator = new Asn1Tag(TagClass.ContextSpecific, 0, isConstructed: true);
            if (data.PeekTag() == originator)
            {
                data.ReadEncodedValue();
            }

            List<string> serials = [];
            var agreement = new Asn1Tag(TagClass.ContextSpecific, 1, isConstructed: true);
            for (var recipients = data.ReadSetOf(); recipients.HasData;)
            {
                var recipient =
                    recipients.PeekTag() == agreement
                        ? Agreed(recipients.ReadSequence(agreement))
                        : recipients.ReadSequence();
                if (recipient.PeekTag() == Asn1Tag.Integer)
                {
                    recipient.ReadInteger();
                }

                var name = recipient.ReadSequence();
                name.ReadEncodedValue();
                serials.Add(Convert.ToHexString(name.ReadIntegerBytes().Span));
            }

            var content = data.ReadSequence();
            content.ReadObjectIdentifier();
            content.ReadEncodedValue();
            return new Envelope(serials, content.ReadOctetString(new Asn1Tag(TagClass.ContextSpecific, 0)));
        }

        /// <summary>The one RecipientEncryptedKey: version, originator and algorithm stand before it.</summary>
        private static AsnReader Agreed(AsnReader agreement)
        {
            agreement.ReadInteger();
            agreement.ReadEncodedValue();
            agreement.ReadEncodedValue();
            var keys = agreement.ReadSequence();
            var key = keys.ReadSequence();
            keys.HasData.ShouldBeFalse();
            return key;
        }
    }

    /// <summary>Certificates of their own for thousands of agencies; a handful of keys behind them, for making
    /// thousands is slow.</summary>
    private sealed class Communes : IDisposable
    {
        private readonly RSA[] _keys = [.. Enumerable.Range(0, 4).Select(_ => RSA.Create(2048))];

        public Communes(int count)
        {
            using var ca = X509CertificateLoader.LoadCertificateFromFile(Path.Combine(TwoGateways.Pki, "issuing.pem"));
            using var caKey = RSA.Create();
            caKey.ImportFromPem(File.ReadAllText(Path.Combine(TwoGateways.Pki, "ca", "issuing.key")));
            var signer = X509SignatureGenerator.CreateForRSA(caKey, RSASignaturePadding.Pkcs1);
            var (from, to) = (DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(30));
            Certificates =
            [
                .. Enumerable
                    .Range(0, count)
                    .Select(n =>
                    {
                        var request = new CertificateRequest(
                            $"CN=Xã {n}", _keys[n % 4], HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
                        request.CertificateExtensions.Add(
                            new X509KeyUsageExtension(X509KeyUsageFlags.KeyEncipherment, true));
                        request.CertificateExtensions.Add(
                            X509AuthorityKeyIdentifierExtension.CreateFromCertificate(ca, true, false));
                        return request.Create(
                            ca.SubjectName, signer, from, to, [0x01, .. RandomNumberGenerator.GetBytes(8)]);
                    }),
            ];
        }

        public IReadOnlyList<X509Certificate2> Certificates { get; }

        public RecipientKey Of(int n) => new(Certificates[n], _keys[n % 4]);

        public void Dispose()
        {
            foreach (var key in _keys)
            {
                key.Dispose();
            }

            foreach (var certificate in Certificates)
            {
                certificate.Dispose();
            }
        }
    }
}
