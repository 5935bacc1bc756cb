using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using SecureMail.Cms;
using SecureMail.Shared;

namespace SecureMail.Backup;

/// <summary>
/// The one file format of a backup: a signed header, then records, each encrypted by itself (AES-256-GCM). Each
/// appended record is durable and authentic by itself, and reading needs no second copy. docs/formats.md gives the
/// layout.
/// </summary>
/// <remarks>
/// A CMS envelope is authentic only at its end, which a growing journal never reaches, and holds at most 64 GiB.
/// Therefore CMS carries the key and the gateway's signature, and the records carry the content. A record's nonce is
/// its number, under a key that only this file has. Its associated data are the digest of the header, its position in
/// the write-ahead log and whether it is the last. Records therefore cannot be changed, moved between files, left out
/// or exchanged, and a file that must have an end is refused without it. An attacker who can write into the folder can
/// still remove the newest records. The checkpoints that peers hold show then what is missing.
/// </remarks>
internal static class EncryptedBackupFile
{
    public const int LargestRecord = 1 << 20;

    internal const int RecordHeader = 4 + 1 + 8;

    internal const int Tag = 16;

    internal static ReadOnlySpan<byte> Magic => "SMSEALED\x01"u8;

    internal static byte[] Nonce(long number)
    {
        var nonce = new byte[12];
        BinaryPrimitives.WriteInt64BigEndian(nonce.AsSpan(4), number);
        return nonce;
    }
}

/// <summary>Writes one encrypted file. Records are durable after <see cref="FlushToDisk"/>.</summary>
internal sealed class EncryptedBackupWriter : IDisposable
{
    private readonly FileStream _file;
    private readonly AesGcm _cipher;
    private readonly byte[] _associated;
    private readonly byte[] _buffer = new byte[
        EncryptedBackupFile.RecordHeader + EncryptedBackupFile.LargestRecord + EncryptedBackupFile.Tag
    ];
    private readonly IncrementalHash _hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
    private long _number;
    private bool _ended;

    private EncryptedBackupWriter(FileStream file, byte[] key, byte[] header)
    {
        _file = file;
        _cipher = new AesGcm(key, EncryptedBackupFile.Tag);
        _associated = [.. SHA256.HashData(header), .. new byte[EncryptedBackupFile.RecordHeader]];
    }

    /// <summary>The bytes written so far.</summary>
    public long Length { get; private set; }

    /// <exception cref="IOException">The file exists, or cannot be written.</exception>
    public static async Task<EncryptedBackupWriter> CreateAsync(
        string path, BackupKeys keys, string kind, WalPlace place, CancellationToken cancellationToken)
    {
        var (header, key) = await EncryptedBackupHeader.MakeAsync(keys, kind, place, cancellationToken);
        var options = new FileStreamOptions
        {
            Mode = FileMode.CreateNew,
            Access = FileAccess.Write,
            BufferSize = 0,
        };
        if (!OperatingSystem.IsWindows())
        {
            options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        }

        var writer = new EncryptedBackupWriter(new FileStream(path, options), key, header);
        CryptographicOperations.ZeroMemory(key);
        var length = new byte[4];
        BinaryPrimitives.WriteInt32BigEndian(length, header.Length);
        writer.Put([.. EncryptedBackupFile.Magic, .. length, .. header]);
        return writer;
    }

