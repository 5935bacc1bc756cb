using System.Security.Cryptography;

namespace SecureMail.Pkcs11;

/// <summary>
/// Tells by one operation of the token whether a public key is that of a private key, because a token need not tell the
/// public key of an elliptic-curve key, and CKA_ID and CKA_LABEL prove nothing (PKCS #11 2.40 §4.4). A key that signs
/// signs a random digest. A key that does not agrees on a secret with a key made here, or decrypts a random one. Tokens
/// leave CKA_SIGN out or set it wrongly, so the other operation is tried when the first is not allowed.
/// </summary>
/// <param name="signs">Whether the key may sign, as far as the token tells.</param>
/// <param name="open">Opens the private key with this public key, for one of the two uses.</param>
internal sealed class KeyTrial(bool signs, Func<PublicKeyValue, Pkcs11KeyUse, AsymmetricAlgorithm> open)
{
    private readonly byte[] _digest = RandomNumberGenerator.GetBytes(32);
    private byte[]? _signature;

    /// <exception cref="Pkcs11Exception">The token failed. That the key may not be used is no error here.</exception>
    public bool IsKeyOf(PublicKeyValue candidate) => Try(candidate, signs) ?? Try(candidate, !signs) ?? false;

    /// <summary>Null when the key may not be used so.</summary>
    private bool? Try(PublicKeyValue candidate, bool signing)
    {
        try
        {
            using var key = open(candidate, signing ? Pkcs11KeyUse.Signing : Pkcs11KeyUse.Decryption);
            return key switch
            {
                RSA rsa when signing => Signs(rsa),
                RSA rsa => Decrypts(rsa),
                ECDsa ecdsa => Signs(ecdsa),
                ECDiffieHellman agreement => Agrees(agreement),
                _ => false,
            };
        }
        catch (CryptographicException)
        {
            return false;
        }
        catch (Pkcs11Exception e)
            when (e.Fault is Pkcs11Fault.KeyUnusable or Pkcs11Fault.MechanismUnsupported or Pkcs11Fault.DataInvalid)
        {
            return null;
        }
    }

    private bool Signs(RSA key)
    {
        _signature ??= key.SignHash(_digest, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        return key.VerifyHash(_digest, _signature, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
    }

    private bool Signs(ECDsa key)
    {
        _signature ??= key.SignHash(_digest);
        return key.VerifyHash(_digest, _signature);
    }

    private bool Decrypts(RSA key) =>
        key.Decrypt(key.Encrypt(_digest, RSAEncryptionPadding.Pkcs1), RSAEncryptionPadding.Pkcs1)
            .AsSpan()
            .SequenceEqual(_digest);

    private static bool Agrees(ECDiffieHellman key)
    {
        using var other = ECDiffieHellman.Create(key.ExportParameters(false).Curve);
        using var ours = key.PublicKey;
        using var theirs = other.PublicKey;
        var secret = key.DeriveRawSecretAgreement(theirs);
        var expected = other.DeriveRawSecretAgreement(ours);
        var same = CryptographicOperations.FixedTimeEquals(secret, expected);
        CryptographicOperations.ZeroMemory(secret);
        CryptographicOperations.ZeroMemory(expected);
        return same;
    }
}
