using System.Runtime.InteropServices;

namespace SecureMail.Benchmarks;

/// <summary>Ed25519 and X25519 of the host's libcrypto, as its manual pages say to call them.</summary>
internal static partial class OpenSslCurves
{
    private const string Libcrypto = "libcrypto.so.3";

    // NIDs of obj_mac.h.
    private const int X25519 = 1034;
    private const int Ed25519 = 1087;

    public static byte[] Sign(byte[] seed, byte[] message)
    {
        var key = EVP_PKEY_new_raw_private_key(Ed25519, 0, seed, 32);
        var context = EVP_MD_CTX_new();
        var signature = new byte[64];
        nuint length = 64;
        Check(EVP_DigestSignInit(context, 0, 0, 0, key));
        Check(EVP_DigestSign(context, signature, ref length, message, (nuint)message.Length));
        EVP_MD_CTX_free(context);
        EVP_PKEY_free(key);
        return signature;
    }

    public static byte[] Agree(byte[] privateKey, byte[] publicKey)
    {
        var own = EVP_PKEY_new_raw_private_key(X25519, 0, privateKey, 32);
        var peer = EVP_PKEY_new_raw_public_key(X25519, 0, publicKey, 32);
        var context = EVP_PKEY_CTX_new_from_pkey(0, own, 0);
        var secret = new byte[32];
        nuint length = 32;
        Check(EVP_PKEY_derive_init(context));
        Check(EVP_PKEY_derive_set_peer(context, peer));
        Check(EVP_PKEY_derive(context, secret, ref length));
        EVP_PKEY_CTX_free(context);
        EVP_PKEY_free(peer);
        EVP_PKEY_free(own);
        return secret;
    }

    private static void Check(int result)
    {
        if (result != 1)
        {
            throw new InvalidOperationException("libcrypto failed.");
        }
    }

    /// <summary>An Ed25519 public key, loaded once.</summary>
    internal sealed class PublicKey(byte[] publicKey) : IDisposable
    {
        private readonly nint _key = EVP_PKEY_new_raw_public_key(Ed25519, 0, publicKey, 32);

        public bool Verify(byte[] message, byte[] signature)
        {
            var context = EVP_MD_CTX_new();
            Check(EVP_DigestVerifyInit(context, 0, 0, 0, _key));
            var valid = EVP_DigestVerify(context, signature, 64, message, (nuint)message.Length) == 1;
            EVP_MD_CTX_free(context);
            return valid;
        }

        public void Dispose() => EVP_PKEY_free(_key);
    }

    [LibraryImport(Libcrypto)]
    private static partial nint EVP_PKEY_new_raw_private_key(
        int type, nint engine, ReadOnlySpan<byte> key, nuint length);

    [LibraryImport(Libcrypto)]
    private static partial nint EVP_PKEY_new_raw_public_key(
        int type, nint engine, ReadOnlySpan<byte> key, nuint length);

    [LibraryImport(Libcrypto)]
    private static partial void EVP_PKEY_free(nint key);

    [LibraryImport(Libcrypto)]
    private static partial nint EVP_MD_CTX_new();

    [LibraryImport(Libcrypto)]
    private static partial void EVP_MD_CTX_free(nint context);

    [LibraryImport(Libcrypto)]
    private static partial int EVP_DigestSignInit(nint context, nint keyContext, nint digest, nint engine, nint key);

    [LibraryImport(Libcrypto)]
    private static partial int EVP_DigestSign(
        nint context, Span<byte> signature, ref nuint signatureLength, ReadOnlySpan<byte> message,
        nuint messageLength);

    [LibraryImport(Libcrypto)]
    private static partial int EVP_DigestVerifyInit(nint context, nint keyContext, nint digest, nint engine, nint key);

    [LibraryImport(Libcrypto)]
    private static partial int EVP_DigestVerify(
        nint context, ReadOnlySpan<byte> signature, nuint signatureLength, ReadOnlySpan<byte> message,
        nuint messageLength);

    [LibraryImport(Libcrypto)]
    private static partial nint EVP_PKEY_CTX_new_from_pkey(nint library, nint key, nint properties);

    [LibraryImport(Libcrypto)]
    private static partial void EVP_PKEY_CTX_free(nint context);

    [LibraryImport(Libcrypto)]
    private static partial int EVP_PKEY_derive_init(nint context);

    [LibraryImport(Libcrypto)]
    private static partial int EVP_PKEY_derive_set_peer(nint context, nint peer);

    [LibraryImport(Libcrypto)]
    private static partial int EVP_PKEY_derive(nint context, Span<byte> secret, ref nuint secretLength);
}
