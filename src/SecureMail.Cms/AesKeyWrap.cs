using System.Buffers.Binary;
using System.Security.Cryptography;

namespace SecureMail.Cms;

/// <summary>
/// AES key wrap (RFC 3394), over the platform's AES block by block; the platform has the padded variant (RFC 5649)
/// only. The integrity check is 64 bits: a key unwrapped under a wrong key-encryption key is refused.
/// </summary>
internal static class AesKeyWrap
{
    private const int Half = 8;
    private const ulong InitialValue = 0xA6A6A6A6A6A6A6A6;

    /// <summary>The wrapped key, 8 octets longer than the key.</summary>
    /// <param name="wrappingKey">16, 24 or 32 octets.</param>
    /// <param name="key">A multiple of 8 octets, at least 16.</param>
    public static byte[] Wrap(ReadOnlySpan<byte> wrappingKey, ReadOnlySpan<byte> key)
    {
        if (key.Length < 2 * Half || key.Length % Half != 0)
        {
            throw new ArgumentException("a key to wrap is a multiple of 8 octets, at least 16", nameof(key));
        }

        using Aes aes = Keyed(wrappingKey);
        // RFC 3394 §2.2.1, on the output in place: A is its first half block, R[i] the others.
        var output = new byte[key.Length + Half];
        BinaryPrimitives.WriteUInt64BigEndian(output, InitialValue);
        key.CopyTo(output.AsSpan(Half));
        Span<byte> block = stackalloc byte[2 * Half];
        var count = key.Length / Half;
        ulong step = 1;
        for (var round = 0; round < 6; round++)
        {
            for (var i = 1; i <= count; i++, step++)
            {
                output.AsSpan(0, Half).CopyTo(block);
                output.AsSpan(i * Half, Half).CopyTo(block[Half..]);
                aes.EncryptEcb(block, block, PaddingMode.None);
                BinaryPrimitives.WriteUInt64BigEndian(output, BinaryPrimitives.ReadUInt64BigEndian(block) ^ step);
                block[Half..].CopyTo(output.AsSpan(i * Half));
            }
        }
        CryptographicOperations.ZeroMemory(block);
        return output;
    }

    /// <summary>The key, or null when the integrity check fails or the length cannot be.</summary>
    public static byte[]? Unwrap(ReadOnlySpan<byte> wrappingKey, ReadOnlySpan<byte> wrapped)
    {
        if (wrapped.Length < 3 * Half || wrapped.Length % Half != 0 || wrapped.Length > 128)
        {
            return null;
        }

        using Aes aes = Keyed(wrappingKey);
        // RFC 3394 §2.2.2
        var key = wrapped[Half..].ToArray();
        var a = BinaryPrimitives.ReadUInt64BigEndian(wrapped);
        Span<byte> block = stackalloc byte[2 * Half];
        var count = key.Length / Half;
        var step = (ulong)(6 * count);
        for (var round = 0; round < 6; round++)
        {
            for (var i = count - 1; i >= 0; i--, step--)
            {
                BinaryPrimitives.WriteUInt64BigEndian(block, a ^ step);
                key.AsSpan(i * Half, Half).CopyTo(block[Half..]);
                aes.DecryptEcb(block, block, PaddingMode.None);
                a = BinaryPrimitives.ReadUInt64BigEndian(block);
                block[Half..].CopyTo(key.AsSpan(i * Half));
            }
        }
        CryptographicOperations.ZeroMemory(block);
        Span<byte> check = stackalloc byte[2 * Half];
        BinaryPrimitives.WriteUInt64BigEndian(check, a);
        BinaryPrimitives.WriteUInt64BigEndian(check[Half..], InitialValue);
        if (CryptographicOperations.FixedTimeEquals(check[..Half], check[Half..]))
        {
            return key;
        }

        CryptographicOperations.ZeroMemory(key);
        return null;
    }

    private static Aes Keyed(ReadOnlySpan<byte> key)
    {
        var aes = Aes.Create();
        aes.SetKey(key);
        return aes;
    }
}
