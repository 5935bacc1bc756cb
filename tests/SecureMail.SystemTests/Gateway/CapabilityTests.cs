using SecureMail.Cms;
using SecureMail.Exchange;
using SecureMail.Gateway.Registers;
using SecureMail.Ledger;

namespace SecureMail.SystemTests.Gateway;

/// <summary>What the readers of agencies announce decides how dispatches to them are encrypted; nobody else's word and
/// no old message does.</summary>
public sealed class CapabilityTests(PostgresFixture postgres) : IClassFixture<PostgresFixture>
{
    private const string Best = "AES-256-GCM, id-alg-cek-hkdf-sha256";
    private static readonly Guid ProvinceId = Guid.Parse("0192f000-0000-7000-8000-000000000001");

    // id-alg-cek-hkdf-sha256 (RFC 9709) and id-aes256-CBC, as they stand in the envelope.
    private static readonly byte[] Binding = Convert.FromHexString("060b2a864886f70d010910031f");
    private static readonly byte[] Aes256Cbc = Convert.FromHexString("060960864801650304012a");

    private static readonly CmsAttribute OnlyCbc = SmimeCapabilities.Named("id-aes256-CBC").Attribute;

    [Fact]
    public async Task Who_announces_it_gets_a_key_bound_to_its_cipher_once_all_readers_do()
    {
        await using var pair = await TwoGateways.StartAsync(postgres);
        var first = await DeliveredAsync(pair.A, TwoGateways.AnHoa);
        (first.Cipher, first.CipherLimitedBy.Count).ShouldBe(("AES-256-GCM", 0));
        (await EnvelopeAsync(pair.A, first)).AsSpan().IndexOf(Binding).ShouldBe(-1);

        // The receipt said what An Hòa reads, and the dispatch what the province does.
        (await pair.B.Probe.Outgoing.CapabilitiesAsync(ProvinceId)).ShouldBe(SmimeCapabilities.Ours.Algorithms);
        var second = await DeliveredAsync(pair.A, TwoGateways.AnHoa);
        second.Cipher.ShouldBe(Best);
        (await EnvelopeAsync(pair.A, second)).AsSpan().IndexOf(Binding).ShouldBeGreaterThan(0);

        // Of Bình Minh nothing is known yet: authenticated all the same, and not bound.
        var third = await DeliveredAsync(pair.A, TwoGateways.AnHoa, TwoGateways.BinhMinh);
        (third.Cipher, third.CipherLimitedBy.Count).ShouldBe(("AES-256-GCM", 0));
        (await DeliveredAsync(pair.A, TwoGateways.AnHoa, TwoGateways.BinhMinh)).Cipher.ShouldBe(Best);
        (await pair.A.Probe.Ledger.EntriesAsync(EntryKind.DispatchDowngraded)).ShouldBe(0);
        (await WeakenedAsync(pair.A)).ShouldBe(0);
        (await pair.A.Node.Ledger.AlarmsAsync(CancellationToken.None)).ShouldBeEmpty();
    }

    [Fact]
    public async Task Who_announces_CBC_alone_gets_it_and_both_are_recorded()
    {
        await using var pair = await TwoGateways.StartAsync(postgres);
        await pair.ListeningAsync();
        (await DeliverAsync(pair, Announcing(pair, -60, OnlyCbc))).Disposition.ShouldBe("inbox");
        (await WeakenedAsync(pair.B)).ShouldBe(1);
        var alarm = (await pair.B.Node.Ledger.AlarmsAsync(CancellationToken.None)).ShouldHaveSingleItem();
        (alarm.Kind, alarm.Subject, alarm.Detail).ShouldBe(
            ("capabilities-weakened", TwoGateways.Province, "AES-256-GCM → AES-256-CBC"));

        var dispatch = await DeliveredAsync(
            pair.B,
            TwoGateways.Submission(TwoGateways.Province) with
            {
                Sender = TwoGateways.AnHoa,
            });
        (dispatch.Cipher, string.Join(' ', dispatch.CipherLimitedBy)).ShouldBe(("AES-256-CBC", TwoGateways.Province));
        var octets = await EnvelopeAsync(pair.B, dispatch);
        octets.AsSpan().IndexOf(Aes256Cbc).ShouldBeGreaterThan(0);
        octets.AsSpan().IndexOf(Binding).ShouldBe(-1);
        var story = await pair.B.Node.Ledger.AuditTrailAsync(dispatch.Id, CancellationToken.None);
        story.Count(l => l.Kind == "dispatch.downgraded" && l.Commitments.Count == 2).ShouldBe(1);
        story.Single(l => l.Kind == "dispatch.signed").Commitments.Keys.ShouldContain("cipher");

        // Its receipt was signed later and announces more.
        var next = await DeliveredAsync(
            pair.B,
            TwoGateways.Submission(TwoGateways.Province) with
            {
                Sender = TwoGateways.AnHoa,
            });
        (next.Cipher, next.CipherLimitedBy.Count).ShouldBe((Best, 0));
        (await WeakenedAsync(pair.B)).ShouldBe(1);
    }

