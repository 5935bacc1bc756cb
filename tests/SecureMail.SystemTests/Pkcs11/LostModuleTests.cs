using System.Security.Cryptography;
using SecureMail.Pkcs11;

namespace SecureMail.SystemTests.Pkcs11;

/// <summary>A module that loses all that it had open. It is the process' own, so nothing else may use it
/// meanwhile.</summary>
[Collection("module")]
public sealed class LostModuleTests(TokenFixture tokens) : IClassFixture<TokenFixture>
{
    private static readonly byte[] Message = "Công văn số 1"u8.ToArray();

    [Fact]
    public void Sessions_that_died_under_a_key_are_opened_again()
    {
        _ = tokens;
        using var token = TokenFixture.Open();
        using var key = token.OpenRsa(TokenFixture.Key("seal"));
        key.SignData(Message, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        LoseAll();
        var signature = key.SignData(Message, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        key.VerifyData(Message, signature, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1).ShouldBeTrue();
    }

    /// <summary>The effect of a removed token on an application: all sessions and the login are lost.</summary>
    internal static void LoseAll()
    {
        _ = SoftHsm.Folder;
        using var module = Pkcs11Module.Open(SoftHsm.Module);
        module.Functions.FinalizeModule();
        module.Functions.Initialize().ShouldBe(Ckr.Ok);
    }
}

[CollectionDefinition("module", DisableParallelization = true)]
public sealed class ModuleCollection;
