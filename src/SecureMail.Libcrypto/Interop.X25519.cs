using System.Runtime.InteropServices;

namespace SecureMail.Libcrypto;

internal static partial class Interop
{
    /// <summary>NID of X25519 in OpenSSL's obj_mac.h.</summary>
    public const int EVP_PKEY_X25519 = 1034;

    [LibraryImport(Libcrypto)]
    public static partial int EVP_PKEY_derive_init(KeyContextHandle context);

    [LibraryImport(Libcrypto)]
    public static partial int EVP_PKEY_derive_set_peer(KeyContextHandle context, KeyHandle peer);

    [LibraryImport(Libcrypto)]
    public static partial int EVP_PKEY_derive(KeyContextHandle context, Span<byte> secret, ref nuint secretLength);
}
