using System.Security.Cryptography.X509Certificates;
using SecureMail.Exchange;
using SecureMail.Gateway;
using SecureMail.Gateway.Keys;
using SecureMail.Gateway.Registers;
using SecureMail.SystemTests.Pkcs11;

namespace SecureMail.SystemTests.Gateway;

/// <summary>A token or key that cannot sign: nothing leaves, nothing is lost, the number is kept, and it goes on when
/// the cause is gone. A login is the whole process', so no other gateway may be logged in meanwhile.</summary>
[Collection("module")]
public sealed class TokenFaultTests : IClassFixture<PostgresFixture>
{
    private const string ThanhBinh = "H91.TB.001";

    private readonly PostgresFixture _postgres;

    public TokenFaultTests(PostgresFixture postgres)
    {
        _postgres = postgres;
        // Where an earlier test of this process is logged in still, no PIN is asked.
        LostModuleTests.LoseAll();
    }

    [Fact]
    public async Task A_wrong_pin_is_tried_once_and_the_work_is_held_until_a_person_acts()
    {
        using var pin = new PinFile("00000000");
        await using var pair = await TwoGateways.StartAsync(_postgres, a =>
            a with
            {
                Tokens =
                [
                    TwoGateways.TokenOf("tinh-uy-song-lam"),
                    TwoGateways.TokenOf("tinh-uy-thanh-binh") with
                    {
                        PinFile = pin.Path,
                    },
                ],
            });
        var submission = TwoGateways.Submission(TwoGateways.AnHoa) with { Sender = ThanhBinh };
        var first = await pair.A.Node.SubmitAsync(submission, CancellationToken.None);
        await AwaitsAsync(pair, first.DispatchId, "PIN_REFUSED", "held");

        // The right PIN alone changes nothing: that no further login was tried is seen by its not being used.
        pin.Write(await File.ReadAllTextAsync(TwoGateways.TokenOf("tinh-uy-thanh-binh").PinFile!));
        var second = await pair.A.Node.SubmitAsync(submission, CancellationToken.None);
        await AwaitsAsync(pair, second.DispatchId, "PIN_REFUSED", "held");
        (await pair.A.Probe.Queue.CountAsync(error: "0000")).ShouldBe(0);

        // The token of another agency is not concerned.
        var other = await pair.A.Node.SubmitAsync(TwoGateways.Submission(TwoGateways.AnHoa), CancellationToken.None);
        await pair.A.OutgoingAsync(other.DispatchId, Acknowledged);

        (await pair.A.Node.Waiting.ReleaseHeldAsync(TestActor.VanThu, CancellationToken.None)).ShouldBe(2);
        foreach (var (answer, number) in new[] { (first, "01-CV/VPTU"), (second, "02-CV/VPTU") })
        {
            (await pair.A.OutgoingAsync(answer.DispatchId, Acknowledged)).Card.Number.ShouldBe(number);
        }

        (await pair.B.Node.Incoming.ListAsync(TwoGateways.AnHoa, "inbox", 10, CancellationToken.None)).Count.ShouldBe(
            3);
    }

    [Fact]
    public async Task One_act_of_a_person_permits_one_try_however_much_work_it_frees()
    {
        using var pin = new PinFile("00000000");
        await using var pair = await TwoGateways.StartAsync(_postgres);
        var options = new GatewaySetup
        {
            Name = "gateway-a.test",
            DataFolder = pair.Folder,
            Anchors = [System.IO.Path.Combine(TwoGateways.Pki, "root.pem")],
            Intermediates = [System.IO.Path.Combine(TwoGateways.Pki, "issuing.pem")],
            Crls =
            [
                System.IO.Path.Combine(TwoGateways.Pki, "root.crl.pem"),
                System.IO.Path.Combine(TwoGateways.Pki, "issuing.crl.pem"),
            ],
            Tokens = [TwoGateways.TokenOf("hong-ha") with { PinFile = pin.Path }],
        };
        using var keys = new AgencyKeys(
            options.Keys,
            new CertificateChoice(new GatewayTrust(options.Settings.Trust, TimeProvider.System), TimeProvider.System));
        var agency = (await pair.A.Node.Directory.CurrentAsync(CancellationToken.None)).FindByCode(
            "H90.SL.103", DateTimeOffset.UtcNow)!;
        var act = DateTime.UtcNow;
        Refused();
        keys.PersonActed(act);
        Refused();

        // The PIN is right from here on; only a try that must not be made could find out.
        pin.Write(await File.ReadAllTextAsync(TwoGateways.TokenOf("hong-ha").PinFile!));
        keys.PersonActed(act);
        Refused();
        keys.PersonActed(act.AddSeconds(1));
        keys.SignerOf(agency, CertificateUse.Dispatch).Certificate.Subject.ShouldContain("Hồng Hà");

        void Refused()
        {
            var refused = Should.Throw<KeyUnavailableException>(() => keys.SignerOf(agency, CertificateUse.Dispatch));
            (refused.Code, refused.NeedsPerson).ShouldBe(("PIN_REFUSED", true));
        }
    }

