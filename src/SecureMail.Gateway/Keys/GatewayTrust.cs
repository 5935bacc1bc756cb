using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using SecureMail.Gateway.Directories;
using SecureMail.Trust;

namespace SecureMail.Gateway.Keys;

/// <summary>
/// What this gateway validates by: the configured anchors, intermediates and CRLs. The files are read again when one of
/// them has changed, because CRLs are renewed while the gateway runs. When a changed file cannot be read, what was read
/// before stays in force.
/// </summary>
internal sealed class GatewayTrust(TrustOptions options, TimeProvider time)
{
    private static readonly TimeSpan LookEvery = TimeSpan.FromSeconds(10);

    private readonly Lock _lock = new();
    private TrustMaterial? _material;
    private DateTime _stamp;
    private long _looked;

    /// <exception cref="InvalidDataException">At the first reading: a file holds nothing of what it is configured
    /// for.</exception>
    public TrustMaterial Material
    {
        get
        {
            lock (_lock)
            {
                if (_material is null || time.GetElapsedTime(_looked) > LookEvery)
                {
                    _looked = time.GetTimestamp();
                    Reload();
                }

                return _material!;
            }
        }
    }

    public ValidationOptions ValidationOptions(DateTimeOffset at) =>
        new() { Trust = Material, At = at, MaxEnclosedCrlBytes = options.MaxEnclosedCrlBytes };

    /// <summary>The pinned certificate of the directory's publisher; null where none is configured.</summary>
    /// <exception cref="InvalidDataException">The file holds no certificate.</exception>
    public static X509Certificate2? LoadPublisher(DirectoryOptions options)
    {
        if (options.Publisher is not { } path)
        {
            return null;
        }

        return TrustMaterial.LoadCertificates(path)[0];
    }

    private void Reload()
    {
        var stamp = options
            .Anchors.Concat(options.Intermediates)
            .Concat(options.Crls)
            .Select(Newest)
            .DefaultIfEmpty()
            .Max();
        if (_material is not null && stamp == _stamp)
        {
            return;
        }

        try
        {
            _material = TrustMaterial.Load(options.Anchors, options.Intermediates, options.Crls);
            _stamp = stamp;
        }
        catch (Exception e)
            when (_material is not null
                && e is IOException or InvalidDataException or CryptographicException or UnauthorizedAccessException)
        {
            // The CRL is half written, and the next look finds it whole. Until then the older CRL stays in force to the
            // end of its own dates.
        }
    }

    private static DateTime Newest(string path) =>
        Directory.Exists(path)
            ? Directory.EnumerateFiles(path).Select(File.GetLastWriteTimeUtc).DefaultIfEmpty().Max()
            : File.GetLastWriteTimeUtc(path);
}
