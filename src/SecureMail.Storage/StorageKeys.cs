using System.Security.Cryptography;

namespace SecureMail.Storage;

/// <summary>
/// The gateway's named keys that wrap the key of each blob. A key is a file <c>NAME.key</c> of 32 random bytes,
/// readable by the gateway's account alone. New blobs are wrapped under the name that sorts last, so adding a file
/// rotates the key and old blobs stay readable.
/// </summary>
public sealed class StorageKeys
{
    private const int KeySize = 32;
    private const int NonceSize = 12;
    private const int TagSize = 16;
    private readonly string _folder;
    private volatile Dictionary<string, byte[]> _keys;

    private StorageKeys(string folder, Dictionary<string, byte[]> keys) =>
        (_folder, _keys, Current) = (folder, keys, keys.Keys.Max(StringComparer.Ordinal)!);

    /// <summary>The name that new blobs are wrapped under.</summary>
    internal string Current { get; private set; }

    internal IReadOnlyCollection<string> Names => _keys.Keys;

    /// <summary>Reads the keys of a folder. The first key is made if there is none.</summary>
    /// <exception cref="SecretFileException">A key file does not have 32 bytes, or other accounts than its owner may
    /// read it.</exception>
    public static StorageKeys Open(string folder)
    {
        Directory.CreateDirectory(folder);
        if (Directory.GetFiles(folder, "*.key").Length == 0)
        {
            Make(folder, 1);
        }

        return new StorageKeys(folder, Read(folder));
    }

    /// <summary>Makes the next key and wraps new blobs under it from now on. The key is durable before it is
    /// used.</summary>
    internal void Add()
    {
        var number = Names.Select(n => int.TryParse(n.AsSpan(n.LastIndexOf('-') + 1), out var i) ? i : 0).Max() + 1;
        Make(_folder, number);
        _keys = Read(_folder);
        Current = _keys.Keys.Max(StringComparer.Ordinal)!;
    }

    /// <summary>Reads the folder again and wraps new blobs under the key that sorts last in it. Answers false where the
    /// folder does not have the key of that name.</summary>
    internal bool TryUse(string name)
    {
        var keys = Read(_folder);
        if (!keys.ContainsKey(name))
        {
            return false;
        }

        _keys = keys;
        Current = keys.Keys.Max(StringComparer.Ordinal)!;
        return true;
    }

    private static void Make(string folder, int number)
    {
        var options = new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write };
        if (!OperatingSystem.IsWindows())
        {
            options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        }

        using var file = new FileStream(Path.Combine(folder, $"storage-{number:0000}.key"), options);
        file.Write(RandomNumberGenerator.GetBytes(KeySize));
        file.Flush(flushToDisk: true);
    }

    private static Dictionary<string, byte[]> Read(string folder)
    {
        var keys = new Dictionary<string, byte[]>();
        foreach (var path in Directory.GetFiles(folder, "*.key"))
        {
            SecretFile.RequirePrivate(path);
            var key = File.ReadAllBytes(path);
            keys[Path.GetFileNameWithoutExtension(path)] =
                key.Length == KeySize
                    ? key
                    : throw new SecretFileException(
                        SecretFileFault.KeyDamaged, path, $"The storage key {path} does not have {KeySize} bytes.");
        }

        return keys;
    }

    /// <summary>Wraps a blob's key under the current storage key: 12 bytes of nonce, the ciphertext, 16 bytes of tag.
    /// The blob's id is the associated data.</summary>
    internal (string Name, byte[] Wrapped) Wrap(Guid blob, ReadOnlySpan<byte> key)
    {
        var wrapped = new byte[NonceSize + key.Length + TagSize];
        var nonce = wrapped.AsSpan(0, NonceSize);
        RandomNumberGenerator.Fill(nonce);
        using var aes = new AesGcm(_keys[Current], TagSize);
        aes.Encrypt(nonce, key, wrapped.AsSpan(NonceSize, key.Length), wrapped.AsSpan(^TagSize..), blob.ToByteArray());
        return (Current, wrapped);
    }

    /// <exception cref="SecretFileException">The storage key of that name is missing or another one, or the wrapped key
    /// was changed.</exception>
    /// <exception cref="InvalidDataException">The wrapped key is cut off.</exception>
    internal byte[] Unwrap(Guid blob, string name, ReadOnlySpan<byte> wrapped)
    {
        var storageKey = Find(name);
        if (wrapped.Length < NonceSize + TagSize)
        {
            throw new InvalidDataException($"The wrapped key of blob {blob} is cut off.");
        }

        var key = new byte[wrapped.Length - NonceSize - TagSize];
        using var aes = new AesGcm(storageKey, TagSize);
        try
        {
            aes.Decrypt(
                wrapped[..NonceSize], wrapped[NonceSize..^TagSize], wrapped[^TagSize..], key, blob.ToByteArray());
            return key;
        }
        catch (AuthenticationTagMismatchException e)
        {
            throw new SecretFileException(
                SecretFileFault.KeyWrong, name,
                $"The wrapped key of blob {blob} was changed, or the storage key {name} is another one.", e);
        }
    }

    /// <summary>The key of one row's card, by HKDF-SHA256 (RFC 5869) of a storage key.</summary>
    /// <exception cref="SecretFileException">The key of that name is absent.</exception>
    internal byte[] DeriveCardKey(Guid row, string name)
    {
        byte[] info = [.. "securemail card v1"u8, .. row.ToByteArray()];
        return HKDF.DeriveKey(HashAlgorithmName.SHA256, Find(name), KeySize, salt: null, info);
    }

    private byte[] Find(string name)
    {
        // Another process may have made the key after this process started. Then the key is in the folder.
        if (!_keys.ContainsKey(name))
        {
            _keys = Read(_folder);
        }

        return _keys.TryGetValue(name, out var key)
            ? key
            : throw new SecretFileException(
                SecretFileFault.KeyAbsent, name, $"The storage key {name} is not in the key folder.");
    }
}
