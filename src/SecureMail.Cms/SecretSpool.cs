using System.Buffers.Binary;
using System.Security.Cryptography;

namespace SecureMail.Cms;

/// <summary>
/// Holds content that must not be seen yet, or not by others: written once, then read as often as wanted. Up to 1 MiB
/// stays in memory; beyond that it goes to a temporary file in pieces of 64 KiB, each sealed with AES-256-GCM under a key
/// that exists in this process only, so a stolen or altered file tells and does nothing. The file has no name once it is
/// open (on Unix) and goes with the spool.
/// A nonce is the number of the piece: every spool has a key of its own and writes each piece once, so none repeats.
/// Writing is for one thread; readers may be many, after the last write.
/// </summary>
public sealed class SecretSpool : IDisposable
{
    private const int PieceSize = 64 * 1024;
    private const int TagSize = 16;
    private const int PiecesInMemory = 16;

    private readonly List<byte[]> _memory = [];
    private byte[] _current = [];
    private int _currentCount;
    private long _pieces;
    private FileStream? _file;
    private AesGcm? _seal;
    private byte[]? _scratch;
    private bool _disposed;

    /// <summary>Octets written so far.</summary>
    public long Length => (_pieces * PieceSize) + _currentCount;

    /// <summary>Appends octets.</summary>
    /// <exception cref="IOException">The temporary file cannot be made or written, for example on a full disk.</exception>
    public void Write(ReadOnlySpan<byte> data)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        while (!data.IsEmpty)
        {
            if (_currentCount == PieceSize)
                CloseCurrent();
            if (_currentCount == _current.Length)
                Grow(data.Length);
            int count = Math.Min(data.Length, _current.Length - _currentCount);
            data[..count].CopyTo(_current.AsSpan(_currentCount));
            _currentCount += count;
            data = data[count..];
        }
    }

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
            return;
        _disposed = true;
        foreach (byte[] piece in _memory)
            CryptographicOperations.ZeroMemory(piece);
        CryptographicOperations.ZeroMemory(_current);
        _memory.Clear();
        _file?.Dispose();
        _seal?.Dispose();
    }

    private void Grow(int wanted)
    {
        int size = Math.Min(PieceSize, Math.Max(_current.Length * 2, Math.Max(4096, _currentCount + wanted)));
        var grown = new byte[size];
        _current.AsSpan(0, _currentCount).CopyTo(grown);
        CryptographicOperations.ZeroMemory(_current);
        _current = grown;
    }

    private void CloseCurrent()
    {
        if (_file is null && _memory.Count < PiecesInMemory)
        {
            _memory.Add(_current);
            _current = [];
        }
        else
        {
            _file ??= OpenFile();
            WritePiece(_pieces, _current);
        }
        _pieces++;
        _currentCount = 0;
    }

    private FileStream OpenFile()
    {
        string path = Path.Combine(Path.GetTempPath(), "securemail-" + Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(16)));
        byte[] key = RandomNumberGenerator.GetBytes(32);
        _seal = new AesGcm(key, TagSize);
        CryptographicOperations.ZeroMemory(key);
        _scratch = new byte[PieceSize + TagSize];
        var options = new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.ReadWrite, Share = FileShare.None, BufferSize = 0, Options = FileOptions.DeleteOnClose };
        if (!OperatingSystem.IsWindows())
            options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        var file = new FileStream(path, options);
        if (!OperatingSystem.IsWindows())
            File.Delete(path);
        return file;
    }

    private void WritePiece(long index, ReadOnlySpan<byte> plain)
    {
        Span<byte> nonce = stackalloc byte[12];
        BinaryPrimitives.WriteInt64BigEndian(nonce[4..], index);
        _seal!.Encrypt(nonce, plain, _scratch.AsSpan(0, PieceSize), _scratch.AsSpan(PieceSize));
        RandomAccess.Write(_file!.SafeFileHandle, _scratch, FileOffset(index));
    }

    private static long FileOffset(long index) => (index - PiecesInMemory) * (PieceSize + TagSize);

    /// <summary>The octets of one piece; from the file they are opened into the buffer.</summary>
    private ReadOnlyMemory<byte> Piece(long index, ref byte[]? buffer)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        if (index < _memory.Count)
            return _memory[(int)index];
        if (index == _pieces)
            return _current.AsMemory(0, _currentCount);
        buffer ??= new byte[PieceSize + PieceSize + TagSize];
        Span<byte> cipher = buffer.AsSpan(PieceSize);
        Span<byte> nonce = stackalloc byte[12];
        BinaryPrimitives.WriteInt64BigEndian(nonce[4..], index);
        for (int read = 0; read < cipher.Length;)
        {
            int count = RandomAccess.Read(_file!.SafeFileHandle, cipher[read..], FileOffset(index) + read);
            if (count == 0)
                throw new IOException("a temporary file was cut off while in use");
            read += count;
        }
        lock (_seal!)
            _seal.Decrypt(nonce, cipher[..PieceSize], cipher[PieceSize..], buffer.AsSpan(0, PieceSize));
        return buffer.AsMemory(0, PieceSize);
    }

    private sealed class Writer(SecretSpool spool) : Stream
    {
        public override bool CanRead => false;
        public override bool CanSeek => false;
        public override bool CanWrite => true;
        public override long Length => spool.Length;
        public override long Position { get => spool.Length; set => throw new NotSupportedException(); }

        public override void Write(ReadOnlySpan<byte> buffer) => spool.Write(buffer);
        public override void Write(byte[] buffer, int offset, int count) => spool.Write(buffer.AsSpan(offset, count));
        public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
        {
            cancellationToken.ThrowIfCancellationRequested();
            spool.Write(buffer.Span);
            return ValueTask.CompletedTask;
        }

        public override Task WriteAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
            WriteAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

        public override void Flush() { }
        public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();
        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();
        public override void SetLength(long value) => throw new NotSupportedException();
    }

    private sealed class Reader(SecretSpool spool) : Stream
    {
        private byte[]? _buffer;
        private ReadOnlyMemory<byte> _piece;
        private long _pieceIndex = -1;

        public override bool CanRead => true;
        public override bool CanSeek => true;
        public override bool CanWrite => false;
        public override long Length => spool.Length;
        public override long Position { get; set; }

        public override int Read(Span<byte> buffer)
        {
            int total = 0;
            while (!buffer.IsEmpty && Position < spool.Length)
            {
                long index = Position / PieceSize;
                if (index != _pieceIndex)
                {
                    _piece = spool.Piece(index, ref _buffer);
                    _pieceIndex = index;
                }
                ReadOnlySpan<byte> rest = _piece.Span[(int)(Position % PieceSize)..];
                int count = Math.Min(rest.Length, buffer.Length);
                rest[..count].CopyTo(buffer);
                buffer = buffer[count..];
                Position += count;
                total += count;
            }
            return total;
        }

        public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

        public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) =>
            cancellationToken.IsCancellationRequested ? ValueTask.FromCanceled<int>(cancellationToken) : ValueTask.FromResult(Read(buffer.Span));

        public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
            ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

        public override long Seek(long offset, SeekOrigin origin) => Position = origin switch
        {
            SeekOrigin.Begin => Checked(offset),
            SeekOrigin.Current => Checked(Position + offset),
            _ => Checked(Length + offset),
        };

        public override void Flush() { }
        public override void SetLength(long value) => throw new NotSupportedException();
        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

        protected override void Dispose(bool disposing)
        {
            if (_buffer is not null)
                CryptographicOperations.ZeroMemory(_buffer);
            base.Dispose(disposing);
        }

        private static long Checked(long position) => position >= 0 ? position : throw new IOException("a position before the beginning");
    }
}
