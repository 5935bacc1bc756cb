using System.Runtime.InteropServices;
using System.Security.Cryptography;
using SecureMail.Pkcs11;

namespace SecureMail.SystemTests.Pkcs11;

/// <summary>What Pkcs11Interop does differently, or not at all: initialising, finalising, the PIN for each use of a
/// key.</summary>
[Collection("tokens")]
public sealed class BindingTests
{
    private const ulong NotInitialized = 0x190; // CKR_CRYPTOKI_NOT_INITIALIZED

    [Fact]
    public void A_module_that_other_code_initialised_stays_initialised()
    {
        using var copy = new ModuleCopy();
        copy.Initialize().ShouldBe(Ckr.Ok);
        using (var module = Pkcs11Module.Open(copy.Path))
        {
            module.ListTokens().ShouldContain(t => t.Label == TokenFixture.Label);
        }

        copy.CountSlots().ShouldBe(Ckr.Ok);
        copy.FinalizeModule().ShouldBe(Ckr.Ok);
    }

    [Fact]
    public void A_module_that_was_initialised_here_is_finalised_with_its_last_user_and_can_be_opened_again()
    {
        using var copy = new ModuleCopy();
        using (var first = Pkcs11Module.Open(copy.Path))
        {
            using (var second = Pkcs11Module.Open(copy.Path))
            {
                second.ListTokens().ShouldNotBeEmpty();
            }

            copy.CountSlots().ShouldBe(Ckr.Ok);
        }

        copy.CountSlots().ShouldBe(NotInitialized);
        using (var again = Pkcs11Module.Open(copy.Path))
        {
            again.ListTokens().ShouldContain(t => t.Label == TokenFixture.Label);
        }
    }

    [Theory]
    [InlineData("always-rsa")]
    [InlineData("always-ec")]
    public async Task A_key_with_CKA_ALWAYS_AUTHENTICATE_takes_the_PIN_for_each_use(string label)
    {
        // Made for each run of the test, because the fixture's keys are counted by others.
        await SoftHsm.ToolAsync(
            TokenFixture.Label, "--keypairgen", "--key-type", label == "always-rsa" ? "rsa:2048" : "EC:prime256v1",
            "--id", label == "always-rsa" ? "0a" : "0b", "--label", label, "--usage-sign", "--usage-decrypt",
            "--always-auth");
        var asked = 0;
        using var token = TokenFixture.Open(() =>
        {
            asked++;
            return TokenFixture.GoodPin();
        });
        byte[] message = [1, 2, 3];
        using var key = token.OpenKey(TokenFixture.Key(label));
        var before = asked;
        for (var i = 1; i <= 3; i++)
        {
            var valid = key is RSA rsa
                ? rsa.VerifyData(
                    message, rsa.SignData(message, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1),
                    HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1)
                : ((ECDsa)key).VerifyData(
                    message, ((ECDsa)key).SignData(message, HashAlgorithmName.SHA256), HashAlgorithmName.SHA256);
            valid.ShouldBeTrue();
            asked.ShouldBe(before + i);
        }

        if (key is RSA decrypting)
        {
            var secret = RandomNumberGenerator.GetBytes(32);
            decrypting
                .Decrypt(decrypting.Encrypt(secret, RSAEncryptionPadding.OaepSHA1), RSAEncryptionPadding.OaepSHA1)
                .ShouldBe(secret);
            asked.ShouldBe(before + 4);
        }
    }

    /// <summary>SoftHSM under another path, which has a state of its own in the process, with its functions as other
    /// code would call them.</summary>
    private sealed class ModuleCopy : IDisposable
    {
        private readonly string _folder = Directory.CreateTempSubdirectory("smcopy").FullName;
        private readonly nint _library;

        public ModuleCopy()
        {
            _ = SoftHsm.Folder;
            Path = System.IO.Path.Combine(_folder, "libsofthsm2.so");
            File.Copy(SoftHsm.Module, Path);
            _library = NativeLibrary.Load(Path);
        }

        private delegate nuint WithPointer(nint argument);

        private delegate nuint GetSlotList(byte present, nint slots, ref nuint count);

        public string Path { get; }

        public ulong Initialize() => Function<WithPointer>("C_Initialize")(0);

        public ulong FinalizeModule() => Function<WithPointer>("C_Finalize")(0);

        public ulong CountSlots()
        {
            nuint count = 0;
            return Function<GetSlotList>("C_GetSlotList")(1, 0, ref count);
        }

        public void Dispose() => Directory.Delete(_folder, recursive: true);

        private T Function<T>(string name) where T : Delegate =>
            Marshal.GetDelegateForFunctionPointer<T>(NativeLibrary.GetExport(_library, name));
    }
}
