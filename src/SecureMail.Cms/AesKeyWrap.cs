using System.Buffers.Binary;
using System.Security.Cryptography;

namespace SecureMail.Cms;

/// <summary>
/// AES key wrap (RFC 3394) with the platform's AES, block by block, because the platform has only the padded variant
/// (RFC 5649). The integrity check has 64 bits and refuses a key unwrapped under a wrong key-encryption key.
/// </summary>
internal static class AesKeyWrap
{
    private const int HalfBlock = 8;
    private const ulong InitialValue = 0xA6A6A6A6A6A6A6A6;

    /// <summary>The wrapped key, 8 bytes longer than the key.</summary>
    /// <param name="wrappingKey">16, 24 or 32 bytes.</param>
    /// <param name="key">A multiple of 8 bytes, at least 16.</param>
    /// <exception cref="ArgumentException">The key has another length.</exception>
    public static byte[] Wrap(ReadOnlySpan<byte> wrappingKey, ReadOnlySpan<byte> key)
    {
        if (key.Length < 2 * HalfBlock || key.Length % HalfBlock != 0)
        {
            throw new ArgumentException("a key to wrap is a multiple of 8 bytes long, at least 16", nameof(key));
        }

        using Aes aes = CreateAes(wrappingKey);
        // RFC 3394 §2.2.1, in place: A is the first half block of the output, R[i] are the others.
        var output = new byte[key.Length + HalfBlock];
        BinaryPrimitives.WriteUInt64BigEndian(output, InitialValue);
        key.CopyTo(output.AsSpan(HalfBlock));
        Span<byte> block = stackalloc byte[2 * HalfBlock];
        var count = key.Length / HalfBlock;
        ulong step = 1;
        for (var round = 0; round < 6; round++)
        {
            for (var i = 1; i <= count; i++, step++)
            {
                output.AsSpan(0, HalfBlock).CopyTo(block);
                output.AsSpan(i * HalfBlock, HalfBlock).CopyTo(block[HalfBlock..]);
                aes.EncryptEcb(block, block, PaddingMode.None);
                BinaryPrimitives.WriteUInt64BigEndian(output, BinaryPrimitives.ReadUInt64BigEndian(block) ^ step);
                block[HalfBlock..].CopyTo(output.AsSpan(i * HalfBlock));
            }
        }
        CryptographicOperations.ZeroMemory(block);
        return output;
    }

    /// <summary>The key, or null when the integrity check fails or the length is invalid.</summary>
    public static byte[]? Unwrap(ReadOnlySpan<byte> wrappingKey, ReadOnlySpan<byte> wrapped)
    {
        if (wrapped.Length < 3 * HalfBlock || wrapped.Length % HalfBlock != 0 || wrapped.Length > 128)
        {
            return null;
        }

        using Aes aes = CreateAes(wrappingKey);
        // RFC 3394 §2.2.2
        var key = wrapped[HalfBlock..].ToArray();
        var a = BinaryPrimitives.ReadUInt64BigEndian(wrapped);
        Span<byte> block = stackalloc byte[2 * HalfBlock];
        var count = key.Length / HalfBlock;
        var step = (ulong)(6 * count);
        for (var round = 0; round < 6; round++)
        {
            for (var i = count - 1; i >= 0; i--, step--)
            {
                BinaryPrimitives.WriteUInt64BigEndian(block, a ^ step);
                key.AsSpan(i * HalfBlock, HalfBlock).CopyTo(block[HalfBlock..]);
                aes.DecryptEcb(block, block, PaddingMode.None);
                a = BinaryPrimitives.ReadUInt64BigEndian(block);
                block[HalfBlock..].CopyTo(key.AsSpan(i * HalfBlock));
            }
        }
        CryptographicOperations.ZeroMemory(block);
        Span<byte> check = stackalloc byte[2 * HalfBlock];
        BinaryPrimitives.WriteUInt64BigEndian(check, a);
        BinaryPrimitives.WriteUInt64BigEndian(check[HalfBlock..], InitialValue);
        if (CryptographicOperations.FixedTimeEquals(check[..HalfBlock], check[HalfBlock..]))
        {
            return key;
        }

        CryptographicOperations.ZeroMemory(key);
        return null;
    }

    private static Aes CreateAes(ReadOnlySpan<byte> key)
    {
        var aes = Aes.Create();
        aes.SetKey(key);
        return aes;
    }
}
