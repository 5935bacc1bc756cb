using System.Runtime.InteropServices;

namespace SecureMail.Libcrypto;

internal static partial class Interop
{
    /// <summary>RSA_PKCS1_PADDING and RSA_PKCS1_PSS_PADDING in rsa.h.</summary>
    public const int RSA_PKCS1_PADDING = 1;

    public const int RSA_PKCS1_PSS_PADDING = 6;

    /// <summary>EVP_PKEY_PUBLIC_KEY in evp.h: parameters and the public part.</summary>
    public const int EVP_PKEY_PUBLIC_KEY = 0x86;

    /// <summary>OSSL_PARAM (params.h). <see cref="Type"/> is one of the three kinds used here. An empty parameter ends
    /// an array.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal unsafe struct Parameter
    {
        public const uint UnsignedInteger = 2,
            Utf8String = 4,
            OctetString = 5;

        public byte* Key;
        public uint Type;
        public byte* Data;
        public nuint DataSize;
        public nuint ReturnSize;
    }

    [LibraryImport(Libcrypto, StringMarshalling = StringMarshalling.Utf8)]
    public static partial KeyContextHandle EVP_PKEY_CTX_new_from_name(nint library, string name, nint properties);

    [LibraryImport(Libcrypto)]
    public static partial KeyContextHandle EVP_PKEY_CTX_new_from_pkey(nint library, KeyHandle key, nint properties);

    [LibraryImport(Libcrypto)]
    public static partial int EVP_PKEY_fromdata_init(KeyContextHandle context);

    [LibraryImport(Libcrypto)]
    public static unsafe partial int EVP_PKEY_fromdata(
        KeyContextHandle context, out KeyHandle key, int selection, Parameter* parameters);

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
    public static partial int EVP_PKEY_verify(
        KeyContextHandle context, ReadOnlySpan<byte> signature, nuint signatureLength, ReadOnlySpan<byte> hash,
        nuint hashLength);

    [LibraryImport(Libcrypto, StringMarshalling = StringMarshalling.Utf8)]
    public static partial nint EVP_get_digestbyname(string name);

    [LibraryImport(Libcrypto)]
    private static partial void EVP_PKEY_free(nint key);

    internal sealed class KeyHandle : NativeHandle
    {
        protected override bool ReleaseHandle()
        {
            EVP_PKEY_free(handle);
            return true;
        }
    }

    internal sealed class KeyContextHandle : NativeHandle
    {
        protected override bool ReleaseHandle()
        {
            EVP_PKEY_CTX_free(handle);
            return true;
        }
    }
}
