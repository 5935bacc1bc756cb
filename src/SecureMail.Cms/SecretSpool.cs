using System.Buffers.Binary;
using System.Security.Cryptography;
using SecureMail.Shared;

namespace SecureMail.Cms;

/// <summary>
/// Stores confidential or unverified content temporarily: it is written once and then read any number of times. The
/// first MiB stays in memory, and more as long as the memory shared by all spools of the process
/// (<see cref="SpoolMemory"/>) is not used up. An ordinary message therefore never reaches the disk, and eight very
/// large messages at once need no more memory than one. The rest is written to a temporary file in pieces of 256 KiB,
/// each encrypted with AES-256-GCM under a key that only this process has, so that the file reveals nothing and a
/// change is detected. On Unix the file has no name once it is open, and it is removed with the spool. The nonce is the
/// number of the piece; it never repeats under one key, because every spool has its own key and writes each piece once.
/// One thread writes; any number of readers may read after the last write.
/// </summary>
public sealed class SecretSpool : IDisposable
{
    internal const int PieceSize = SpoolMemory.PieceSize;

    private const int TagSize = SpoolMemory.TagSize;
    private const int UnsharedPieces = 4;
    private const int FirstSize = 4096;
    private const int LargestBeforePiece = 32 * 1024;

    private readonly List<byte[]> _memory = [];
    private byte[] _current = [];
    private int _currentCount;
    private long _pieces;
    private FileStream? _file;
    private AesGcm? _aes;
    private volatile bool _disposed;
    private int _activeReads;

    /// <summary>Returns the reservations of a spool that was not disposed, because the shared memory would otherwise
    /// shrink for good. Its file is removed with its own handle.</summary>
#pragma warning disable MA0055 // a reservation is a count, not a handle that a SafeHandle could own
    ~SecretSpool() => SpoolMemory.ReleaseReservations(Math.Max(0, _memory.Count - UnsharedPieces));
#pragma warning restore MA0055

    /// <summary>Bytes written so far.</summary>
    public long Length => (_pieces * PieceSize) + _currentCount;

    /// <summary>Whether a part of the content is in a file.</summary>
    internal bool IsInFile => _file is not null;

    /// <summary>Appends bytes.</summary>
    /// <exception cref="IOException">The temporary file cannot be made or written, for example on a full
    /// disk.</exception>
    public void Write(ReadOnlySpan<byte> data)
    {
        while (!data.IsEmpty)
        {
            Span<byte> free = GetSpan(data.Length);
            var count = Math.Min(data.Length, free.Length);
            data[..count].CopyTo(free);
            Advance(count);
            data = data[count..];
        }
    }

    /// <summary>Memory for the next bytes, to be filled without a copy: at least one byte, at most as many as wanted or
    /// as the piece has left. <see cref="Advance"/> appends them.</summary>
    /// <exception cref="IOException">As <see cref="Write"/>.</exception>
    internal Span<byte> GetSpan(int wanted)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        if (_currentCount == PieceSize)
        {
            CompleteCurrent();
        }

        if (_currentCount >= Math.Min(_current.Length, PieceSize))
        {
            Grow(wanted);
        }