    /// <summary>Appends one record of at most <see cref="EncryptedBackupFile.LargestRecord"/> bytes.</summary>
    /// <param name="position">The position of the first byte, in the write-ahead log or in the content.</param>
    public void Write(ulong position, ReadOnlySpan<byte> bytes, bool last = false)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(bytes.Length, EncryptedBackupFile.LargestRecord);
        ObjectDisposedException.ThrowIf(_ended, this);
        _ended = last;
        var head = _buffer.AsSpan(0, EncryptedBackupFile.RecordHeader);
        BinaryPrimitives.WriteInt32BigEndian(head, bytes.Length);
        head[4] = last ? (byte)1 : (byte)0;
        BinaryPrimitives.WriteUInt64BigEndian(head[5..], position);
        head.CopyTo(_associated.AsSpan(SHA256.HashSizeInBytes));
        // The key is used for this file only and a number is used once, so the nonce may be the number (SP 800-38D
        // §8.2.1).
        _cipher.Encrypt(
            EncryptedBackupFile.Nonce(_number++), bytes,
            _buffer.AsSpan(EncryptedBackupFile.RecordHeader, bytes.Length),
            _buffer.AsSpan(EncryptedBackupFile.RecordHeader + bytes.Length, EncryptedBackupFile.Tag), _associated);
        Put(_buffer.AsSpan(0, EncryptedBackupFile.RecordHeader + bytes.Length + EncryptedBackupFile.Tag));
    }

    public void FlushToDisk() => _file.Flush(flushToDisk: true);

    /// <summary>The SHA-256 of the bytes written so far.</summary>
    public byte[] Digest() => _hash.GetCurrentHash();

    public void Dispose()
    {
        _cipher.Dispose();
        _hash.Dispose();
        _file.Dispose();
    }

    private void Put(ReadOnlySpan<byte> bytes)
    {
        _hash.AppendData(bytes);
        _file.Write(bytes);
        Length += bytes.Length;
    }
}

/// <summary>Reads one encrypted file. It returns authentic content only.</summary>
internal sealed class EncryptedBackupReader : IDisposable
{
    private readonly string _name;
    private readonly Stream _file;
    private readonly AesGcm _cipher;
    private readonly byte[] _associated;
    private readonly byte[] _ciphertext = new byte[EncryptedBackupFile.LargestRecord + EncryptedBackupFile.Tag];
    private readonly byte[] _plaintext = new byte[EncryptedBackupFile.LargestRecord];
    private long _number;

    private EncryptedBackupReader(
        string name, Stream file, EncryptedBackupHeader header, X509Certificate2 signer, byte[] key, byte[] headerBytes)
    {
        _name = name;
        _file = file;
        Header = header;
        Signer = signer;
        _cipher = new AesGcm(key, EncryptedBackupFile.Tag);
        _associated = [.. SHA256.HashData(headerBytes), .. new byte[EncryptedBackupFile.RecordHeader]];
    }

    public EncryptedBackupHeader Header { get; }

    /// <summary>The certificate of the key that signed the header.</summary>
    public X509Certificate2 Signer { get; }

    /// <summary>Whether the record marked as the last was read.</summary>
    public bool Ended { get; private set; }

    /// <summary>Whether the file ended within a record, because its writer was stopped there. Nothing of that record
    /// was acknowledged.</summary>
    public bool Torn { get; private set; }

    /// <param name="name">The name for messages.</param>
    /// <param name="file">The reader disposes the stream, also when this throws.</param>
    /// <param name="keys">The recovery key.</param>
    /// <exception cref="BackupException">The file is not a backup file, is damaged, or is encrypted to another
    /// key.</exception>
    public static async Task<EncryptedBackupReader> OpenAsync(
        string name, Stream file, IReadOnlyList<RecipientKey> keys, CancellationToken cancellationToken)
    {
        try
        {
            var front = new byte[EncryptedBackupFile.Magic.Length + 4];
            if (
                await file.ReadAtLeastAsync(front, front.Length, throwOnEndOfStream: false, cancellationToken)
                    != front.Length
                || !front.AsSpan().StartsWith(EncryptedBackupFile.Magic))
            {
                throw BackupException.Damaged(name, BackupFault.NotABackupFile);
            }

            var length = BinaryPrimitives.ReadInt32BigEndian(front.AsSpan(EncryptedBackupFile.Magic.Length));
            if (length is <= 0 or > EncryptedBackupHeader.MaxLength)
            {
                throw BackupException.Damaged(name, BackupFault.HeaderDamaged);
            }

            var bytes = new byte[length];
            if (await file.ReadAtLeastAsync(bytes, length, throwOnEndOfStream: false, cancellationToken) != length)
            {
                throw BackupException.Damaged(name, BackupFault.CutOff);
            }

            var (header, signer) = await EncryptedBackupHeader.ReadAsync(name, bytes, cancellationToken);
            var key = await header.UnwrapAsync(name, keys, cancellationToken);
            try
            {
                return new EncryptedBackupReader(name, file, header, signer, key, bytes);
            }
            finally
            {
                CryptographicOperations.ZeroMemory(key);
            }
        }
        catch
        {
            await file.DisposeAsync();
            throw;
        }
    }

