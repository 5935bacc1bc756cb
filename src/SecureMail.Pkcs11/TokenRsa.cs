using System.Formats.Asn1;
using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace SecureMail.Pkcs11;

/// <summary>
/// An RSA key on a token. Signing and decryption go to the token; verification and encryption need only the public key
/// and stay here. The private key cannot be exported.
/// </summary>
internal sealed class TokenRsa : RSA
{
    private readonly TokenKey _key;
    private readonly RSA _public;

    public TokenRsa(TokenKey key, RSAParameters publicKey)
    {
        _key = key;
        _public = Create(publicKey);
        KeySizeValue = _public.KeySize;
        LegalKeySizesValue = [new KeySizes(KeySizeValue, KeySizeValue, 0)];
    }

    /// <exception cref="Pkcs11Exception">What the token answers.</exception>
    /// <exception cref="CryptographicException">A hash other than SHA-256, SHA-384 and SHA-512, or of the wrong
    /// length.</exception>
    public override byte[] SignHash(byte[] hash, HashAlgorithmName hashAlgorithm, RSASignaturePadding padding)
    {
        var algorithm = TokenHash.Of(hashAlgorithm);
        if (hash.Length != algorithm.Size)
        {
            throw new CryptographicException("The hash does not have the length of its algorithm.");
        }

        if (padding == RSASignaturePadding.Pkcs1)
        {
            return Sign(new CkMechanism { Mechanism = new CULong(Ck.MechanismRsaPkcs) }, algorithm.DigestInfo(hash));
        }

        if (padding == RSASignaturePadding.Pss)
        {
            return SignPss(algorithm, hash);
        }

        throw new CryptographicException("The padding of a signature is PKCS#1 or PSS.");
    }

    private unsafe byte[] SignPss(TokenHash algorithm, byte[] hash)
    {
        // RFC 4055 §3.1: the salt as long as the hash, MGF1 with the same hash; what .NET does as well.
        var parameters = new CkRsaPkcsPssParams
        {
            HashAlgorithm = new CULong(algorithm.Mechanism),
            MaskGeneration = new CULong(algorithm.Mask),
            SaltLength = new CULong((uint)algorithm.Size),
        };
        return Sign(
            new CkMechanism
            {
                Mechanism = new CULong(Ck.MechanismRsaPss),
                Parameter = &parameters,
                ParameterLength = new CULong((uint)sizeof(CkRsaPkcsPssParams)),
            },
            hash);
    }

    private byte[] Sign(CkMechanism mechanism, byte[] input) =>
        _key.Use(
            (functions, session, key) => functions.SignInit(session, mechanism, key),
            "C_SignInit",
            (functions, session) =>
            {
                var signature = new byte[(KeySize + 7) / 8];
                Cryptoki.Check(functions.Sign(session, input, signature, out var written), "C_Sign");
                return signature[..written];
            });

    /// <exception cref="CryptographicException">The data was not encrypted for this key. One error whatever the
    /// reason.</exception>
    /// <exception cref="Pkcs11Exception">What the token answers otherwise.</exception>
    public override byte[] Decrypt(byte[] data, RSAEncryptionPadding padding)
    {
        if (padding == RSAEncryptionPadding.Pkcs1)
        {
            return Decrypt(new CkMechanism { Mechanism = new CULong(Ck.MechanismRsaPkcs) }, data);
        }

        if (padding.Mode == RSAEncryptionPaddingMode.Oaep)
        {
            return DecryptOaep(TokenHash.Of(padding.OaepHashAlgorithm, oaep: true), data);
        }

        throw new CryptographicException("The padding of encryption is PKCS#1 or OAEP.");
    }

    private unsafe byte[] DecryptOaep(TokenHash algorithm, byte[] data)
    {
        var parameters = new CkRsaPkcsOaepParams
        {
            HashAlgorithm = new CULong(algorithm.Mechanism),
            MaskGeneration = new CULong(algorithm.Mask),
            Source = new CULong(Ck.DataSpecified),
        };
        return Decrypt(
            new CkMechanism
            {
                Mechanism = new CULong(Ck.MechanismRsaOaep),
                Parameter = &parameters,
                ParameterLength = new CULong((uint)sizeof(CkRsaPkcsOaepParams)),
            },
            data);
    }

