using System.Formats.Asn1;
using System.Security.Cryptography;
using Net.Pkcs11Interop.Common;

namespace SecureMail.Pkcs11;

/// <summary>
/// An RSA key on a token. The token signs and decrypts. Verification and encryption are done here, because they need
/// only the public key. The private key cannot be exported.
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

    /// <exception cref="Pkcs11Exception">The error of the token.</exception>
    /// <exception cref="CryptographicException">The hash is not SHA-256, SHA-384 or SHA-512, or has the wrong
    /// length.</exception>
    public override byte[] SignHash(byte[] hash, HashAlgorithmName hashAlgorithm, RSASignaturePadding padding)
    {
        var algorithm = TokenHash.For(hashAlgorithm);
        if (hash.Length != algorithm.Size)
        {
            throw new CryptographicException("The hash does not have the length of its algorithm.");
        }

        if (padding == RSASignaturePadding.Pkcs1)
        {
            return Sign(new Mechanism(CKM.CKM_RSA_PKCS), algorithm.EncodeDigestInfo(hash));
        }

        if (padding == RSASignaturePadding.Pss)
        {
            // RFC 4055 §3.1: the salt is as long as the hash, and MGF1 uses the same hash. .NET does the same.
            return Sign(new PssMechanism(algorithm.Mechanism, algorithm.Mask, algorithm.Size), hash);
        }

        throw new CryptographicException("The padding of a signature is PKCS#1 or PSS.");
    }

    private byte[] Sign(Mechanism mechanism, byte[] input) =>
        _key.Execute(
            (functions, session, key) => functions.SignInit(session, mechanism, key),
            "C_SignInit",
            (functions, session) =>
            {
                var signature = new byte[(KeySize + 7) / 8];
                Cryptoki.Check(functions.Sign(session, input, signature, out var written), "C_Sign");
                return signature[..written];
            });

    /// <exception cref="CryptographicException">The data was not encrypted for this key. The error is the same for
    /// every cause.</exception>
    /// <exception cref="Pkcs11Exception">Another error of the token.</exception>
    public override byte[] Decrypt(byte[] data, RSAEncryptionPadding padding)
    {
        if (padding == RSAEncryptionPadding.Pkcs1)
        {
            return Decrypt(new Mechanism(CKM.CKM_RSA_PKCS), data, "C_DecryptInit with CKM_RSA_PKCS");
        }

        if (padding.Mode == RSAEncryptionPaddingMode.Oaep)
        {
            return DecryptOaep(padding.OaepHashAlgorithm, padding.OaepHashAlgorithm, [], data);
        }

        throw new CryptographicException("The padding of encryption is PKCS#1 or OAEP.");
    }

    /// <summary>Decrypts RSAES-OAEP with parameters that <see cref="RSAEncryptionPadding"/> does not have.</summary>
    /// <inheritdoc cref="Decrypt(byte[], RSAEncryptionPadding)"/>
    public byte[] DecryptOaep(HashAlgorithmName hash, HashAlgorithmName maskHash, byte[] label, byte[] data) =>
        Decrypt(
            new OaepMechanism(
                TokenHash.For(hash, oaep: true).Mechanism, TokenHash.For(maskHash, oaep: true).Mask, label),
            data,
            $"C_DecryptInit with CKM_RSA_PKCS_OAEP, hash {hash}, MGF1 with {maskHash}"
                + (label.Length == 0 ? "" : ", a label"));

    private byte[] Decrypt(Mechanism mechanism, byte[] data, string startName) =>
        _key.Execute(
            (functions, session, key) =>
                functions.DecryptInit(session, mechanism, key) switch
                {
                    // A token without this OAEP hash returns CKR_ARGUMENTS_BAD. It means an unsupported mechanism here.
                    Ckr.ArgumentsBad => Ckr.MechanismParamInvalid,
                    var result => result,
                },
            startName,
            (functions, session) =>
            {
                var plain = new byte[(KeySize + 7) / 8];
                try
                {
                    var result = functions.Decrypt(session, data, plain, out var written);
                    // Some modules return CKR_GENERAL_ERROR for a wrong padding too. When the session is still open,
                    // the data was the cause.
                    if (
                        result
                            is Ckr.DataInvalid
                                or Ckr.DataLenRange
                                or Ckr.EncryptedDataInvalid
                                or Ckr.EncryptedDataLenRange
                        || (result is Ckr.GeneralError or Ckr.FunctionFailed && functions.IsSessionOpen(session)))
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

    /// <exception cref="CryptographicException">The private key was requested.</exception>
    public override RSAParameters ExportParameters(bool includePrivateParameters) =>
        includePrivateParameters ? throw TokenKey.NotExportable() : _public.ExportParameters(false);

    public override void ImportParameters(RSAParameters parameters) => throw TokenKey.NotReplaceable();

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            _public.Dispose();
        }

        base.Dispose(disposing);
    }
}

/// <summary>A hash with its numbers in PKCS #11.</summary>
/// <param name="Size">Bytes.</param>
/// <param name="Mechanism">CKM_….</param>
/// <param name="Mask">CKG_MGF1_….</param>
/// <param name="Oid">Of the digest algorithm.</param>
internal sealed record TokenHash(int Size, CKM Mechanism, CKG Mask, string Oid)
{
    /// <param name="oaep">Allows SHA-224 and SHA-1, because OAEP does not depend on collision resistance. Signing
    /// never allows them.</param>
    public static TokenHash For(HashAlgorithmName name, bool oaep = false) =>
        name.Name switch
        {
            "SHA256" => new(32, CKM.CKM_SHA256, CKG.CKG_MGF1_SHA256, "2.16.840.1.101.3.4.2.1"),
            "SHA384" => new(48, CKM.CKM_SHA384, CKG.CKG_MGF1_SHA384, "2.16.840.1.101.3.4.2.2"),
            "SHA512" => new(64, CKM.CKM_SHA512, CKG.CKG_MGF1_SHA512, "2.16.840.1.101.3.4.2.3"),
            "SHA224" when oaep => new(28, CKM.CKM_SHA224, CKG.CKG_MGF1_SHA224, "2.16.840.1.101.3.4.2.4"),
            "SHA1" when oaep => new(20, CKM.CKM_SHA_1, CKG.CKG_MGF1_SHA1, "1.3.14.3.2.26"),
            _ => throw new CryptographicException("The hash is SHA-256, SHA-384 or SHA-512."),
        };

    /// <summary>RFC 8017 §9.2: DigestInfo, DER. CKM_RSA_PKCS pads it but does not encode it.</summary>
    public byte[] EncodeDigestInfo(byte[] hash)
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
