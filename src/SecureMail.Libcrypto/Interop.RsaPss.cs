using System.Runtime.InteropServices;

namespace SecureMail.Libcrypto;

internal static partial class Interop
{
    /// <summary>RSA_PKCS1_PSS_PADDING in OpenSSL's rsa.h.</summary>
    public const int RSA_PKCS1_PSS_PADDING = 6;

    /// <summary>Reads a SubjectPublicKeyInfo; moves the pointer behind it.</summary>
    [LibraryImport(Libcrypto)]
    public static unsafe partial KeyHandle d2i_PUBKEY(nint reuse, ref byte* data, nint length);

    [LibraryImport(Libcrypto)]
    public static partial KeyContextHandle EVP_PKEY_CTX_new(KeyHandle key, nint engine);

    [LibraryImport(Libcrypto)]
    private static partial void EVP_PKEY_CTX_free(nint context);

    [LibraryImport(Libcrypto)]
    public static partial int EVP_PKEY_verify_init(KeyContextHandle context);

    [LibraryImport(Libcrypto)]
    public static partial int EVP_PKEY_CTX_set_rsa_padding(KeyContextHandle context, int padding);

    [LibraryImport(Libcrypto)]
    public static partial int EVP_PKEY_CTX_set_signature_md(KeyContextHandle context, nint digest);

    [LibraryImport(Libcrypto)]
    public static partial int EVP_PKEY_CTX_set_rsa_mgf1_md(KeyContextHandle context, nint digest);

    [LibraryImport(Libcrypto)]
    public static partial int EVP_PKEY_CTX_set_rsa_pss_saltlen(KeyContextHandle context, int length);

    [LibraryImport(Libcrypto)]
    public static partial int EVP_PKEY_verify(KeyContextHandle context, ReadOnlySpan<byte> signature, nuint signatureLength, ReadOnlySpan<byte> hash, nuint hashLength);

    [LibraryImport(Libcrypto, StringMarshalling = StringMarshalling.Utf8)]
    public static partial nint EVP_get_digestbyname(string name);

    internal sealed class KeyContextHandle : NativeHandle
    {
        protected override bool ReleaseHandle()
        {
            EVP_PKEY_CTX_free(handle);
            return true;
        }
    }
}