    [Fact]
    public async Task A_pin_file_that_is_missing_holds_the_work()
    {
        await using var pair = await TwoGateways.StartAsync(
            _postgres,
            a =>
                a with
                {
                    Tokens =
                    [
                        TwoGateways.TokenOf("phu-loc") with
                        {
                            PinFile = System.IO.Path.Combine(System.IO.Path.GetTempPath(), "no-such-pin"),
                        },
                    ],
                },
            changeDirectory: d =>
                d.With(TwoGateways.Province, a =>
                    a with
                    {
                        Certificates = [.. d.Agencies.Single(p => p.Names[0].Code == "H90.SL.104").Certificates],
                    }));
        var answer = await pair.A.Node.SubmitAsync(TwoGateways.Submission(TwoGateways.AnHoa), CancellationToken.None);
        await AwaitsAsync(pair, answer.DispatchId, "PIN_REFUSED", "held");
    }

    [Fact]
    public async Task A_token_that_is_absent_is_looked_for_again_and_used_when_it_is_there()
    {
        // The module itself comes later: the same as a token put in, as far as anybody can see from here.
        var module = System.IO.Path.Combine(System.IO.Path.GetTempPath(), $"smmodule-{Guid.NewGuid():N}.so");
        await using var pair = await TwoGateways.StartAsync(_postgres, a =>
            a with
            {
                Tokens =
                [
                    new TokenOptions($"pkcs11:token=khong-co?module-path={SoftHsm.Module}", null, null),
                    TwoGateways.TokenOf("tinh-uy-song-lam") with
                    {
                        Uri = $"pkcs11:token=tinh-uy-song-lam?module-path={module}",
                    },
                ],
            });
        var answer = await pair.A.Node.SubmitAsync(TwoGateways.Submission(TwoGateways.AnHoa), CancellationToken.None);
        await AwaitsAsync(pair, answer.DispatchId, "TOKEN_ABSENT", "ready");
        File.CreateSymbolicLink(module, SoftHsm.Module);
        try
        {
            (await pair.A.OutgoingAsync(answer.DispatchId, Acknowledged)).Card.Number.ShouldBe("01-CV/VPTU");
        }
        finally
        {
            File.Delete(module);
        }
    }

    [Fact]
    public async Task A_token_without_the_key_keeps_the_dispatch_waiting()
    {
        await using var pair = await TwoGateways.StartAsync(_postgres, a =>
            a with
            {
                Tokens = [TwoGateways.TokenOf("tinh-uy-song-lam")],
            });
        var answer = await pair.A.Node.SubmitAsync(
            TwoGateways.Submission(TwoGateways.AnHoa) with
            {
                Sender = "H90.SL.104",
            },
            CancellationToken.None);
        await AwaitsAsync(pair, answer.DispatchId, "KEY_ABSENT", "ready");
    }

    [Fact]
    public async Task An_expired_certificate_of_our_own_holds_the_dispatch()
    {
        // The directory knows no other certificate of the sender than one that ended yesterday.
        var now = DateTimeOffset.UtcNow;
        var (certificate, key) = TestDirectory.Certificate(
            X509KeyUsageFlags.DigitalSignature, now.AddYears(-2), now.AddDays(-1));
        using (certificate)
        using (key)
        {
            await using var pair = await TwoGateways.StartAsync(_postgres, changeDirectory: d =>
                d.With(TwoGateways.Province, a =>
                    a with
                    {
                        Certificates =
                        [
                            .. a.Certificates.Where(c => c.Use != CertificateUse.Dispatch),
                            TestDirectory.Listed(CertificateUse.Dispatch, certificate.RawData),
                        ],
                    }));
            var answer = await pair.A.Node.SubmitAsync(
                TwoGateways.Submission(TwoGateways.AnHoa), CancellationToken.None);
            await AwaitsAsync(pair, answer.DispatchId, "SIGNING_CERTIFICATE_EXPIRED", "held");
        }
    }

    private static bool Acknowledged(OutgoingDispatch dispatch) =>
        dispatch.Recipients.All(r => r.State == "acknowledged");

    /// <summary>It waits for its signature, with its number; nothing was signed, queued or sent.</summary>
    private static async Task AwaitsAsync(TwoGateways pair, Guid dispatch, string reason, string work)
    {
        var waiting = await pair.A.OutgoingAsync(dispatch, d => d.State == "awaiting-signature");
        waiting.Reason.ShouldBe(reason);
        waiting.Card.Number.ShouldEndWith("-CV/VPTU");
        waiting.Recipients.ShouldAllBe(r => r.State == "waiting");
        await TwoGateways.EventuallyAsync(
            async () =>
                (await pair.A.Node.Queue.ListAsync(CancellationToken.None)).FirstOrDefault(w =>
                    w.Subject == dispatch && w.State == work && w.LastError == reason),
            $"{work} {reason}");
        (await pair.A.Node.Ledger.AuditTrailAsync(dispatch, CancellationToken.None))
            .Select(l => l.Kind)
            .ShouldBe(["dispatch.accepted"]);
        (await pair.B.Probe.Incoming.CountAsync(dispatch: dispatch)).ShouldBe(0);
    }

    private sealed class PinFile : IDisposable
    {
        public PinFile(string pin) => Write(pin);

        public string Path { get; } = System.IO.Path.Combine(System.IO.Path.GetTempPath(), $"smpin-{Guid.NewGuid():N}");

        public void Write(string pin)
        {
            File.WriteAllText(Path, pin);
            File.SetUnixFileMode(Path, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        }

        public void Dispose() => File.Delete(Path);
    }
}
