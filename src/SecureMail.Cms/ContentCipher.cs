using System.Diagnostics.CodeAnalysis;
using System.Formats.Asn1;
using System.Security.Cryptography;
using SecureMail.Cms.Asn1;

namespace SecureMail.Cms;

/// <summary>How content is encrypted when it is written.</summary>
public enum ContentCipher
{
    /// <summary>AES-256-GCM in AuthEnvelopedData (RFC 5083, RFC 5084): encrypted and authenticated.</summary>
    Aes256Gcm,

    /// <summary>AES-256-CBC in EnvelopedData (RFC 3565), for recipients without AES-GCM: encrypted and not
    /// authenticated.</summary>
    Aes256Cbc,

    /// <summary>AES-128-GCM, for recipients that announce no longer key.</summary>
    Aes128Gcm,

    /// <summary>AES-128-CBC, for recipients that announce no other cipher.</summary>
    Aes128Cbc,
}

/// <summary>A cipher, and whether the content-encryption key is bound to it.</summary>
/// <param name="Cipher">How content is encrypted.</param>
/// <param name="BindsAlgorithm">
/// The content-encryption key is derived by id-alg-cek-hkdf-sha256 (RFC 9709), so that a changed algorithm (for example
/// CBC in place of GCM) gives another key. Only for recipients that announce it.
/// </param>
/// <param name="Downgrade">Why a weaker cipher was chosen, for the ledger; null for the strongest one.</param>
public sealed record CipherChoice(ContentCipher Cipher, bool BindsAlgorithm = false, string? Downgrade = null)
{
    /// <summary>The cipher, with the key not bound to it.</summary>
    [SuppressMessage("Usage", "CA2225", Justification = "the constructor is the other way")]
    public static implicit operator CipherChoice(ContentCipher cipher) => new(cipher);

    /// <summary>Whether every recipient detects a change of the content.</summary>
    public bool IsAuthenticated => Cipher is ContentCipher.Aes256Gcm or ContentCipher.Aes128Gcm;

    /// <summary>The smime-type of the message (RFC 8551 §3.2.2).</summary>
    public string SmimeType => IsAuthenticated ? "authEnveloped-data" : "enveloped-data";

    /// <summary>The name for the ledger: <c>AES-256-GCM</c>, or <c>AES-256-GCM, id-alg-cek-hkdf-sha256</c> when the key
    /// is bound to the cipher.</summary>
    public string Name => BindsAlgorithm ? $"{CipherName}, id-alg-cek-hkdf-sha256" : CipherName;

    internal int KeySize => Cipher is ContentCipher.Aes128Gcm or ContentCipher.Aes128Cbc ? 16 : 32;

    private string CipherName =>
        Cipher switch
        {
            ContentCipher.Aes256Gcm => "AES-256-GCM",
            ContentCipher.Aes128Gcm => "AES-128-GCM",
            ContentCipher.Aes256Cbc => "AES-256-CBC",
            _ => "AES-128-CBC",
        };

    // Authentication ranks above key length, because a changed CBC ciphertext is not detected, while a search of 2^128
    // keys is infeasible.
    private int Rank => (IsAuthenticated ? 2 : 0) + (KeySize == 32 ? 1 : 0);

    private string Oid =>
        Cipher switch
        {
            ContentCipher.Aes256Gcm => Oids.Aes256Gcm,
            ContentCipher.Aes128Gcm => Oids.Aes128Gcm,
            ContentCipher.Aes256Cbc => Oids.Aes256Cbc,
            _ => Oids.Aes128Cbc,
        };

    /// <summary>
    /// The strongest cipher that every recipient has announced, AES-256-GCM before the others. The caller takes
    /// capabilities from the directory or from a signed message, never from an unsigned message, because its sender
    /// could otherwise choose the cipher.
    /// </summary>
    /// <param name="recipients">The capabilities of each recipient; null when they are not known, which gives
    /// CBC.</param>
    public static CipherChoice For(IReadOnlyList<SmimeCapabilities?> recipients)
    {
        bool All(string oid) => recipients.Count > 0 && recipients.All(r => r?.Has(oid) == true);
        var binds = All(Oids.CekHkdfSha256);
        if (All(Oids.Aes256Gcm))
        {
            return new CipherChoice(ContentCipher.Aes256Gcm, binds);
        }

        if (All(Oids.Aes128Gcm))
        {
            return new CipherChoice(ContentCipher.Aes128Gcm, binds, "a recipient announces no AES-256-GCM");
        }

        var unknown = recipients.Count(r => r is null);
        var why =
            unknown > 0 ? $"of {unknown} recipients no capabilities are known" : "a recipient announces no AES-GCM";
        // RFC 8551 §2.7: AES-128 for a recipient that announces only AES-128, AES-256 for all others.
        var only128 = recipients.Any(r => r is not null && !r.Has(Oids.Aes256Cbc) && r.Has(Oids.Aes128Cbc));
        return new CipherChoice(only128 ? ContentCipher.Aes128Cbc : ContentCipher.Aes256Cbc, binds, why);
    }

    /// <summary>Whether this choice lacks something that the other has: authentication, a longer key, or the binding of
    /// the key.</summary>
    public bool IsWeakerThan(CipherChoice other) => Rank < other.Rank || (other.BindsAlgorithm && !BindsAlgorithm);

