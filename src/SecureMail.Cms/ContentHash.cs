using System.Buffers;
using System.Security.Cryptography;

namespace SecureMail.Cms;

/// <summary>Computes the digests of all signers in one pass over the content, and keeps the first bytes of the
/// content.</summary>
internal sealed class ContentHash : IDisposable
{
    private const int PrefixSize = 4096;

    private readonly Dictionary<string, IncrementalHash> _running = [];
    private readonly Dictionary<string, byte[]> _digests = [];
    private byte[] _prefix = [];

    public ContentHash(IEnumerable<HashAlgorithmName> algorithms)
    {
        foreach (HashAlgorithmName algorithm in algorithms.Distinct())
        {
            _running.Add(algorithm.Name!, IncrementalHash.CreateHash(algorithm));
        }
    }

    public ReadOnlySpan<byte> Prefix => _prefix;

    public void Append(ReadOnlySpan<byte> data)
    {
        if (_prefix.Length < PrefixSize)
        {
            _prefix = [.. _prefix, .. data[..Math.Min(data.Length, PrefixSize - _prefix.Length)]];
        }

        foreach (IncrementalHash hash in _running.Values)
        {
            hash.AppendData(data);
        }
    }

    public async Task AppendAsync(Stream content, CancellationToken cancellationToken)
    {
        var buffer = ArrayPool<byte>.Shared.Rent(64 * 1024);
        var used = 0;
        try
        {
            for (
                int count;
                (count = await content.ReadAsync(buffer, cancellationToken)) > 0;
                used = Math.Max(used, count))
            {
                Append(buffer.AsSpan(0, count));
            }
        }
        finally
        {
            // Wipe the buffer, because the content may have been encrypted.
            CryptographicOperations.ZeroMemory(buffer.AsSpan(0, used));
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    public void Finish()
    {
        foreach ((var name, IncrementalHash hash) in _running)
        {
            _digests[name] = hash.GetHashAndReset();
        }
    }

    public bool Includes(IEnumerable<HashAlgorithmName> algorithms) =>
        algorithms.All(a => _running.ContainsKey(a.Name!));

    public byte[] Digest(HashAlgorithmName algorithm) => _digests[algorithm.Name!];

    /// <summary>The digest; null when the algorithm was not given to the constructor. Valid after disposal
    /// too.</summary>
    public byte[]? TryDigest(HashAlgorithmName algorithm) => _digests.GetValueOrDefault(algorithm.Name!);

    public void Dispose()
    {
        foreach (IncrementalHash hash in _running.Values)
        {
            hash.Dispose();
        }
    }
}
