using System.Security.Cryptography;

namespace SecureMail.Libcrypto;

/// <summary>
/// Verifies RSASSA-PSS signatures (RFC 8017 §8.1.2) whatever the length of their salt. .NET's
/// <see cref="RSASignaturePadding.Pss"/> knows one length only, that of the hash, while `openssl cms` and several
/// national tokens write the longest salt that fits.
/// Left out: making signatures, which the key's own <see cref="RSA"/> object does.
/// </summary>
public static class RsaPss
{
    /// <summary>Whether the signature is the key's over the hash.</summary>
    /// <param name="publicKey">DER SubjectPublicKeyInfo of an RSA key.</param>
    /// <param name="hash">The digest that was signed.</param>
    /// <param name="hashAlgorithm">The algorithm that made it: SHA1, SHA256, SHA384 or SHA512.</param>
    /// <param name="maskHash">The hash of the mask generation function MGF1.</param>
    /// <param name="saltLength">Octets of salt, as the signature's parameters say.</param>
    /// <param name="signature">The signature value.</param>
    /// <returns>False too for a key or parameters that cannot be right: hostile input is an answer, not an exception.</returns>
    public static unsafe bool Verify(ReadOnlySpan<byte> publicKey, ReadOnlySpan<byte> hash, HashAlgorithmName hashAlgorithm, HashAlgorithmName maskHash, int saltLength, ReadOnlySpan<byte> signature)
    {
        nint digest = Interop.EVP_get_digestbyname(hashAlgorithm.Name ?? "");
        nint mask = Interop.EVP_get_digestbyname(maskHash.Name ?? "");
        if (digest == 0 || mask == 0 || saltLength < 0 || publicKey.IsEmpty || signature.IsEmpty || hash.IsEmpty)
            return false;
        bool valid;
        fixed (byte* start = publicKey)
        {
            byte* data = start;
            using Interop.KeyHandle key = Interop.d2i_PUBKEY(0, ref data, publicKey.Length);
            if (key.IsInvalid)
            {
                Interop.ERR_clear_error();
                return false;
            }
            using Interop.KeyContextHandle context = Interop.CheckHandle(Interop.EVP_PKEY_CTX_new(key, 0), "allocating a key context");
            // Each setter refuses what the key cannot do (not RSA, a salt that does not fit): no match.
            valid = Interop.EVP_PKEY_verify_init(context) == 1
                && Interop.EVP_PKEY_CTX_set_rsa_padding(context, Interop.RSA_PKCS1_PSS_PADDING) == 1
                && Interop.EVP_PKEY_CTX_set_signature_md(context, digest) == 1
                && Interop.EVP_PKEY_CTX_set_rsa_mgf1_md(context, mask) == 1
                && Interop.EVP_PKEY_CTX_set_rsa_pss_saltlen(context, saltLength) == 1
                && Interop.EVP_PKEY_verify(context, signature, (nuint)signature.Length, hash, (nuint)hash.Length) == 1;
        }
        if (!valid)
            Interop.ERR_clear_error();
        return valid;
    }
}