    /// <summary>contentEncryptionAlgorithm (RFC 5652 §10.1.4) for this nonce or IV, DER.</summary>
    internal byte[] EncodeAlgorithm(byte[] nonce)
    {
        var writer = new AsnWriter(AsnEncodingRules.DER);
        AsnWriter.Scope? binding = BindsAlgorithm ? writer.PushSequence() : null;
        // RFC 9709 §2: the parameter is the algorithm that the key is derived for.
        if (BindsAlgorithm)
        {
            writer.WriteObjectIdentifier(Oids.CekHkdfSha256);
        }

        using (writer.PushSequence())
        {
            writer.WriteObjectIdentifier(Oid);
            if (IsAuthenticated)
            {
                using (writer.PushSequence())
                {
                    writer.WriteOctetString(nonce);
                    writer.WriteInteger(Libcrypto.AesGcmContext.TagSize);
                }
            }
            else
            {
                writer.WriteOctetString(nonce);
            }
        }
        binding?.Dispose();
        return writer.Encode();
    }
}

/// <summary>The contentEncryptionAlgorithm of a message, with its parameters; sizes in bytes.</summary>
/// <param name="KeyInfo">The algorithm that the key is derived for (RFC 9709), as it was received; null when the key is
/// not derived.</param>
internal sealed record ContentAlgorithm(
    string Name, int KeySize, bool IsGcm, byte[] Nonce, int TagSize, byte[]? KeyInfo = null)
{
    private static readonly byte[] DerivationSalt = "The Cryptographic Message Syntax"u8.ToArray();

    /// <summary>Triple DES: weak (64-bit blocks; RFC 8551 §2.7 has dropped it), but still read, because old mail uses
    /// it.</summary>
    public bool IsWeak => Name == "3DES-CBC";

    /// <exception cref="CmsException">The algorithm is not AES-CBC, AES-GCM or triple DES, or its parameters are
    /// invalid.</exception>
    /// <exception cref="AsnContentException">The encoding is malformed.</exception>
    public static ContentAlgorithm Read(ReadOnlyMemory<byte> algorithmIdentifier)
    {
        AsnReader reader = new AsnReader(algorithmIdentifier, AsnEncodingRules.BER).ReadSequence();
        var oid = reader.ReadObjectIdentifier();
        if (oid != Oids.CekHkdfSha256)
        {
            return Read(oid, reader);
        }

        var inner = reader.ReadEncodedValue().ToArray();
        AsnReader innerReader = new AsnReader(inner, AsnEncodingRules.BER).ReadSequence();
        return Read(innerReader.ReadObjectIdentifier(), innerReader) with { KeyInfo = inner };
    }

    /// <summary>The key that encrypts the content, from the key that was wrapped. The caller wipes both.</summary>
    public byte[] DeriveContentKey(byte[] wrapped) => KeyInfo is null ? [.. wrapped] : DeriveKey(wrapped, KeyInfo);

    /// <summary>RFC 9709 §3: HKDF with SHA-256, a fixed salt, and the algorithm as info. The derived key is as long as
    /// <paramref name="key"/>.</summary>
    public static byte[] DeriveKey(byte[] key, byte[] algorithm)
    {
        var derived = new byte[key.Length];
        HKDF.DeriveKey(HashAlgorithmName.SHA256, key, derived, DerivationSalt, algorithm);
        return derived;
    }

    /// <summary>The block cipher of CBC.</summary>
    [SuppressMessage("Security", "CA5350", Justification = "read only, with a finding; never written")]
    public SymmetricAlgorithm CreateBlockCipher() => IsWeak ? TripleDES.Create() : Aes.Create();

    private static ContentAlgorithm Read(string oid, AsnReader reader) =>
        oid switch
        {
            Oids.Aes128Cbc => ReadCbc("AES-128-CBC", 16, 16, reader),
            Oids.Aes192Cbc => ReadCbc("AES-192-CBC", 24, 16, reader),
            Oids.Aes256Cbc => ReadCbc("AES-256-CBC", 32, 16, reader),
            Oids.TripleDesCbc => ReadCbc("3DES-CBC", 24, 8, reader),
            Oids.Aes128Gcm => ReadGcm("AES-128-GCM", 16, reader),
            Oids.Aes192Gcm => ReadGcm("AES-192-GCM", 24, reader),
            Oids.Aes256Gcm => ReadGcm("AES-256-GCM", 32, reader),
            _ => throw new CmsException(
                CmsError.UnsupportedAlgorithm,
                $"the content is encrypted with an algorithm that is not supported ({oid})"),
        };

    private static ContentAlgorithm ReadCbc(string name, int keySize, int block, AsnReader reader)
    {
        // RFC 3565 §4.1, RFC 3370 §5.1: the parameter is the IV, one block.
        var iv = reader.ReadOctetString();
        return iv.Length == block
            ? new ContentAlgorithm(name, keySize, IsGcm: false, iv, 0)
            : throw CmsException.Malformed("an IV that is not one block");
    }

    private static ContentAlgorithm ReadGcm(string name, int keySize, AsnReader reader)
    {
        // RFC 5084 §3.2: GCMParameters { nonce, ICVlen DEFAULT 12 }, ICVlen 12 to 16.
        AsnReader parameters = reader.ReadSequence();
        var nonce = parameters.ReadOctetString();
        var tagSize = 12;
        if (parameters.HasData && !parameters.TryReadInt32(out tagSize))
        {
            tagSize = 0;
        }

        parameters.ThrowIfNotEmpty();
        if (tagSize is < 12 or > 16)
        {
            throw CmsException.Malformed("a GCM tag of another length than 12 to 16 bytes");
        }

        if (nonce.Length is < 1 or > 16)
        {
            throw CmsException.Malformed("a GCM nonce of another length than 1 to 16 bytes");
        }

        return new ContentAlgorithm(name, keySize, IsGcm: true, nonce, tagSize);
    }
}