    /// <summary>The next record, valid until the next call. Null at the end of the file, or where it is
    /// <see cref="Torn"/>.</summary>
    /// <exception cref="BackupException">A record was changed, or data follows the last record.</exception>
    public async ValueTask<(ulong Position, ReadOnlyMemory<byte> Bytes)?> ReadAsync(
        CancellationToken cancellationToken)
    {
        if (Torn)
        {
            return null;
        }

        var head = new byte[EncryptedBackupFile.RecordHeader];
        var got = await _file.ReadAtLeastAsync(head, head.Length, throwOnEndOfStream: false, cancellationToken);
        if (got == 0)
        {
            return null;
        }

        if (Ended)
        {
            throw BackupException.Damaged(_name, BackupFault.TrailingData);
        }

        if (got < head.Length)
        {
            Torn = true;
            return null;
        }

        // An empty record is written only as the last one, so a record header is never all zeros. A file system may
        // leave zeros up to the end of the file in place of bytes that were never flushed.
        if (!head.AsSpan().ContainsAnyExcept((byte)0))
        {
            Torn = await IsZeroToTheEndAsync(cancellationToken) ? true : throw Changed();
            return null;
        }

        var length = BinaryPrimitives.ReadInt32BigEndian(head);
        if (length is < 0 or > EncryptedBackupFile.LargestRecord || head[4] > 1)
        {
            throw Changed();
        }

        if (
            await _file.ReadAtLeastAsync(
                _ciphertext.AsMemory(0, length + EncryptedBackupFile.Tag), length + EncryptedBackupFile.Tag,
                throwOnEndOfStream: false, cancellationToken)
            != length + EncryptedBackupFile.Tag)
        {
            Torn = true;
            return null;
        }

        head.CopyTo(_associated, SHA256.HashSizeInBytes);
        try
        {
            _cipher.Decrypt(
                EncryptedBackupFile.Nonce(_number++), _ciphertext.AsSpan(0, length),
                _ciphertext.AsSpan(length, EncryptedBackupFile.Tag), _plaintext.AsSpan(0, length), _associated);
        }
        catch (AuthenticationTagMismatchException)
        {
            throw Changed();
        }

        Ended = head[4] == 1;
        return (BinaryPrimitives.ReadUInt64BigEndian(head.AsSpan(5)), _plaintext.AsMemory(0, length));
    }

    /// <summary>The content of a file that has an end. The stream throws <see cref="BackupException"/> where the file
    /// is cut off or changed. It is read asynchronously only.</summary>
    public Stream OpenContent() => new ContentStream(this, _name);

    public void Dispose()
    {
        _cipher.Dispose();
        CryptographicOperations.ZeroMemory(_plaintext);
        _file.Dispose();
    }

    private async Task<bool> IsZeroToTheEndAsync(CancellationToken cancellationToken)
    {
        for (int read; (read = await _file.ReadAsync(_ciphertext, cancellationToken)) > 0;)
        {
            if (_ciphertext.AsSpan(0, read).ContainsAnyExcept((byte)0))
            {
                return false;
            }
        }

        return true;
    }

    private BackupException Changed() =>
        BackupException.RecordChanged(_name, _number);

    private sealed class ContentStream(EncryptedBackupReader reader, string name) : ReadStream
    {
        private ReadOnlyMemory<byte> _rest;
        private ulong _position;

        public override async ValueTask<int> ReadAsync(
            Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            while (_rest.IsEmpty && !reader.Ended)
            {
                var (position, bytes) = await reader.ReadAsync(cancellationToken)
                    ?? throw BackupException.Damaged(name, BackupFault.CutOff);
                if (position != _position)
                {
                    throw BackupException.Damaged(name, BackupFault.RecordGap);
                }

                _position += (ulong)bytes.Length;
                _rest = bytes;
            }

            var count = Math.Min(buffer.Length, _rest.Length);
            if (count == 0 && buffer.Length > 0 && await reader.ReadAsync(cancellationToken) is not null)
            {
                throw BackupException.Damaged(name, BackupFault.TrailingData);
            }

            _rest[..count].CopyTo(buffer);
            _rest = _rest[count..];
            return count;
        }
    }
}
