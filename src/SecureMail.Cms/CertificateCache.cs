using System.Collections.Concurrent;
using System.Diagnostics.CodeAnalysis;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace SecureMail.Cms;

/// <summary>
/// Certificates read before, found again by their octets: loading one and its key costs many times what verifying with
/// it does, and a gateway sees the same signers all day. Bounded in number, in the size of each and in age, because
/// strangers choose what is put here. It says nothing about trust or validity: those are asked anew each time.
/// What falls out is only forgotten, never disposed: whoever holds a certificate may go on using it, and nobody who got
/// one from here disposes it. Safe to use from many threads.
/// </summary>
public sealed class CertificateCache
{
    /// <summary>Larger certificates are read each time: real ones have a kilobyte or two.</summary>
    private const int MaxEncoded = 8 * 1024;

    private readonly ConcurrentDictionary<ReadOnlyMemory<byte>, Entry> _entries = new(OctetComparer.Instance);
    private readonly int _capacity;
    private readonly TimeSpan _age;
    private readonly TimeProvider _time;
    private readonly Lock _evicting = new();

    /// <param name="capacity">Certificates kept at most; 0 keeps none.</param>
    /// <param name="age">How long one is kept, used or not; null: an hour.</param>
    /// <param name="time">Null: the system's clock.</param>
    public CertificateCache(int capacity = 1024, TimeSpan? age = null, TimeProvider? time = null)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(capacity);
        _capacity = capacity;
        _age = age ?? TimeSpan.FromHours(1);
        _time = time ?? TimeProvider.System;
    }

    /// <summary>The one that is used where none is given.</summary>
    public static CertificateCache Shared { get; } = new();

    /// <summary>Certificates kept now.</summary>
    public int Count => _entries.Count;

    /// <summary>The certificate of these octets, DER. It is shared: do not dispose it.</summary>
    /// <exception cref="CryptographicException">It is none.</exception>
    public X509Certificate2 Load(ReadOnlyMemory<byte> encoded) =>
        Read(encoded)?.Certificate ?? throw new CryptographicException("not an X.509 certificate");

    /// <summary>Forgets everything.</summary>
    public void Clear() => _entries.Clear();

    /// <summary>Null when it is no certificate. The octets may be part of something larger: they are copied before they
    /// are kept.</summary>
    internal CmsCertificate? Read(ReadOnlyMemory<byte> encoded)
    {
        var now = _time.GetTimestamp();
        if (_entries.TryGetValue(encoded, out Entry? entry))
        {
            if (_time.GetElapsedTime(entry.Made, now) < _age)
            {
                entry.Used = now;
                return entry.Certificate;
            }
            _entries.TryRemove(new KeyValuePair<ReadOnlyMemory<byte>, Entry>(encoded, entry));
        }
        if (_capacity == 0 || encoded.Length > MaxEncoded)
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

    /// <summary>Drops what is too old, then what was used longest ago, down to three quarters: so it is done
    /// seldom.</summary>
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
                    .OrderByDescending(e => _time.GetElapsedTime(e.Value.Made, now) >= _age)
                    .ThenBy(e => e.Value.Used)
                    .Take(excess))
            {
                _entries.TryRemove(entry);
            }
        }
    }

    private sealed class Entry(CmsCertificate certificate, long made)
    {
        private long _used;

        public CmsCertificate Certificate { get; } = certificate;

        public long Made { get; } = made;

        public long Used
        {
            get => Volatile.Read(ref _used);
            set => Volatile.Write(ref _used, value);
        }
    }

    private sealed class OctetComparer : IEqualityComparer<ReadOnlyMemory<byte>>
    {
        public static readonly OctetComparer Instance = new();

        public bool Equals(ReadOnlyMemory<byte> x, ReadOnlyMemory<byte> y) => x.Span.SequenceEqual(y.Span);

        public int GetHashCode([DisallowNull] ReadOnlyMemory<byte> obj)
        {
            // Seeded anew in every process: a stranger cannot make certificates that all fall into one bucket.
            var hash = new HashCode();
            hash.AddBytes(obj.Span);
            return hash.ToHashCode();
        }
    }
}
