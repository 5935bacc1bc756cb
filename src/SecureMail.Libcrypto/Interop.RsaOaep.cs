using System.Runtime.InteropServices;

namespace SecureMail.Libcrypto;

internal static partial class Interop
{
    /// <summary>EVP_PKEY_RSA in evp.h.</summary>
    public const int EVP_PKEY_RSA = 6;

    /// <summary>RSA_PKCS1_OAEP_PADDING in rsa.h.</summary>
    public const int RSA_PKCS1_OAEP_PADDING = 4;

    [LibraryImport(Libcrypto)]
    public static unsafe partial KeyHandle d2i_PrivateKey(int type, nint reuse, byte** encoded, CLong length);

    [LibraryImport(Libcrypto)]
    public static partial int EVP_PKEY_decrypt_init(KeyContextHandle context);

    [LibraryImport(Libcrypto)]
    public static partial int EVP_PKEY_CTX_set_rsa_oaep_md(KeyContextHandle context, nint digest);

    [LibraryImport(Libcrypto)]
    public static unsafe partial int EVP_PKEY_CTX_set_params(KeyContextHandle context, Parameter* parameters);

    [LibraryImport(Libcrypto)]
    public static partial int EVP_PKEY_decrypt(
        KeyContextHandle context, Span<byte> plain, ref nuint plainLength, ReadOnlySpan<byte> encrypted,
        nuint encryptedLength);
}
