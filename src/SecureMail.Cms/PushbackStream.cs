using SecureMail.Shared;

namespace SecureMail.Cms;

/// <summary>Bytes that were read ahead, then the rest of the stream they came from. Closing leaves that stream
/// open.</summary>
internal sealed class PushbackStream(ReadOnlyMemory<byte> prefix, Stream rest) : ReadStream
{
    private ReadOnlyMemory<byte> _prefix = prefix;

    public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        if (_prefix.IsEmpty)
        {
            return rest.ReadAsync(buffer, cancellationToken);
        }

        var count = Math.Min(buffer.Length, _prefix.Length);
        _prefix[..count].CopyTo(buffer);
        _prefix = _prefix[count..];
        return ValueTask.FromResult(count);
    }
}
