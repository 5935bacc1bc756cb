using System.Security.Cryptography;

namespace SecureMail.Storage;

/// <summary>
/// The gateway's named keys that wrap each blob's own key. Files <c>NAME.key</c> of 32 random octets, readable by the
/// gateway's account alone; the name that sorts last is the one new blobs are wrapped under, so that adding a file
/// rotates the key and old blobs stay readable.
/// </summary>
public sealed class StorageKeys
{
    private const int KeySize = 32;
    private readonly string _folder;
    private volatile Dictionary<string, byte[]> _keys;

    private StorageKeys(string folder, Dictionary<string, byte[]> keys) =>
        (_folder, _keys, Current) = (folder, keys, keys.Keys.Max(StringComparer.Ordinal)!);

    /// <summary>The name that new blobs are wrapped under.</summary>
    internal string Current { get; private set; }

    internal IReadOnlyCollection<string> Names => _keys.Keys;

    /// <summary>Reads the keys of a folder; makes the first one where there is none.</summary>
    /// <exception cref="SecretFileException">A key file has not 32 octets, or others than its owner may read
    /// it.</exception>
    public static StorageKeys Open(string folder)
    {
        Directory.CreateDirectory(folder);
        if (Directory.GetFiles(folder, "*.key").Length == 0)
        {
            Make(folder, 1);
        }

        return new StorageKeys(folder, Read(folder));
    }

    /// <summary>Makes the next key, durable before it is used, and wraps under it from now on.</summary>
    internal void Add()
    {
        var number = Names.Select(n => int.TryParse(n.AsSpan(n.LastIndexOf('-') + 1), out var i) ? i : 0).Max() + 1;
        Make(_folder, number);
        _keys = Read(_folder);
        Current = _keys.Keys.Max(StringComparer.Ordinal)!;
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

    /// <summary>Wraps a blob's key under the current storage key: 12 octets nonce, ciphertext, 16 octets tag.</summary>
    internal (string Name, byte[] Wrapped) Wrap(Guid blob, ReadOnlySpan<byte> key)
    {
        var wrapped = new byte[12 + key.Length + 16];
        RandomNumberGenerator.Fill(wrapped.AsSpan(0, 12));
        using var aes = new AesGcm(_keys[Current], 16);
        aes.Encrypt(
            wrapped.AsSpan(0, 12), key, wrapped.AsSpan(12, key.Length), wrapped.AsSpan(12 + key.Length),
            blob.ToByteArray());
        return (Current, wrapped);
    }

    /// <exception cref="SecretFileException">The key of that name is absent, or the row was changed.</exception>
    internal byte[] Unwrap(Guid blob, string name, ReadOnlySpan<byte> wrapped)
    {
        // A key that another process made since we started is in the folder.
        if (!_keys.ContainsKey(name))
        {
            _keys = Read(_folder);
        }

        if (!_keys.TryGetValue(name, out var storageKey))
        {
            throw new SecretFileException(
                SecretFileFault.KeyAbsent, name, $"The storage key {name} is not in the key folder.");
        }

        if (wrapped.Length < 28)
        {
            throw new InvalidDataException($"The wrapped key of blob {blob} is cut off.");
        }

        var key = new byte[wrapped.Length - 28];
        using var aes = new AesGcm(storageKey, 16);
        try
        {
            aes.Decrypt(wrapped[..12], wrapped[12..^16], wrapped[^16..], key, blob.ToByteArray());
            return key;
        }
        catch (AuthenticationTagMismatchException e)
        {
            throw new SecretFileException(
                SecretFileFault.KeyWrong, name,
                $"The wrapped key of blob {blob} was changed, or the storage key {name} is another one.", e);
        }
    }
}
