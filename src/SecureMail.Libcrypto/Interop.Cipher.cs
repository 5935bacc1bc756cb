using System.Runtime.InteropServices;

namespace SecureMail.Libcrypto;

internal static partial class Interop
{
    public const int EVP_CTRL_AEAD_SET_IVLEN = 0x9;
    public const int EVP_CTRL_AEAD_GET_TAG = 0x10;
    public const int EVP_CTRL_AEAD_SET_TAG = 0x11;

    /// <summary>A static object of the library, as are the two below; it is never freed.</summary>
    [LibraryImport(Libcrypto)]
    public static partial nint EVP_aes_128_gcm();

    [LibraryImport(Libcrypto)]
    public static partial nint EVP_aes_192_gcm();

    [LibraryImport(Libcrypto)]
    public static partial nint EVP_aes_256_gcm();

    [LibraryImport(Libcrypto)]
    public static partial CipherHandle EVP_CIPHER_CTX_new();

    [LibraryImport(Libcrypto)]
    private static partial void EVP_CIPHER_CTX_free(nint context);

    [LibraryImport(Libcrypto)]
    public static partial int EVP_CipherInit_ex(
        CipherHandle context, nint cipher, nint engine, ReadOnlySpan<byte> key, ReadOnlySpan<byte> iv, int encrypt);

    [LibraryImport(Libcrypto)]
    public static partial int EVP_CIPHER_CTX_ctrl(CipherHandle context, int type, int argument, Span<byte> pointer);

    /// <summary>With a null output the input is additional authenticated data.</summary>
    [LibraryImport(Libcrypto)]
    public static unsafe partial int EVP_CipherUpdate(
        CipherHandle context, byte* output, out int outputLength, byte* input, int inputLength);

    [LibraryImport(Libcrypto)]
    public static partial int EVP_CipherFinal_ex(CipherHandle context, Span<byte> output, out int outputLength);

    internal sealed class CipherHandle : NativeHandle
    {
        protected override bool ReleaseHandle()
        {
            // EVP_CIPHER_CTX_free wipes the key schedule.
            EVP_CIPHER_CTX_free(handle);
            return true;
        }
    }
}
