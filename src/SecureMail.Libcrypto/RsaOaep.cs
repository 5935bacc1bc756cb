using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace SecureMail.Libcrypto;

/// <summary>
/// Decrypts RSAES-OAEP (RFC 8017 §7.1.2) with any hash, any hash of MGF1 and any label, because .NET's
/// <see cref="RSA"/> takes one hash for both and the empty label only.
/// Left out: encrypting, because the parameters that .NET has are the ones that every recipient reads.
/// </summary>
public static class RsaOaep
{
    /// <summary>Whether libcrypto has this hash: SHA1, SHA224, SHA256, SHA384 or SHA512.</summary>
    public static bool IsSupported(HashAlgorithmName hash) =>
        hash.Name is "SHA1" or "SHA224" or "SHA256" or "SHA384" or "SHA512"
        && Interop.EVP_get_digestbyname(hash.Name) != 0;

    /// <summary>The plaintext; null when the data was not encrypted to this key with these parameters. The cause of a
    /// failure is not told, because it would help an attacker (RFC 8017 §7.1.2).</summary>
    /// <param name="privateKey">RSAPrivateKey (RFC 8017 A.1.2), DER. The caller wipes it.</param>
    /// <param name="hash">The hash of the label; <see cref="IsSupported"/> holds.</param>
    /// <param name="maskHash">The hash of MGF1; <see cref="IsSupported"/> holds.</param>
    /// <param name="label">The label L; empty by default.</param>
    /// <param name="encrypted">As long as the modulus.</param>
    /// <exception cref="CryptographicException">The private key cannot be loaded.</exception>
    public static unsafe byte[]? TryDecrypt(
        ReadOnlySpan<byte> privateKey, HashAlgorithmName hash, HashAlgorithmName maskHash, ReadOnlySpan<byte> label,
        ReadOnlySpan<byte> encrypted)
    {
        using Interop.KeyHandle key = Load(privateKey);
        using Interop.KeyContextHandle context = Interop.CheckHandle(
            Interop.EVP_PKEY_CTX_new_from_pkey(0, key, 0), "allocating a key context");
        Interop.Check(Interop.EVP_PKEY_decrypt_init(context), "starting a decryption");
        Interop.Check(
            Interop.EVP_PKEY_CTX_set_rsa_padding(context, Interop.RSA_PKCS1_OAEP_PADDING), "choosing RSAES-OAEP");
        Interop.Check(
            Interop.EVP_PKEY_CTX_set_rsa_oaep_md(context, Interop.EVP_get_digestbyname(hash.Name!)),
            "choosing the hash of RSAES-OAEP");
        Interop.Check(
            Interop.EVP_PKEY_CTX_set_rsa_mgf1_md(context, Interop.EVP_get_digestbyname(maskHash.Name!)),
            "choosing the hash of MGF1");
        if (!label.IsEmpty)
        {
            fixed (
                byte* name = "oaep-label\0"u8,
                    data = label)
            {
                Interop.Parameter* parameters = stackalloc Interop.Parameter[2];
                parameters[0] = new Interop.Parameter
                {
                    Key = name,
                    Type = Interop.Parameter.OctetString,
                    Data = data,
                    DataSize = (nuint)label.Length,
                };
                parameters[1] = default;
                Interop.Check(Interop.EVP_PKEY_CTX_set_params(context, parameters), "giving the label of RSAES-OAEP");
            }
        }

        // RFC 8017 §7.1.2: the plaintext is shorter than the modulus, which is as long as the encrypted data. libcrypto
        // wants room for a whole modulus; the key itself is not longer than its encoding.
        var plain = new byte[privateKey.Length];
        try
        {
            var length = (nuint)plain.Length;
            if (Interop.EVP_PKEY_decrypt(context, plain, ref length, encrypted, (nuint)encrypted.Length) == 1)
            {
                return plain[..(int)length];
            }

            Interop.ERR_clear_error();
            return null;
        }
        finally
        {
            CryptographicOperations.ZeroMemory(plain);
        }
    }

    private static unsafe Interop.KeyHandle Load(ReadOnlySpan<byte> privateKey)
    {
        fixed (byte* encoded = privateKey)
        {
            var position = encoded;
            return Interop.CheckHandle(
                Interop.d2i_PrivateKey(Interop.EVP_PKEY_RSA, 0, &position, new CLong(privateKey.Length)),
                "loading an RSA key");
        }
    }
}