        return _current.AsSpan(_currentCount, Math.Min(wanted, Math.Min(_current.Length, PieceSize) - _currentCount));
    }

    /// <summary>Appends the first bytes of the memory from <see cref="GetSpan"/>.</summary>
    internal void Advance(int count) => _currentCount += count;

    /// <summary>A seekable stream over the content; the spool must outlive it.</summary>
    public Stream OpenRead()
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        return new ReaderStream(this);
    }

    /// <summary>A stream that appends; closing it does not change the spool.</summary>
    public Stream OpenWrite()
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        return new WriterStream(this);
    }

    /// <summary>Wipes the memory and removes the file.</summary>
    public void Dispose()
    {
        if (_disposed)
        {
            return;
        }

        _disposed = true;
        GC.SuppressFinalize(this);
        // A reader first increments the count and then checks _disposed. Here the order is reversed, so either the
        // reader stops, or its count is seen here and the memory it may be copying from is not used again.
        Interlocked.MemoryBarrier();
        var unread = Volatile.Read(ref _activeReads) == 0;
        for (var i = 0; i < _memory.Count; i++)
        {
            SpoolMemory.Return(_memory[i], PieceSize, reserved: i >= UnsharedPieces, reuse: unread);
        }

        Release(_current, _currentCount, unread);
        _current = [];
        _file?.Dispose();
        _aes?.Dispose();
    }

    /// <summary>Enlarges the current array: small ones are doubled, larger ones become a whole piece at once.</summary>
    private void Grow(int wanted)
    {
        var size = Math.Max(_current.Length * 2, Math.Max(FirstSize, _currentCount + wanted));
        var grown = size > LargestBeforePiece ? SpoolMemory.Rent() : new byte[size];
        _current.AsSpan(0, _currentCount).CopyTo(grown);
        Release(_current, _currentCount, reuse: true);
        _current = grown;
    }

    private static void Release(byte[] array, int used, bool reuse)
    {
        if (array.Length == PieceSize + TagSize)
        {
            SpoolMemory.Return(array, used, reserved: false, reuse);
        }
        else
        {
            CryptographicOperations.ZeroMemory(array);
        }
    }

    private void CompleteCurrent()
    {
        if (_file is null && (_memory.Count < UnsharedPieces || SpoolMemory.TryReserve()))
        {
            _memory.Add(_current);
            _current = [];
        }
        else
        {
            try
            {
                _file ??= OpenFile();
                WriteCurrentToFile();
            }
            catch
            {
                // Stop, because the piece may already be encrypted, and its nonce must not be used again.
                Dispose();
                throw;
            }
        }
        _pieces++;
        _currentCount = 0;
    }

    private FileStream OpenFile()
    {
        var path = Path.Combine(
            Path.GetTempPath(), "securemail-" + Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(16)));
        var key = RandomNumberGenerator.GetBytes(32);
        _aes = new AesGcm(key, TagSize);
        CryptographicOperations.ZeroMemory(key);
        var options = new FileStreamOptions
        {
            Mode = FileMode.CreateNew,
            Access = FileAccess.ReadWrite,
            Share = FileShare.None,
            BufferSize = 0,
            Options = FileOptions.DeleteOnClose,
        };
        if (!OperatingSystem.IsWindows())
        {
            options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        }

        var file = new FileStream(path, options);
        if (!OperatingSystem.IsWindows())
        {
            File.Delete(path);
        }

        return file;
    }

    /// <summary>Encrypts the piece in place, with the tag after it, and writes both to the file. The plaintext is then
    /// no longer in memory.</summary>
    private void WriteCurrentToFile()
    {
        Span<byte> nonce = stackalloc byte[12];
        BinaryPrimitives.WriteInt64BigEndian(nonce[4..], _pieces);
        Span<byte> piece = _current.AsSpan(0, PieceSize);
        _aes!.Encrypt(nonce, piece, piece, _current.AsSpan(PieceSize, TagSize));
        RandomAccess.Write(_file!.SafeFileHandle, _current.AsSpan(0, PieceSize + TagSize), FileOffset(_pieces));
    }

    private long FileOffset(long index) => (index - _memory.Count) * (PieceSize + TagSize);

    /// <summary>The bytes of one piece. A piece in the file is decrypted into the buffer.</summary>
    /// <exception cref="IOException">The file was truncated.</exception>
    /// <exception cref="AuthenticationTagMismatchException">The file was changed.</exception>
    private ReadOnlyMemory<byte> ReadPiece(long index, ref byte[]? buffer)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        if (index < _memory.Count)
        {
            return _memory[(int)index].AsMemory(0, PieceSize);
        }

        if (index == _pieces)
        {
            return _current.AsMemory(0, _currentCount);
        }

        buffer ??= SpoolMemory.Rent();
        Span<byte> nonce = stackalloc byte[12];
        BinaryPrimitives.WriteInt64BigEndian(nonce[4..], index);
        for (var read = 0; read < PieceSize + TagSize;)
        {
            var count = RandomAccess.Read(
                _file!.SafeFileHandle, buffer.AsSpan(read, PieceSize + TagSize - read), FileOffset(index) + read);
            if (count == 0)
            {
                throw new IOException("a temporary file was truncated while in use");
            }

            read += count;
        }
        Span<byte> piece = buffer.AsSpan(0, PieceSize);
        lock (_aes!)
        {
            _aes.Decrypt(nonce, piece, buffer.AsSpan(PieceSize, TagSize), piece);
        }

        return buffer.AsMemory(0, PieceSize);
    }

    private sealed class WriterStream(SecretSpool spool) : WriteStream
    {
        public override long Length => spool.Length;

        public override void Write(ReadOnlySpan<byte> buffer) => spool.Write(buffer);
    }

    private sealed class ReaderStream(SecretSpool spool) : SeekableReadStream
    {
        private byte[]? _buffer;
        private ReadOnlyMemory<byte> _piece;
        private long _pieceIndex = -1;
        private bool _closed;

        public override long Length => spool.Length;

        public override int Read(Span<byte> buffer)
        {
            Interlocked.Increment(ref spool._activeReads); // before the check of _disposed; see Dispose
            try
            {
                ObjectDisposedException.ThrowIf(_closed || spool._disposed, this);
                var total = 0;
                while (!buffer.IsEmpty && Position < spool.Length)
                {
                    var index = Position / PieceSize;
                    if (index != _pieceIndex)
                    {
                        _piece = spool.ReadPiece(index, ref _buffer);
                        _pieceIndex = index;
                    }
                    ReadOnlySpan<byte> rest = _piece.Span[(int)(Position % PieceSize)..];
                    var count = Math.Min(rest.Length, buffer.Length);
                    rest[..count].CopyTo(buffer);
                    buffer = buffer[count..];
                    Position += count;
                    total += count;
                }
                return total;
            }
            finally
            {
                Interlocked.Decrement(ref spool._activeReads);
            }
        }

        protected override void Dispose(bool disposing)
        {
            if (Interlocked.Exchange(ref _buffer, null) is { } buffer)
            {
                SpoolMemory.Return(buffer, PieceSize, reserved: false);
            }

            (_piece, _pieceIndex, _closed) = (default, -1, true);
            base.Dispose(disposing);
        }
    }
}
