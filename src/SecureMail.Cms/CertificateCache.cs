using System.Collections.Concurrent;
using System.Diagnostics.CodeAnalysis;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace SecureMail.Cms;

/// <summary>
/// A cache of certificates, found by their encoding, because loading a certificate and its key costs many times a
/// verification, and a gateway sees the same signers all day. The number, the size and the age of the entries are
/// limited, because senders outside choose what is cached. The cache tells nothing about trust or validity, which are
/// checked each time.
/// An evicted certificate is not disposed, because a caller may still use it. Callers never dispose a certificate from
/// the cache. Safe to use from many threads.
/// </summary>
public sealed class CertificateCache
{
    /// <summary>Larger certificates are not cached. Real certificates have one or two kilobytes.</summary>
    private const int MaxEncodedSize = 8 * 1024;

    private readonly ConcurrentDictionary<ReadOnlyMemory<byte>, Entry> _entries = new(ByteComparer.Instance);
    private readonly int _capacity;
    private readonly TimeSpan _age;
    private readonly TimeProvider _time;
    private readonly Lock _evicting = new();

    /// <param name="capacity">Certificates at most; 0 caches none.</param>
    /// <param name="age">How long a certificate is cached after it was read, used or not; null: one hour.</param>
    /// <param name="time">Null: the system's clock.</param>
    public CertificateCache(int capacity = 1024, TimeSpan? age = null, TimeProvider? time = null)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(capacity);
        _capacity = capacity;
        _age = age ?? TimeSpan.FromHours(1);
        _time = time ?? TimeProvider.System;
    }

    /// <summary>The default cache, used where none is given.</summary>
    public static CertificateCache Shared { get; } = new();

    /// <summary>Certificates cached now.</summary>
    public int Count => _entries.Count;

    /// <summary>The certificate with this encoding, DER. It is shared: do not dispose it.</summary>
    /// <exception cref="CryptographicException">The bytes are not a certificate.</exception>
    public X509Certificate2 Load(ReadOnlyMemory<byte> encoded) =>
        Read(encoded)?.Certificate ?? throw new CryptographicException("not an X.509 certificate");

    public void Clear() => _entries.Clear();

    /// <summary>The certificate with this encoding; null when it is not a certificate. The bytes are copied before they
    /// are cached, because they may be part of a larger object.</summary>
    internal CmsCertificate? Read(ReadOnlyMemory<byte> encoded)
    {
        var now = _time.GetTimestamp();
        if (_entries.TryGetValue(encoded, out Entry? entry))
        {
            if (_time.GetElapsedTime(entry.Added, now) < _age)
            {
                entry.Used = now;
                return entry.Certificate;
            }
            _entries.TryRemove(new KeyValuePair<ReadOnlyMemory<byte>, Entry>(encoded, entry));
        }
        if (_capacity == 0 || encoded.Length > MaxEncodedSize)
        {
            return CmsCertificate.TryRead(encoded);
        }

        if (CmsCertificate.TryRead(encoded.ToArray()) is not { } read)
        {
            return null;
        }

        entry = _entries.GetOrAdd(read.Encoded, new Entry(read, now) { Used = now });
        if (_entries.Count > _capacity)
        {
            Evict(now);
        }

        return entry.Certificate;
    }

    /// <summary>Removes entries that are too old, then the least recently used, down to three quarters of the capacity,
    /// so that eviction is rare.</summary>
    private void Evict(long now)
    {
        lock (_evicting)
        {
            if (_entries.Count <= _capacity)
            {
                return;
            }

            KeyValuePair<ReadOnlyMemory<byte>, Entry>[] entries = _entries.ToArray();
            var excess = entries.Length - (_capacity * 3 / 4);
            foreach (
                KeyValuePair<ReadOnlyMemory<byte>, Entry> entry in entries
                    .OrderByDescending(e => _time.GetElapsedTime(e.Value.Added, now) >= _age)
                    .ThenBy(e => e.Value.Used)
                    .Take(excess))
            {
                _entries.TryRemove(entry);
            }
        }
    }

    private sealed class Entry(CmsCertificate certificate, long added)
    {
        private long _used;

        public CmsCertificate Certificate { get; } = certificate;

        public long Added { get; } = added;

        public long Used
        {
            get => Volatile.Read(ref _used);
            set => Volatile.Write(ref _used, value);
        }
    }

    private sealed class ByteComparer : IEqualityComparer<ReadOnlyMemory<byte>>
    {
        public static readonly ByteComparer Instance = new();

        public bool Equals(ReadOnlyMemory<byte> x, ReadOnlyMemory<byte> y) => x.Span.SequenceEqual(y.Span);

        public int GetHashCode([DisallowNull] ReadOnlyMemory<byte> obj)
        {
            // HashCode is seeded in every process, so a sender cannot make certificates that fall into one bucket.
            var hash = new HashCode();
            hash.AddBytes(obj.Span);
            return hash.ToHashCode();
        }
    }
}