    [Fact]
    public async Task A_message_signed_before_what_is_known_changes_nothing_however_often_it_comes()
    {
        await using var pair = await TwoGateways.StartAsync(postgres);
        await pair.ListeningAsync();
        (await DeliverAsync(pair, Announcing(pair, -30, SmimeCapabilities.Ours.Attribute))).Disposition.ShouldBe(
            "inbox");
        // Kept back on its way, or by somebody: it comes with good evidence, and late.
        var old = await Announcing(pair, -60, OnlyCbc).MakeAsync();
        (await SharedPair.DeliverAsync(pair, old)).Disposition.ShouldBe("inbox");
        (await SharedPair.DeliverAsync(pair, old)).Disposition.ShouldBe("duplicate");
        (await KnownAsync(pair.B)).ShouldBe(SmimeCapabilities.Ours.Algorithms);
        (await WeakenedAsync(pair.B)).ShouldBe(0);

        // The same, signed in the second of what is known.
        var second = await pair.B.Probe.Outgoing.CapabilitiesSignedAtAsync(ProvinceId);
        (
            await DeliverAsync(
                pair, new TestDispatch(pair) { Request = r => r with { Attributes = [OnlyCbc], SigningTime = second } })
        ).Disposition.ShouldBe("inbox");
        (await WeakenedAsync(pair.B)).ShouldBe(0);
        // A later one counts: that an agency's reader changes is its business, and the ledger's.
        (await DeliverAsync(pair, Announcing(pair, -10, OnlyCbc))).Disposition.ShouldBe("inbox");
        (await KnownAsync(pair.B)).ShouldBe(["2.16.840.1.101.3.4.1.42"]);
        (await WeakenedAsync(pair.B)).ShouldBe(1);
        (await pair.B.Node.Ledger.AlarmsAsync(CancellationToken.None))
            .ShouldHaveSingleItem()
            .Detail.ShouldBe($"{Best} → AES-256-CBC");
        // The word that stands, again and again, is no change.
        (await DeliverAsync(pair, Announcing(pair, -5, OnlyCbc))).Disposition.ShouldBe("inbox");
        (await WeakenedAsync(pair.B)).ShouldBe(1);
    }

    [Fact]
    public async Task What_its_agency_did_not_provably_sign_announces_nothing()
    {
        await using var pair = await TwoGateways.StartAsync(postgres);
        await pair.ListeningAsync();
        var cbc = Announcing(pair, -10, OnlyCbc);
        const string Address = "vanthu@tinhuy.songlam.test";
        foreach (
            var (made, reason) in new (TestDispatch, string)[]
            {
                (cbc with { Signer = TestSigners.Unlisted(Address) }, "SENDER_NOT_IN_DIRECTORY"),
                (cbc with { Signer = TestSigners.Stranger(Address) }, "UNTRUSTED"),
                (cbc with { AfterSigning = o => [.. o, (byte)'x'] }, "INVALID"),
                (cbc with { Change = m => m with { Sender = m.Recipients[0] } }, "SENDER_BINDING"),
            })
        {
            var message = await DeliverAsync(pair, made with { Id = Guid.CreateVersion7() });
            (message.Disposition, message.Reason).ShouldBe(("quarantine", reason));
        }

        // Without its ledger's evidence it did not come by its gateway.
        (
            await SharedPair.DeliverAsync(
                pair, (await (cbc with { Id = Guid.CreateVersion7() }).ComposeAsync()).Mail.Message)
        ).Reason.ShouldBe("LEDGER_EVIDENCE");
        // Good dispatches that announce nothing, or in a way that does not count.
        foreach (
            Func<SigningRequest, SigningRequest> request in new Func<SigningRequest, SigningRequest>[]
            {
                r => r with { Attributes = [] },
                r => r with { Attributes = [OnlyCbc], SigningTime = null },
                r => r with { Attributes = [OnlyCbc, OnlyCbc] },
                r => r with { Attributes = [OnlyCbc with { Values = [new byte[] { 0x30, 0x02, 0x05, 0x00 }] }] },
                r =>
                    r with
                    {
                        Attributes =
                        [
                            SmimeCapabilities.Of([.. Enumerable.Repeat("2.16.840.1.101.3.4.1.42", 5000)]).Attribute,
                        ],
                    },
            })
        {
            (await DeliverAsync(pair, new TestDispatch(pair) { Request = request })).Disposition.ShouldBe("inbox");
        }

        (await pair.B.Probe.Outgoing.AgenciesWithCapabilitiesAsync()).ShouldBe(0);
        (await WeakenedAsync(pair.B)).ShouldBe(0);
    }

