using System.Buffers.Binary;
using System.Security.Cryptography;
using SecureMail.Shared;

namespace SecureMail.Cms;

/// <summary>
/// Holds content that must not be seen yet, or not by others: written once, then read as often as wanted. The first MiB
/// stays in memory, and more while the process has some left of what all its spools share (<see cref="SpoolMemory"/>):
/// so an ordinary dispatch never touches the disk, and eight huge ones at once cost no more memory than one. Beyond
/// that it goes to a temporary file in pieces of 256 KiB, each sealed with AES-256-GCM under a key that exists in this
/// process only, so a stolen or altered file tells and does nothing. The file has no name once it is open (on Unix) and
/// goes with the spool. A nonce is the number of the piece: every spool has a key of its own and writes each piece
/// once, so none repeats. Writing is for one thread; readers may be many, after the last write.
/// </summary>
public sealed class SecretSpool : IDisposable
{
    internal const int PieceSize = SpoolMemory.PieceSize;

    private const int TagSize = SpoolMemory.Extra;
    private const int PiecesOfOwn = 4;
    private const int FirstSize = 4096;
    private const int LargestBeforePiece = 32 * 1024;

    private readonly List<byte[]> _memory = [];
    private byte[] _current = [];
    private int _currentCount;
    private long _pieces;
    private FileStream? _file;
    private AesGcm? _seal;
    private volatile bool _disposed;
    private int _reading;

    /// <summary>Only for one that was forgotten: what all share must not shrink for good. Its file goes with its own
    /// handle.</summary>
#pragma warning disable MA0055 // there is no handle here that a SafeHandle could own, only a count
    ~SecretSpool() => SpoolMemory.GiveBack(Math.Max(0, _memory.Count - PiecesOfOwn));
#pragma warning restore MA0055

    /// <summary>Octets written so far.</summary>
    public long Length => (_pieces * PieceSize) + _currentCount;

    /// <summary>Whether some of it lies in a file.</summary>
    internal bool IsInFile => _file is not null;

    /// <summary>Appends octets.</summary>
    /// <exception cref="IOException">The temporary file cannot be made or written, for example on a full
    /// disk.</exception>
    public void Write(ReadOnlySpan<byte> data)
    {
        while (!data.IsEmpty)
        {
            Span<byte> room = Room(data.Length);
            var count = Math.Min(data.Length, room.Length);
            data[..count].CopyTo(room);
            Advance(count);
            data = data[count..];
        }
    }

    /// <summary>Where the next octets may be put without a copy: at least one, at most what is wanted or a piece has
    /// left. <see cref="Advance"/> keeps them.</summary>
    /// <exception cref="IOException">As <see cref="Write"/>.</exception>
    internal Span<byte> Room(int wanted)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        if (_currentCount == PieceSize)
        {
            CloseCurrent();
        }

        if (_currentCount >= Math.Min(_current.Length, PieceSize))
        {
            Grow(wanted);
        }

        return _current.AsSpan(_currentCount, Math.Min(wanted, Math.Min(_current.Length, PieceSize) - _currentCount));
    }

    /// <summary>Keeps so many octets of what <see cref="Room"/> gave.</summary>
    internal void Advance(int count) => _currentCount += count;

    /// <summary>A seekable stream over all that was written; the spool must outlive it.</summary>
    public Stream OpenRead()
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        return new Reader(this);
    }

    /// <summary>A stream that appends; closing it leaves the spool as it is.</summary>
    public Stream OpenWrite()
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        return new Writer(this);
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
        // A reader counts itself first and looks whether the spool is disposed second; here it is the other way round.
        // So either it stops or it is seen, and what it may be copying from becomes no other message's.
        Interlocked.MemoryBarrier();
        var unread = Volatile.Read(ref _reading) == 0;
        for (var i = 0; i < _memory.Count; i++)
        {
            SpoolMemory.Return(_memory[i], PieceSize, shared: i >= PiecesOfOwn, reuse: unread);
        }

        Release(_current, _currentCount, unread);
        _current = [];
        _file?.Dispose();
        _seal?.Dispose();
    }

    /// <summary>Small contents get small arrays; what outgrows them gets a piece at once.</summary>
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
            SpoolMemory.Return(array, used, shared: false, reuse);
        }
        else
        {
            CryptographicOperations.ZeroMemory(array);
        }
    }

    private void CloseCurrent()
    {
        if (_file is null && (_memory.Count < PiecesOfOwn || SpoolMemory.TryTakeShare()))
        {
            _memory.Add(_current);
            _current = [];
        }
        else
        {
            try
            {
                _file ??= OpenFile();
                WriteCurrent();
            }
            catch
            {
                // The piece may be sealed already: going on would seal another under the same nonce.
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
        _seal = new AesGcm(key, TagSize);
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

    /// <summary>Seals the piece where it stands, tag behind it: the plaintext is gone from memory when it goes to the
    /// file.</summary>
    private void WriteCurrent()
    {
        Span<byte> nonce = stackalloc byte[12];
        BinaryPrimitives.WriteInt64BigEndian(nonce[4..], _pieces);
        Span<byte> piece = _current.AsSpan(0, PieceSize);
        _seal!.Encrypt(nonce, piece, piece, _current.AsSpan(PieceSize, TagSize));
        RandomAccess.Write(_file!.SafeFileHandle, _current.AsSpan(0, PieceSize + TagSize), FileOffset(_pieces));
    }

    private long FileOffset(long index) => (index - _memory.Count) * (PieceSize + TagSize);

    /// <summary>The octets of one piece; from the file they are opened into the buffer.</summary>
    private ReadOnlyMemory<byte> Piece(long index, ref byte[]? buffer)
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
                throw new IOException("a temporary file was cut off while in use");
            }

            read += count;
        }
        Span<byte> piece = buffer.AsSpan(0, PieceSize);
        lock (_seal!)
        {
            _seal.Decrypt(nonce, piece, buffer.AsSpan(PieceSize, TagSize), piece);
        }

        return buffer.AsMemory(0, PieceSize);
    }

    private sealed class Writer(SecretSpool spool) : WriteStream
    {
        public override long Length => spool.Length;

        public override void Write(ReadOnlySpan<byte> buffer) => spool.Write(buffer);
    }

    private sealed class Reader(SecretSpool spool) : SeekableReadStream
    {
        private byte[]? _buffer;
        private ReadOnlyMemory<byte> _piece;
        private long _pieceIndex = -1;
        private bool _closed;

        public override long Length => spool.Length;

        public override int Read(Span<byte> buffer)
        {
            Interlocked.Increment(ref spool._reading); // before it is asked whether the spool is disposed; see there
            try
            {
                ObjectDisposedException.ThrowIf(_closed || spool._disposed, this);
                var total = 0;
                while (!buffer.IsEmpty && Position < spool.Length)
                {
                    var index = Position / PieceSize;
                    if (index != _pieceIndex)
                    {
                        _piece = spool.Piece(index, ref _buffer);
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
                Interlocked.Decrement(ref spool._reading);
            }
        }

        protected override void Dispose(bool disposing)
        {
            if (Interlocked.Exchange(ref _buffer, null) is { } buffer)
            {
                SpoolMemory.Return(buffer, PieceSize, shared: false);
            }

            (_piece, _pieceIndex, _closed) = (default, -1, true);
            base.Dispose(disposing);
        }
    }
}
