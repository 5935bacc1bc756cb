using System.Globalization;

namespace SecureMail.Backup;

/// <summary>Writes bytes of the write-ahead log into segment files with PostgreSQL's names.</summary>
internal sealed class WalSegments(string folder, long timeline, long segmentSize) : IDisposable
{
    private FileStream? _open;
    private ulong _number = ulong.MaxValue;

    public void Write(ulong position, ReadOnlySpan<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            var (number, offset) = (position / (ulong)segmentSize, (long)(position % (ulong)segmentSize));
            var count = (int)Math.Min(bytes.Length, segmentSize - offset);
            var file = Segment(number);
            file.Position = offset;
            file.Write(bytes[..count]);
            position += (ulong)count;
            bytes = bytes[count..];
        }
    }

    public void Dispose() => _open?.Dispose();

    private FileStream Segment(ulong number)
    {
        if (_open is not null && _number == number)
        {
            return _open;
        }

        _open?.Dispose();
        var perId = 0x1_0000_0000UL / (ulong)segmentSize;
        var name = string.Create(CultureInfo.InvariantCulture, $"{timeline:X8}{number / perId:X8}{number % perId:X8}");
        var options = new FileStreamOptions
        {
            Mode = FileMode.OpenOrCreate,
            Access = FileAccess.Write,
            BufferSize = 1 << 16,
        };
        if (!OperatingSystem.IsWindows())
        {
            options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        }

        _open = new FileStream(Path.Combine(folder, name), options);
        _number = number;
        if (_open.Length < segmentSize)
        {
            _open.SetLength(segmentSize);
        }

        return _open;
    }
}