    [Fact]
    public async Task The_directorys_word_counts_until_a_message_was_signed_after_it()
    {
        await using var pair = await TwoGateways.StartAsync(postgres, changeDirectory: d =>
            Stating(d, 1, d.Issued.AddMinutes(-5)));
        var first = await DeliveredAsync(pair.A, TwoGateways.AnHoa, TwoGateways.BinhMinh);
        (first.Cipher, string.Join(' ', first.CipherLimitedBy)).ShouldBe(("AES-256-CBC", TwoGateways.AnHoa));
        (await DeliveredAsync(pair.A, TwoGateways.AnHoa)).Cipher.ShouldBe(Best);

        // Its publisher takes it back, by a directory that is younger than every message.
        var document = await TestDirectory.ReadAsync(
            (await pair.A.Node.Directory.ExportAsync(CancellationToken.None))!);
        await pair.A.Node.Directory.ImportAsync(
            await TestDirectory.SignAsync(Stating(document, 2, DateTimeOffset.UtcNow.AddHours(1))),
            CancellationToken.None);
        for (var n = 0; n < 2; n++)
        {
            (await DeliveredAsync(pair.A, TwoGateways.AnHoa)).Cipher.ShouldBe("AES-256-CBC");
        }

        (await pair.A.Probe.Ledger.EntriesAsync(EntryKind.DispatchDowngraded)).ShouldBe(3);
        (await WeakenedAsync(pair.A)).ShouldBe(0);
    }

    private static DirectoryDocument Stating(DirectoryDocument document, long version, DateTimeOffset issued) =>
        document.With(TwoGateways.AnHoa, a => a with { Capabilities = ["id-aes256-CBC", "id-aes999-GCM"] }) with
        {
            Version = version,
            Issued = issued,
        };

    /// <summary>A dispatch of the province, signed so many seconds from now, that announces this.</summary>
    private static TestDispatch Announcing(TwoGateways pair, int seconds, CmsAttribute announced)
    {
        var at = DateTimeOffset.UtcNow.AddSeconds(seconds);
        return new TestDispatch(pair) { Request = r => r with { Attributes = [announced], SigningTime = at } };
    }

    private static async Task<IncomingMessage> DeliverAsync(TwoGateways pair, TestDispatch dispatch) =>
        await SharedPair.DeliverAsync(pair, await dispatch.MakeAsync());

    private static Task<string[]?> KnownAsync(RunningGateway gateway) =>
        gateway.Probe.Outgoing.CapabilitiesAsync(ProvinceId);

    private static Task<long> WeakenedAsync(RunningGateway gateway) =>
        gateway.Probe.Ledger.EntriesAsync(EntryKind.CapabilitiesWeakened);

    private static Task<OutgoingDispatch> DeliveredAsync(RunningGateway from, params string[] recipients) =>
        DeliveredAsync(from, TwoGateways.Submission(recipients));

    private static async Task<OutgoingDispatch> DeliveredAsync(
        RunningGateway from, SecureMail.Gateway.Outbound.Submission submission)
    {
        var answer = await from.Node.SubmitAsync(submission, CancellationToken.None);
        return await from.OutgoingAsync(answer.DispatchId, d => d.Recipients.All(r => r.State == "acknowledged"));
    }

    /// <summary>The envelope of a composed message, DER.</summary>
    private static async Task<byte[]> EnvelopeAsync(RunningGateway gateway, OutgoingDispatch dispatch)
    {
        using var reader = new StreamReader(
            await gateway.Node.OpenMessageAsync(dispatch.MessageBlob!.Value, CancellationToken.None));
        var message = await reader.ReadToEndAsync();
        return Convert.FromBase64String(message[(message.IndexOf("\r\n\r\n", StringComparison.Ordinal) + 4)..]);
    }
}
