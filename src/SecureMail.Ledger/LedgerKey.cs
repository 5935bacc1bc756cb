using System.Security.Cryptography;
using SecureMail.Libcrypto;

namespace SecureMail.Ledger;

/// <summary>
/// An Ed25519 key in a file that only its owner may read: PKCS#8 in PEM (RFC 8410), so that openssl can use the file. A
/// gateway has two different keys. The log key signs its own checkpoints. The cosigner key signs those of its peers.
/// C2SP tlog-cosignature forbids sharing the key, because a cosignature does not name its signer.
/// </summary>
public sealed class LedgerKey : IDisposable
{
    private const string PemLabel = "PRIVATE KEY";
    private const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite;
    private const int MaxFile = 4096;

    // RFC 8410 §7: PrivateKeyInfo v1 with id-Ed25519. The 32 octets of the seed follow.
    private static readonly byte[] Pkcs8Prefix = Convert.FromHexString("302e020100300506032b657004220420");

    private readonly byte[] _seed;

    private LedgerKey(string name, NoteKeyKind kind, byte[] seed)
    {
        _seed = seed;
        Verifier = new VerifierKey(name, kind, Ed25519.PublicKeyOf(seed));
    }

    /// <summary>The origin of the log, or the name of the cosigner.</summary>
    public string Name => Verifier.Name;

    public NoteKeyKind Kind => Verifier.Kind;

    /// <summary>The public half, for the directory and for auditors.</summary>
    public VerifierKey Verifier { get; }

    /// <summary>Makes a key and writes it to a new file of mode 0600.</summary>
    /// <exception cref="IOException">The file exists, or cannot be written. An existing key is never
    /// overwritten.</exception>
    public static LedgerKey Create(string path, string name, NoteKeyKind kind)
    {
        var key = new LedgerKey(name, kind, Ed25519.GenerateSeed());
        byte[] der = [.. Pkcs8Prefix, .. key._seed];
        var pem = PemEncoding.Write(PemLabel, der);
        try
        {
            var options = new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write };
            if (!OperatingSystem.IsWindows())
            {
                options.UnixCreateMode = OwnerOnly;
            }

            using var file = new FileStream(path, options);
            foreach (var c in pem)
            {
                file.WriteByte((byte)c);
            }

            file.WriteByte((byte)'\n');
            // Flush to the disk, because no gateway could continue the log of a key that signed a checkpoint and was
            // then lost with the page cache.
            file.Flush(flushToDisk: true);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(der);
            Array.Clear(pem);
        }
        return key;
    }

    /// <exception cref="LedgerException">KeyUnreadable: the file is missing, is open to others, or is not an Ed25519
    /// key.</exception>
    public static LedgerKey Load(string path, string name, NoteKeyKind kind)
    {
        var text = new char[MaxFile];
        try
        {
            if (!OperatingSystem.IsWindows()
                && (File.GetUnixFileMode(path) & ~OwnerOnly & ~UnixFileMode.UserExecute) != UnixFileMode.None)
            {
                throw new LedgerException(
                    LedgerFault.KeyUnreadable, "The ledger's key file is open to other accounts: chmod 600.");
            }

            using var reader = new StreamReader(path);
            var length = reader.ReadBlock(text, 0, MaxFile);
            return new LedgerKey(name, kind, SeedFrom(text.AsSpan(0, length)));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new LedgerException(LedgerFault.KeyUnreadable, "The ledger's key file cannot be read.", e);
        }
        finally
        {
            Array.Clear(text);
        }
    }

    private static byte[] SeedFrom(ReadOnlySpan<char> pem)
    {
        if (PemEncoding.TryFind(pem, out var fields) && pem[fields.Label].SequenceEqual(PemLabel))
        {
            var der = new byte[fields.DecodedDataLength];
            try
            {
                if (Convert.TryFromBase64Chars(pem[fields.Base64Data], der, out var length)
                    && length == Pkcs8Prefix.Length + Ed25519.SeedSize
                    && der.AsSpan().StartsWith(Pkcs8Prefix))
                {
                    return der[Pkcs8Prefix.Length..length];
                }
            }
            finally
            {
                CryptographicOperations.ZeroMemory(der);
            }
        }
        throw new LedgerException(
            LedgerFault.KeyUnreadable, "The ledger's key file is not an Ed25519 private key (PKCS#8 in PEM).");
    }

    internal byte[] Sign(ReadOnlySpan<byte> message) => Ed25519.Sign(_seed, message);

    public void Dispose() => CryptographicOperations.ZeroMemory(_seed);
}
