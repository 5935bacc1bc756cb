using System.Diagnostics.CodeAnalysis;
using System.Formats.Asn1;
using System.Security.Cryptography;
using SecureMail.Cms.Asn1;

namespace SecureMail.Cms;

/// <summary>How content is encrypted when it is written.</summary>
public enum ContentCipher
{
    /// <summary>AES-256-GCM in AuthEnvelopedData (RFC 5083, RFC 5084): confidential, and any change is seen.</summary>
    Aes256Gcm,

    /// <summary>AES-256-CBC in EnvelopedData (RFC 3565), for readers that know no better: a change is not
    /// seen.</summary>
    Aes256Cbc,

    /// <summary>AES-128-GCM, for readers that announce no longer key.</summary>
    Aes128Gcm,

    /// <summary>AES-128-CBC, for readers that announce nothing else.</summary>
    Aes128Cbc,
}

/// <summary>A cipher, and whether the content's key is bound to it.</summary>
/// <param name="Cipher">How content is encrypted.</param>
/// <param name="BindsAlgorithm">
/// The content's key is derived by id-alg-cek-hkdf-sha256 (RFC 9709): whoever rewrites the algorithm (GCM to CBC, say)
/// has another key. Only for readers that announce it.
/// </param>
/// <param name="Downgrade">Why it is not the best there is, for the record; null when it is.</param>
public sealed record CipherChoice(ContentCipher Cipher, bool BindsAlgorithm = false, string? Downgrade = null)
{
    /// <summary>The cipher as it is, the key not bound to it.</summary>
    [SuppressMessage("Usage", "CA2225", Justification = "the constructor is the other way")]
    public static implicit operator CipherChoice(ContentCipher cipher) => new(cipher);

    /// <summary>A change of the content is seen by every reader.</summary>
    public bool IsAuthenticated => Cipher is ContentCipher.Aes256Gcm or ContentCipher.Aes128Gcm;

    /// <summary>The smime-type of what is written (RFC 8551 §3.2.2).</summary>
    public string SmimeType => IsAuthenticated ? "authEnveloped-data" : "enveloped-data";

    /// <summary>For the record: <c>AES-256-GCM</c>, or <c>AES-256-GCM, id-alg-cek-hkdf-sha256</c> where the key is
    /// bound to it.</summary>
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

    // Authentication before length: who changes a CBC ciphertext is not seen, while nobody searches 2^128 keys.
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
    /// The strongest cipher that every reader has announced, AES-256-GCM before the others. What a reader can do is
    /// taken from the directory or from a message it signed, never from an unsigned one, which would let a stranger
    /// choose the cipher; the caller answers for that.
    /// </summary>
    /// <param name="readers">One for each recipient; null for one whose capabilities are not known, who is written to
    /// in CBC.</param>
    public static CipherChoice For(IReadOnlyList<SmimeCapabilities?> readers)
    {
        bool All(string oid) => readers.Count > 0 && readers.All(r => r?.Has(oid) == true);
        var binds = All(Oids.CekHkdfSha256);
        if (All(Oids.Aes256Gcm))
        {
            return new CipherChoice(ContentCipher.Aes256Gcm, binds);
        }

        if (All(Oids.Aes128Gcm))
        {
            return new CipherChoice(ContentCipher.Aes128Gcm, binds, "a recipient announces no AES-256-GCM");
        }

        var unknown = readers.Count(r => r is null);
        var why =
            unknown > 0 ? $"of {unknown} recipients no capabilities are known" : "a recipient announces no AES-GCM";
        // RFC 8551 §2.7: who announces AES-128 only gets it; everyone else reads AES-256.
        var only128 = readers.Any(r => r is not null && !r.Has(Oids.Aes256Cbc) && r.Has(Oids.Aes128Cbc));
        return new CipherChoice(only128 ? ContentCipher.Aes128Cbc : ContentCipher.Aes256Cbc, binds, why);
    }

    /// <summary>Whether something is lost against another: authentication, a longer key, or the binding of the
    /// key.</summary>
    public bool IsWeakerThan(CipherChoice other) => Rank < other.Rank || (other.BindsAlgorithm && !BindsAlgorithm);

    /// <summary>contentEncryptionAlgorithm (RFC 5652 §10.1.4) for this nonce or IV, DER.</summary>
    internal byte[] Algorithm(byte[] nonce)
    {
        var writer = new AsnWriter(AsnEncodingRules.DER);
        AsnWriter.Scope? binding = BindsAlgorithm ? writer.PushSequence() : null;
        // RFC 9709 §2: the algorithm that it is derived for is the parameter.
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

/// <summary>The contentEncryptionAlgorithm of an object, with its parameters.</summary>
/// <param name="KeyInfo">What the key is derived for (RFC 9709): the algorithm's own DER; null when the key is used as
/// it is.</param>
internal sealed record ContentAlgorithm(
    string Name, int KeySize, bool IsGcm, byte[] Nonce, int TagSize, byte[]? KeyInfo = null)
{
    private static readonly byte[] DerivationSalt = "The Cryptographic Message Syntax"u8.ToArray();

    /// <summary>Triple DES: broken enough to say so (64-bit blocks, RFC 8551 §2.7 has dropped it), not enough to lose
    /// old mail.</summary>
    public bool IsWeak => Name == "3DES-CBC";

    /// <exception cref="CmsException">It is not AES-CBC, AES-GCM or triple DES, or its parameters are
    /// wrong.</exception>
    /// <exception cref="AsnContentException">It is malformed.</exception>
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

    /// <summary>The key to decrypt with, from the key that was wrapped; the caller wipes both.</summary>
    public byte[] ContentKey(byte[] wrapped) => KeyInfo is null ? [.. wrapped] : Derived(wrapped, KeyInfo);

    /// <summary>RFC 9709 §3: HKDF with SHA-256, a fixed salt, and the algorithm as info; as long as the key it comes
    /// from.</summary>
    public static byte[] Derived(byte[] key, byte[] algorithm)
    {
        var derived = new byte[key.Length];
        HKDF.DeriveKey(HashAlgorithmName.SHA256, key, derived, DerivationSalt, algorithm);
        return derived;
    }

    /// <summary>The block cipher of a CBC content.</summary>
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
            throw CmsException.Malformed("a GCM tag of another length than 12 to 16 octets");
        }

        if (nonce.Length is < 1 or > 16)
        {
            throw CmsException.Malformed("a GCM nonce of another length than 1 to 16 octets");
        }

        return new ContentAlgorithm(name, keySize, IsGcm: true, nonce, tagSize);
    }
}
