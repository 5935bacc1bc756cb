using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using SecureMail.Cms;

namespace SecureMail.Backup;

/// <summary>
/// The one file format of a backup: a signed header, then records, each sealed by itself (AES-256-GCM), so that what is
/// appended is durable and provable piece by piece, and reading needs no second copy. docs/formats.md gives the octets.
/// </summary>
/// <remarks>
/// The whole of a CMS envelope is authentic only at its end, which a journal that grows never reaches, and holds at
/// most 64 GiB; so CMS carries the key and the gateway's signature, and the records carry the octets. A record's nonce
/// is its number under a key that only this file has; its associated data are the header's digest, its place in the
/// write-ahead log and whether it is the last: records cannot be changed, moved between files, left out or exchanged,
/// and a file that must have an end is not taken without it. Who can write into the folder can still take the youngest
/// records away; what is missing then is found by the peers' checkpoints.
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

/// <summary>Writes one sealed file. What was written is durable after <see cref="FlushToDisk"/>.</summary>
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

    /// <summary>Octets written so far.</summary>
    public long Length { get; private set; }

    /// <exception cref="IOException">The file exists, or cannot be written.</exception>
    public static async Task<EncryptedBackupWriter> CreateAsync(
        string path, BackupKeys seal, string kind, WalPlace place, CancellationToken cancellationToken)
    {
        var (header, key) = await EncryptedBackupHeader.MakeAsync(seal, kind, place, cancellationToken);
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

    /// <summary>Appends one record of at most <see cref="EncryptedBackupFile.LargestRecord"/> octets.</summary>
    /// <param name="position">Where the octets begin: in the write-ahead log, or in the content.</param>
    public void Write(ulong position, ReadOnlySpan<byte> octets, bool last = false)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(octets.Length, EncryptedBackupFile.LargestRecord);
        ObjectDisposedException.ThrowIf(_ended, this);
        _ended = last;
        var head = _buffer.AsSpan(0, EncryptedBackupFile.RecordHeader);
        BinaryPrimitives.WriteInt32BigEndian(head, octets.Length);
        head[4] = last ? (byte)1 : (byte)0;
        BinaryPrimitives.WriteUInt64BigEndian(head[5..], position);
        head.CopyTo(_associated.AsSpan(SHA256.HashSizeInBytes));
        // The key is this file's alone and the number never comes twice, so the nonce may be the number (SP 800-38D
        // §8.2.1).
        _cipher.Encrypt(
            EncryptedBackupFile.Nonce(_number++), octets,
            _buffer.AsSpan(EncryptedBackupFile.RecordHeader, octets.Length),
            _buffer.AsSpan(EncryptedBackupFile.RecordHeader + octets.Length, EncryptedBackupFile.Tag), _associated);
        Put(_buffer.AsSpan(0, EncryptedBackupFile.RecordHeader + octets.Length + EncryptedBackupFile.Tag));
    }

    public void FlushToDisk() => _file.Flush(flushToDisk: true);

    /// <summary>SHA-256 of the file as written.</summary>
    public byte[] Digest() => _hash.GetCurrentHash();

    public void Dispose()
    {
        _cipher.Dispose();
        _hash.Dispose();
        _file.Dispose();
    }

    private void Put(ReadOnlySpan<byte> octets)
    {
        _hash.AppendData(octets);
        _file.Write(octets);
        Length += octets.Length;
    }
}

/// <summary>Reads one sealed file; gives out nothing that was not authentic.</summary>
internal sealed class EncryptedBackupReader : IDisposable
{
    private readonly string _name;
    private readonly Stream _file;
    private readonly AesGcm _cipher;
    private readonly byte[] _associated;
    private readonly byte[] _sealed = new byte[EncryptedBackupFile.LargestRecord + EncryptedBackupFile.Tag];
    private readonly byte[] _open = new byte[EncryptedBackupFile.LargestRecord];
    private long _number;

    private EncryptedBackupReader(
        string name, Stream file, EncryptedBackupHeader header, X509Certificate2 signer, byte[] key, byte[] octets)
    {
        _name = name;
        _file = file;
        Header = header;
        Signer = signer;
        _cipher = new AesGcm(key, EncryptedBackupFile.Tag);
        _associated = [.. SHA256.HashData(octets), .. new byte[EncryptedBackupFile.RecordHeader]];
    }

