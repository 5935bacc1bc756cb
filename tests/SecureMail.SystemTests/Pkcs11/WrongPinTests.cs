using System.Security.Cryptography;
using System.Text;
using SecureMail.Pkcs11;

namespace SecureMail.SystemTests.Pkcs11;

/// <summary>OpenSC's pkcs11-spy stands between us and the token and writes down every call: the witness that no second
/// login happens.</summary>
[Collection("tokens")]
public sealed class WrongPinTests : IDisposable
{
    private const string Spy = "/usr/lib/x86_64-linux-gnu/pkcs11/pkcs11-spy.so";

    private static readonly string SpyLog = PrepareSpy();

    private static string PrepareSpy()
    {
        // Read by the spy once, when it is loaded.
        var log = Path.Combine(SoftHsm.Folder, "spy.log");
        SoftHsm.SetNativeVariable("PKCS11SPY", SoftHsm.Module);
        SoftHsm.SetNativeVariable("PKCS11SPY_OUTPUT", log);
        return log;
    }

    private readonly int _before = Logins();

    private static int Logins() =>
        File.Exists(SpyLog)
            ? File.ReadAllLines(SpyLog).Count(line => line.Contains(" C_Login", StringComparison.Ordinal))
            : 0;

    private int LoginsHere => Logins() - _before;

    // The latch is the process's: the next test starts as after a person's visit.
    public void Dispose()
    {
        using var token = TokenFixture.Open(module: Spy);
        token.AllowNextLogin();
    }

    [Fact]
    public void After_one_wrong_pin_no_login_is_attempted_until_a_person_acted()
    {
        var asked = 0;
        var pin = "000000";
        byte[] Ask()
        {
            asked++;
            return Encoding.UTF8.GetBytes(pin);
        }
        using (var token = TokenFixture.Open(Ask, module: Spy))
        {
            var first = Should.Throw<Pkcs11Exception>(() => token.OpenRsa(TokenFixture.Key("seal")));
            first.Fault.ShouldBe(Pkcs11Fault.PinIncorrect);
            first.Code.ShouldBe("CKR_PIN_INCORRECT");
            first.ToString().ShouldNotContain(pin);
            token.PinRefused.ShouldBeTrue();
            for (var i = 0; i < 5; i++)
            {
                Should
                    .Throw<Pkcs11Exception>(() => token.OpenRsa(TokenFixture.Key("seal")))
                    .Fault.ShouldBe(Pkcs11Fault.PinRefused);
            }

            LoginsHere.ShouldBe(1);
            asked.ShouldBe(1);
        }
        // Not even by a new object for the same token, and not with the right PIN.
        pin = SoftHsm.Pin;
        using (var again = TokenFixture.Open(Ask, module: Spy))
        {
            again.PinRefused.ShouldBeTrue();
            Should
                .Throw<Pkcs11Exception>(() => again.OpenRsa(TokenFixture.Key("seal")))
                .Fault.ShouldBe(Pkcs11Fault.PinRefused);
            again.FindCertificates(TokenFixture.Key("seal")).Count.ShouldBe(1, "what needs no PIN still works");
            LoginsHere.ShouldBe(1);
            again.AllowNextLogin();
            using var key = again.OpenRsa(TokenFixture.Key("seal"));
            key.SignData([1], HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1).Length.ShouldBe(256);
            LoginsHere.ShouldBe(2);
        }
    }

    [Fact]
    public async Task Many_threads_with_a_wrong_pin_make_one_attempt()
    {
        using var token = TokenFixture.Open(() => "999999"u8.ToArray(), module: Spy);
        var faults = await Task.WhenAll(
            Enumerable
                .Range(0, 8)
                .Select(_ =>
                    Task.Run(() => Should.Throw<Pkcs11Exception>(() => token.OpenRsa(TokenFixture.Key("seal"))).Fault))
        );
        LoginsHere.ShouldBe(1);
        faults.Count(fault => fault == Pkcs11Fault.PinIncorrect).ShouldBe(1);
        faults.Count(fault => fault == Pkcs11Fault.PinRefused).ShouldBe(7);
    }

    [Fact]
    public void Without_a_pin_nothing_is_attempted_and_nothing_is_held_against_the_next()
    {
        foreach (var pin in new[] { null, [], new byte[] { 0xEF, 0xBB, 0xBF } })
        {
            using var none = TokenFixture.Open(() => pin, module: Spy);
            Should
                .Throw<Pkcs11Exception>(() => none.OpenRsa(TokenFixture.Key("seal")))
                .Fault.ShouldBe(Pkcs11Fault.PinRequired);
        }

        LoginsHere.ShouldBe(0);
        using var token = TokenFixture.Open(module: Spy);
        using var key = token.OpenRsa(TokenFixture.Key("seal"));
        key.KeySize.ShouldBe(2048);
    }

    [Fact]
    public void The_pin_is_wiped_after_use()
    {
        var pin = TokenFixture.GoodPin();
        using var token = TokenFixture.Open(() => pin, module: Spy);
        using var key = token.OpenRsa(TokenFixture.Key("seal"));
        pin.ShouldAllBe(b => b == 0);
    }
}
