using System.Runtime.InteropServices;

namespace SecureMail.Libcrypto;

internal static partial class Interop
{
    /// <summary>NID of id-Ed25519 in OpenSSL's obj_mac.h.</summary>
    public const int EVP_PKEY_ED25519 = 1087;

    [LibraryImport(Libcrypto)]
    public static partial KeyHandle EVP_PKEY_new_raw_private_key(
        int type, nint engine, ReadOnlySpan<byte> key, nuint length);

    [LibraryImport(Libcrypto)]
    public static partial KeyHandle EVP_PKEY_new_raw_public_key(
        int type, nint engine, ReadOnlySpan<byte> key, nuint length);

    [LibraryImport(Libcrypto)]
    public static partial int EVP_PKEY_get_raw_public_key(KeyHandle key, Span<byte> publicKey, ref nuint length);

    [LibraryImport(Libcrypto)]
    private static partial void EVP_PKEY_free(nint key);

    [LibraryImport(Libcrypto)]
    public static partial DigestHandle EVP_MD_CTX_new();

    [LibraryImport(Libcrypto)]
    private static partial void EVP_MD_CTX_free(nint context);

    [LibraryImport(Libcrypto)]
    public static partial int EVP_DigestSignInit(
        DigestHandle context, nint keyContext, nint digest, nint engine, KeyHandle key);

    [LibraryImport(Libcrypto)]
    public static partial int EVP_DigestSign(
        DigestHandle context, Span<byte> signature, ref nuint signatureLength, ReadOnlySpan<byte> message,
        nuint messageLength);

    [LibraryImport(Libcrypto)]
    public static partial int EVP_DigestVerifyInit(
        DigestHandle context, nint keyContext, nint digest, nint engine, KeyHandle key);

    [LibraryImport(Libcrypto)]
    public static partial int EVP_DigestVerify(
        DigestHandle context, ReadOnlySpan<byte> signature, nuint signatureLength, ReadOnlySpan<byte> message,
        nuint messageLength);

    internal sealed class KeyHandle : NativeHandle
    {
        protected override bool ReleaseHandle()
        {
            EVP_PKEY_free(handle);
            return true;
        }
    }

    internal sealed class DigestHandle : NativeHandle
    {
        protected override bool ReleaseHandle()
        {
            EVP_MD_CTX_free(handle);
            return true;
        }
    }
}
