using System.Security.Cryptography;

namespace SecureMail.Libcrypto;

/// <summary>
/// AES-GCM (NIST SP 800-38D) in pieces, by the host's libcrypto, because .NET's <see cref="AesGcm"/> takes a message
/// only as a whole. The order is: additional data, content, tag. One context serves one message.
/// The output of <see cref="Update"/> in decryption is NOT authentic until <see cref="VerifyTag"/> has returned true;
/// the caller holds the output back until then. The caller never uses a nonce twice under one key.
/// Not safe for use by two threads at once.
/// </summary>
public sealed class AesGcmContext : IDisposable
{
    /// <summary>Bytes of the tag that is written. Tags of 12 to 16 bytes are verified (RFC 5084 §3.2).</summary>
    public const int TagSize = 16;

    /// <summary>Bytes of content in one message at most (SP 800-38D §5.2.1.1: 2^39 - 256 bits).</summary>
    public const long MaxContentLength = (1L << 36) - 32;

    private readonly Interop.CipherHandle _context;
    private readonly bool _encrypting;
    private State _state = State.Aad;
    private long _contentLength;

    private enum State
    {
        Aad,
        Content,
        Done,
    }

    private AesGcmContext(ReadOnlySpan<byte> key, ReadOnlySpan<byte> nonce, bool encrypting)
    {
        var cipher = key.Length switch
        {
            16 => Interop.EVP_aes_128_gcm(),
            24 => Interop.EVP_aes_192_gcm(),
            32 => Interop.EVP_aes_256_gcm(),
            _ => throw new ArgumentException("an AES key is 16, 24 or 32 bytes long", nameof(key)),
        };
        if (nonce.Length is < 1 or > 16)
        {
            throw new ArgumentException("a GCM nonce is 1 to 16 bytes long; 12 bytes are recommended", nameof(nonce));
        }

        _encrypting = encrypting;
        _context = Interop.CheckHandle(Interop.EVP_CIPHER_CTX_new(), "allocating a cipher context");
        var direction = encrypting ? 1 : 0;
        // libcrypto takes the nonce length only after the cipher and before the key and nonce.
        Interop.Check(Interop.EVP_CipherInit_ex(_context, cipher, 0, default, default, direction), "choosing AES-GCM");
        Interop.Check(
            Interop.EVP_CIPHER_CTX_ctrl(_context, Interop.EVP_CTRL_AEAD_SET_IVLEN, nonce.Length, default),
            "setting the nonce length");
        Interop.Check(Interop.EVP_CipherInit_ex(_context, 0, 0, key, nonce, direction), "keying AES-GCM");
    }

    /// <summary>A context that encrypts one message.</summary>
    /// <param name="key">16, 24 or 32 bytes.</param>
    /// <param name="nonce">1 to 16 bytes, 12 recommended, never used before under this key.</param>
    /// <exception cref="ArgumentException">A length is wrong.</exception>
    public static AesGcmContext ForEncryption(ReadOnlySpan<byte> key, ReadOnlySpan<byte> nonce) =>
        new(key, nonce, encrypting: true);

    /// <summary>A context that decrypts one message; lengths as in <see cref="ForEncryption"/>.</summary>
    /// <exception cref="ArgumentException">A length is wrong.</exception>
    public static AesGcmContext ForDecryption(ReadOnlySpan<byte> key, ReadOnlySpan<byte> nonce) =>
        new(key, nonce, encrypting: false);

    /// <summary>Authenticates data that is not encrypted. May be called several times before the first
    /// content.</summary>
    /// <exception cref="InvalidOperationException">Content or the tag has already been processed.</exception>
    public unsafe void AddAad(ReadOnlySpan<byte> data)
    {
        if (_state != State.Aad)
        {
            throw new InvalidOperationException("additional data must come before the content");
        }

        if (data.IsEmpty)
        {
            return;
        }

        fixed (byte* pointer = data)
        {
            Interop.Check(Interop.EVP_CipherUpdate(_context, null, out _, pointer, data.Length), "authenticating data");
        }
    }

    /// <summary>Encrypts or decrypts the next bytes of the message. Input and output may be the same memory.</summary>
    /// <param name="input">Any number of bytes.</param>
    /// <param name="output">At least as long as the input.</param>
    /// <exception cref="ArgumentException">The output is too short.</exception>
    /// <exception cref="InvalidOperationException">The tag has already been processed, or the message would exceed
    /// <see cref="MaxContentLength"/>.</exception>
    public unsafe void Update(ReadOnlySpan<byte> input, Span<byte> output)
    {
        if (_state == State.Done)
        {
            throw new InvalidOperationException("the message is finished");
        }

        if (output.Length < input.Length)
        {
            throw new ArgumentException("the output is shorter than the input", nameof(output));
        }

        _state = State.Content;
        _contentLength += input.Length;
        if (_contentLength > MaxContentLength)
        {
            throw new InvalidOperationException("the message is longer than AES-GCM allows");
        }

        if (input.IsEmpty)
        {
            return;
        }

        fixed (
            byte* from = input,
                to = output)
        {
            Interop.Check(Interop.EVP_CipherUpdate(_context, to, out _, from, input.Length), "AES-GCM");
        }
    }

    /// <summary>Finishes an encryption and writes the tag, <see cref="TagSize"/> bytes.</summary>
    /// <exception cref="ArgumentException">The tag is not 16 bytes long.</exception>
    /// <exception cref="InvalidOperationException">The context is for decryption, or is finished.</exception>
    public void WriteTag(Span<byte> tag)
    {
        if (tag.Length != TagSize)
        {
            throw new ArgumentException($"a tag is {TagSize} bytes long", nameof(tag));
        }

        Finish(encrypting: true);
        Span<byte> nothing = stackalloc byte[16];
        Interop.Check(Interop.EVP_CipherFinal_ex(_context, nothing, out _), "finishing AES-GCM");
        Interop.Check(
            Interop.EVP_CIPHER_CTX_ctrl(_context, Interop.EVP_CTRL_AEAD_GET_TAG, TagSize, tag), "reading the tag");
    }

    /// <summary>Finishes a decryption. Returns true when the tag (12 to 16 bytes) is the tag of all data and content
    /// given.</summary>
    /// <exception cref="InvalidOperationException">The context is for encryption, or is finished.</exception>
    public bool VerifyTag(ReadOnlySpan<byte> tag)
    {
        Finish(encrypting: false);
        if (tag.Length is < 12 or > TagSize)
        {
            return false;
        }

        Span<byte> expected = stackalloc byte[tag.Length];
        tag.CopyTo(expected);
        Interop.Check(
            Interop.EVP_CIPHER_CTX_ctrl(_context, Interop.EVP_CTRL_AEAD_SET_TAG, tag.Length, expected),
            "setting the tag");
        Span<byte> nothing = stackalloc byte[16];
        // libcrypto compares in constant time.
        var authentic = Interop.EVP_CipherFinal_ex(_context, nothing, out _) == 1;
        if (!authentic)
        {
            Interop.ERR_clear_error();
        }

        return authentic;
    }

    /// <summary>Frees the context; libcrypto wipes the key schedule.</summary>
    public void Dispose() => _context.Dispose();

    private void Finish(bool encrypting)
    {
        if (_encrypting != encrypting)
        {
            throw new InvalidOperationException(
                encrypting ? "a context for decryption writes no tag" : "a context for encryption verifies no tag");
        }

        if (_state == State.Done)
        {
            throw new InvalidOperationException("the message is finished");
        }

        _state = State.Done;
    }
}