    private byte[] Decrypt(CkMechanism mechanism, byte[] data) =>
        _key.Use(
            (functions, session, key) =>
                functions.DecryptInit(session, mechanism, key) switch
                {
                    // A token that does not know this OAEP hash calls the parameters bad; that is a mechanism it does
                    // not have.
                    Ckr.ArgumentsBad => Ckr.MechanismParamInvalid,
                    var result => result,
                },
            "C_DecryptInit",
            (functions, session) =>
            {
                var plain = new byte[(KeySize + 7) / 8];
                try
                {
                    var result = functions.Decrypt(session, data, plain, out var written);
                    // Modules say "general error" of a bad padding as well; while the session lives, the data was the
                    // reason.
                    if (
                        result
                            is Ckr.DataInvalid
                                or Ckr.DataLenRange
                                or Ckr.EncryptedDataInvalid
                                or Ckr.EncryptedDataLenRange
                        || (result is Ckr.GeneralError or Ckr.FunctionFailed && functions.SessionLives(session)))
                    {
                        throw new CryptographicException("The data was not encrypted for this key.");
                    }

                    Cryptoki.Check(result, "C_Decrypt");
                    return plain[..written];
                }
                finally
                {
                    CryptographicOperations.ZeroMemory(plain);
                }
            });

    public override bool VerifyHash(
        byte[] hash, byte[] signature, HashAlgorithmName hashAlgorithm,
        RSASignaturePadding padding) => _public.VerifyHash(hash, signature, hashAlgorithm, padding);

    public override byte[] Encrypt(byte[] data, RSAEncryptionPadding padding) => _public.Encrypt(data, padding);

    /// <exception cref="CryptographicException">The private key was asked for.</exception>
    public override RSAParameters ExportParameters(bool includePrivateParameters) =>
        includePrivateParameters
            ? throw new CryptographicException("A private key does not leave its token.")
            : _public.ExportParameters(false);

    public override void ImportParameters(RSAParameters parameters) =>
        throw new CryptographicException("A key on a token cannot be replaced.");

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            _public.Dispose();
        }

        base.Dispose(disposing);
    }
}

/// <summary>A hash as Cryptoki numbers it.</summary>
internal sealed record TokenHash(int Size, uint Mechanism, uint Mask, string Oid)
{
    /// <param name="oaep">SHA-1 is let through for OAEP, where nothing rests on its collisions; never for
    /// signing.</param>
    public static TokenHash Of(HashAlgorithmName name, bool oaep = false) =>
        name.Name switch
        {
            "SHA256" => new(32, Ck.MechanismSha256, Ck.MaskSha256, "2.16.840.1.101.3.4.2.1"),
            "SHA384" => new(48, Ck.MechanismSha384, Ck.MaskSha384, "2.16.840.1.101.3.4.2.2"),
            "SHA512" => new(64, Ck.MechanismSha512, Ck.MaskSha512, "2.16.840.1.101.3.4.2.3"),
            "SHA1" when oaep => new(20, Ck.MechanismSha1, Ck.MaskSha1, "1.3.14.3.2.26"),
            _ => throw new CryptographicException("The hash is SHA-256, SHA-384 or SHA-512."),
        };

    /// <summary>RFC 8017 §9.2: DigestInfo, which CKM_RSA_PKCS pads but does not make.</summary>
    public byte[] DigestInfo(byte[] hash)
    {
        var writer = new AsnWriter(AsnEncodingRules.DER);
        using (writer.PushSequence())
        {
            using (writer.PushSequence())
            {
                writer.WriteObjectIdentifier(Oid);
                writer.WriteNull();
            }
            writer.WriteOctetString(hash);
        }
        return writer.Encode();
    }
}
