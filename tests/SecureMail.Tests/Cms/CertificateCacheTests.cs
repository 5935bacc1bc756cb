using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using SecureMail.Cms;

namespace SecureMail.Tests.Cms;

public sealed class CertificateCacheTests
{
    private readonly Clock _clock = new();

    [Fact]
    public void The_same_bytes_give_the_same_certificate()
    {
        var cache = new CertificateCache(8, TimeSpan.FromHours(1), _clock);
        var one = TestPki.Shared.Issue("CN=A").Certificate.RawData;
        X509Certificate2 first = cache.Load(one);
        cache.Load(one.ToArray()).ShouldBeSameAs(first);
        first.RawData.ShouldBe(one);
        cache.Load(TestPki.Shared.Issue("CN=B").Certificate.RawData).ShouldNotBeSameAs(first);
        cache.Count.ShouldBe(2);
        cache.Clear();
        cache.Load(one).ShouldNotBeSameAs(first);
    }

    [Fact]
    public void The_cache_keeps_a_copy_of_the_bytes()
    {
        var cache = new CertificateCache(8, null, _clock);
        var one = TestPki.Shared.Issue("CN=A").Certificate.RawData;
        byte[] given = [.. one];
        X509Certificate2 first = cache.Load(given);
        Array.Clear(given);
        cache.Load(one).ShouldBeSameAs(first);
        Should.Throw<CryptographicException>(() => cache.Load(given));
    }

    [Fact]
    public void The_least_recently_used_are_evicted_from_a_full_cache_and_stay_usable()
    {
        var cache = new CertificateCache(8, null, _clock);
        byte[][] all = [.. Enumerable.Range(0, 9).Select(i => TestPki.Shared.Issue($"CN={i}").Certificate.RawData)];
        var held = new List<X509Certificate2>();
        foreach (var one in all[..8])
        {
            _clock.Pass(TimeSpan.FromSeconds(1));
            held.Add(cache.Load(one));
        }
        _clock.Pass(TimeSpan.FromSeconds(1));
        cache.Load(all[0]).ShouldBeSameAs(held[0]);
        _clock.Pass(TimeSpan.FromSeconds(1));
        cache.Load(all[8]);
        cache.Count.ShouldBe(6);
        cache.Load(all[0]).ShouldBeSameAs(held[0]);
        cache.Load(all[1]).ShouldNotBeSameAs(held[1]);
        foreach (X509Certificate2 certificate in held)
        {
            certificate.GetRSAPublicKey().ShouldNotBeNull();
        }
    }

    [Fact]
    public void A_certificate_expires_by_age_even_when_it_is_used()
    {
        var cache = new CertificateCache(8, TimeSpan.FromHours(1), _clock);
        var one = TestPki.Shared.Issue("CN=A").Certificate.RawData;
        X509Certificate2 first = cache.Load(one);
        _clock.Pass(TimeSpan.FromMinutes(59));
        cache.Load(one).ShouldBeSameAs(first);
        _clock.Pass(TimeSpan.FromMinutes(1));
        cache.Load(one).ShouldNotBeSameAs(first);
    }

    [Fact]
    public void Bytes_that_are_not_a_certificate_or_too_large_are_not_cached()
    {
        var cache = new CertificateCache(8, null, _clock);
        Should.Throw<CryptographicException>(() => cache.Load(new byte[] { 0x30, 0x00 }));
        var large = TestPki
            .Shared.Issue("CN=A", edit: r =>
                r.CertificateExtensions.Add(new X509Extension("1.3.6.1.4.1.99999.2", new byte[9000], false)))
            .Certificate.RawData;
        cache.Load(large).RawData.ShouldBe(large);
        cache.Count.ShouldBe(0);
        var none = new CertificateCache(0);
        none.Load(TestPki.Shared.Issue("CN=B").Certificate.RawData);
        none.Count.ShouldBe(0);
    }

    [Fact]
    public void Many_threads_share_the_cache_while_it_overflows()
    {
        var cache = new CertificateCache(4, null, _clock);
        byte[][] all =
        [
            .. Enumerable
                .Range(0, 12)
                .Select(i => TestPki.Shared.Issue($"CN={i}", key: TestKey.P256).Certificate.RawData),
        ];
        Parallel.For(0, 600, i =>
        {
            X509Certificate2 certificate = cache.Load(all[i % all.Length]);
            certificate.RawData.ShouldBe(all[i % all.Length]);
            certificate.GetECDsaPublicKey().ShouldNotBeNull();
        });
        cache.Count.ShouldBeLessThanOrEqualTo(4 + Environment.ProcessorCount);
    }

    private sealed class Clock : TimeProvider
    {
        private long _now;

        public override long TimestampFrequency => TimeSpan.TicksPerSecond;

        public override long GetTimestamp() => _now;

        public void Pass(TimeSpan time) => _now += time.Ticks;
    }
}