    public EncryptedBackupHeader Header { get; }

    /// <summary>Whose key signed the header.</summary>
    public X509Certificate2 Signer { get; }

    /// <summary>The record marked as the last was read.</summary>
    public bool Ended { get; private set; }

    /// <summary>The file ended within a record: whoever wrote it was stopped there. Nothing of that record was
    /// acknowledged.</summary>
    public bool Torn { get; private set; }

    /// <param name="name">For messages.</param>
    /// <param name="file">Becomes the reader's.</param>
    /// <param name="keys">The recovery key.</param>
    /// <exception cref="BackupException">No sealed file, damaged, or for another key.</exception>
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
            if (length is <= 0 or > EncryptedBackupHeader.LongestOctets)
            {
                throw BackupException.Damaged(name, BackupFault.HeaderDamaged);
            }

            var octets = new byte[length];
            if (await file.ReadAtLeastAsync(octets, length, throwOnEndOfStream: false, cancellationToken) != length)
            {
                throw BackupException.Damaged(name, BackupFault.CutOff);
            }

            var (header, signer) = await EncryptedBackupHeader.ReadAsync(name, octets, cancellationToken);
            var key = await header.UnwrapAsync(name, keys, cancellationToken);
            try
            {
                return new EncryptedBackupReader(name, file, header, signer, key, octets);
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

    /// <summary>The next record, valid until the next call; null at the end of the file or where it is
    /// <see cref="Torn"/>.</summary>
    /// <exception cref="BackupException">A record was changed, or something follows the last.</exception>
    public async ValueTask<(ulong Position, ReadOnlyMemory<byte> Octets)?> ReadAsync(
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

        // A record of no octets is written in one case only, as the last one. Zeros up to the end are what a file
        // system leaves of octets that were never flushed.
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
                _sealed.AsMemory(0, length + EncryptedBackupFile.Tag), length + EncryptedBackupFile.Tag,
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
                EncryptedBackupFile.Nonce(_number++), _sealed.AsSpan(0, length),
                _sealed.AsSpan(length, EncryptedBackupFile.Tag), _open.AsSpan(0, length), _associated);
        }
        catch (AuthenticationTagMismatchException)
        {
            throw Changed();
        }

        Ended = head[4] == 1;
        return (BinaryPrimitives.ReadUInt64BigEndian(head.AsSpan(5)), _open.AsMemory(0, length));
    }

    /// <summary>The content of a file that has an end, as a stream that fails where the file is cut off or
    /// changed.</summary>
    public Stream OpenContent() => new ContentStream(this, _name);

    public void Dispose()
    {
        _cipher.Dispose();
        CryptographicOperations.ZeroMemory(_open);
        _file.Dispose();
    }

    private async Task<bool> IsZeroToTheEndAsync(CancellationToken cancellationToken)
    {
        for (int read; (read = await _file.ReadAsync(_sealed, cancellationToken)) > 0;)
        {
            if (_sealed.AsSpan(0, read).ContainsAnyExcept((byte)0))
            {
                return false;
            }
        }

        return true;
    }

    private BackupException Changed() =>
        BackupException.RecordChanged(_name, _number);

    private sealed class ContentStream(EncryptedBackupReader reader, string name) : Stream
    {
        private ReadOnlyMemory<byte> _rest;
        private ulong _position;

        public override bool CanRead => true;

        public override bool CanSeek => false;

        public override bool CanWrite => false;

        public override long Length => throw new NotSupportedException();

        public override long Position
        {
            get => throw new NotSupportedException();
            set => throw new NotSupportedException();
        }

        public override async ValueTask<int> ReadAsync(
            Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            while (_rest.IsEmpty && !reader.Ended)
            {
                var (position, octets) = await reader.ReadAsync(cancellationToken)
                    ?? throw BackupException.Damaged(name, BackupFault.CutOff);
                if (position != _position)
                {
                    throw BackupException.Damaged(name, BackupFault.RecordGap);
                }

                _position += (ulong)octets.Length;
                _rest = octets;
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

        public override Task<int> ReadAsync(
            byte[] buffer,
            int offset,
            int count,
            CancellationToken cancellationToken
        ) => ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

        public override int Read(byte[] buffer, int offset, int count) =>
            throw new NotSupportedException("Read asynchronously.");

        public override void Flush()
        {
            // Nothing is written here.
        }

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();

        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
    }
}
