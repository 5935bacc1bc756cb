using System.CommandLine;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using SecureMail.Cms;
using SecureMail.Host.Words;
using SecureMail.Libcrypto;
using SecureMail.Pkcs11;
using SecureMail.Storage;
using SecureMail.Trust;

namespace SecureMail.Host;

/// <summary>
/// Where a file command's private key comes from: a token (<c>--key</c>, a PKCS#11 URI) or a PKCS#12 file
/// (<c>--p12</c>). One instance declares the options of one command and reads them. PINs and passwords are never
/// arguments.
/// </summary>
internal sealed class KeySource
{
    private const string EncryptedPrivateKey = "ENCRYPTED PRIVATE KEY";

    private readonly Option<string?> _key = new("--key")
    {
        Description = Phrase.Of("key.key"),
        HelpName = "URI",
    };
    private readonly Option<string?> _p12 = new("--p12")
    {
        Description = Phrase.Of("key.p12"),
        HelpName = "FILE",
    };
    private readonly Option<string?> _p12Password = new("--p12-password-file")
    {
        Description = Phrase.Of("key.p12-password-file"),
        HelpName = "FILE",
    };
    private readonly Option<string?> _cert = new("--cert")
    {
        Description = Phrase.Of("key.cert"),
        HelpName = "FILE",
    };
    private readonly (Option<string?> File, Option<string?> Env) _pin = PinSource.Options();

    /// <summary>The options, to be added to the command.</summary>
    public IEnumerable<Option> Options => [_key, _pin.File, _pin.Env, _p12, _p12Password, _cert];

    /// <summary>Every key named that mail may have been encrypted to; none when no source is given.</summary>
    /// <exception cref="Pkcs11Exception">The token or the key is not there, or the PIN was refused.</exception>
    /// <exception cref="InvalidDataException">The PKCS#12 file cannot be read with this password, or holds no RSA
    /// key.</exception>
    public OpenedKeys OpenRecipients(ParseResult parsed)
    {
        if (parsed.GetValue(_key) is { } file
            && !file.StartsWith("pkcs11:", StringComparison.OrdinalIgnoreCase)
            && File.Exists(file))
        {
            return OfPem(file, parsed);
        }

        if (Source(parsed) is not { } uri)
        {
            return parsed.GetValue(_p12) is null ? new OpenedKeys([], []) : RecipientsOf(LoadP12(parsed));
        }

        var token = Pkcs11Token.Open(uri, PinSource.Of(parsed.GetValue(_pin.File), parsed.GetValue(_pin.Env)));
        try
        {
            if (GivenCertificate(parsed) is { } given)
            {
                return new OpenedKeys([(given, token.OpenKeyFor(given, uri, Pkcs11KeyUse.Decryption))], [token]);
            }

            // A token without a key that can be used opens nothing; a key that is named and has no certificate is an
            // error, because mail names its recipients by their certificates.
            var keys = token.OpenRecipients(uri);
            return keys.Count > 0 || uri is { Object: null, Id: null }
                ? new OpenedKeys(keys, [token])
                : throw new InvalidDataException(Phrase.Of("key.no-certificate"));
        }
        catch
        {
            token.Dispose();
            throw;
        }
    }

    /// <summary>The one key that signs, with its certificate.</summary>
    /// <inheritdoc cref="OpenRecipients"/>
    /// <exception cref="UsageException">No key is named.</exception>
    public OpenedKeys OpenSigner(ParseResult parsed)
    {
        if (Source(parsed) is not { } uri)
        {
            return parsed.GetValue(_p12) is null
                ? throw new UsageException(Phrase.Of("key.needed"))
                : SignerOf(LoadP12(parsed), parsed);
        }

        var token = Pkcs11Token.Open(uri, PinSource.Of(parsed.GetValue(_pin.File), parsed.GetValue(_pin.Env)));
        try
        {
            var given = GivenCertificate(parsed);
            var (own, key) = given is null ? token.OpenSigner(uri) : (given, token.OpenKeyFor(given, uri));
            if (own is null)
            {
                key.Dispose();
                throw new InvalidDataException(Phrase.Of("key.no-certificate"));
            }

            return new OpenedKeys([(own, key)], [token])
            {
                Others = token.FindCertificates(Pkcs11Uri.Parse("pkcs11:")),
            };
        }
        catch
        {
            token.Dispose();
            throw;
        }
    }

    /// <summary>A private key in PEM, encrypted or not, with any text around it; its certificate stands in the same
    /// file or is named by <c>--cert</c>, among others perhaps.</summary>
    private OpenedKeys OfPem(string file, ParseResult parsed)
    {
        var certificates = TrustMaterial.LoadCertificates(parsed.GetValue(_cert) ?? file);
        AsymmetricAlgorithm? key = null;
        try
        {
            // ReadAllText takes a byte order mark away, and reads UTF-16 that has one.
            var (label, pem) = PrivateKeyOf(File.ReadAllText(file));
            if (certificates.FirstOrDefault(c => c.PublicKey.Oid.Value == X25519Key.AlgorithmOid) is { } x25519)
            {
                return new OpenedKeys([(x25519, X25519OfPem(pem))], []);
            }

            var password = label == EncryptedPrivateKey
                ? PinSource.Of(parsed.GetValue(_pin.File), parsed.GetValue(_pin.Env))() ?? []
                : null;
            try
            {
                key = Import(pem, password);
            }
            finally
            {
                CryptographicOperations.ZeroMemory(password);
            }

            // RFC 4055 §1.2: the certificate of an RSA key may name RSAES-OAEP in place of rsaEncryption, so only the
            // numbers of the key are compared.
            var numbers = new PublicKey(key).EncodedKeyValue.RawData;
            var own = certificates.FirstOrDefault(c =>
                c.PublicKey.EncodedKeyValue.RawData.AsSpan().SequenceEqual(numbers))
                ?? throw new CryptographicException("none of the certificates is that of the key");
            return new OpenedKeys([(own, key)], []);
        }
        // A curve that OpenSSL does not know is the last of these.
        catch (Exception e)
            when (e is CryptographicException or ArgumentException or PlatformNotSupportedException)
        {
            key?.Dispose();
            throw new InvalidDataException(
                Phrase.Of("key.pem-unreadable", file),
                e);
        }
    }

    private static AsymmetricAlgorithm Import(string pem, byte[]? password)
    {
        AsymmetricAlgorithm rsa = RSA.Create();
        try
        {
            ImportInto(rsa);
            return rsa;
        }
        catch (Exception e) when (e is CryptographicException or ArgumentException)
        {
            rsa.Dispose(); // not RSA
        }

        AsymmetricAlgorithm agreement = ECDiffieHellman.Create();
        try
        {
            ImportInto(agreement);
            return agreement;
        }
        catch
        {
            agreement.Dispose();
            throw;
        }

        void ImportInto(AsymmetricAlgorithm key)
        {
            if (password is null)
            {
                key.ImportFromPem(pem);
            }
            else
            {
                key.ImportFromEncryptedPem(pem, password);
            }
        }
    }

    /// <summary>The first private key among what a file in PEM holds.</summary>
    /// <exception cref="CryptographicException">There is none.</exception>
    private static (string Label, string Pem) PrivateKeyOf(string text)
    {
        ReadOnlySpan<char> rest = text;
        for (; PemEncoding.TryFind(rest, out var fields); rest = rest[fields.Location.End..])
        {
            var label = rest[fields.Label].ToString();
            if (label is "PRIVATE KEY" or EncryptedPrivateKey or "RSA PRIVATE KEY" or "EC PRIVATE KEY")
            {
                return (label, rest[fields.Location].ToString());
            }
        }

        throw new CryptographicException("the file holds no private key in PEM");
    }

    /// <summary>Of an X25519 key, which the platform does not read, only the unencrypted form.</summary>
    private static X25519Key X25519OfPem(string pem)
    {
        var pkcs8 = Convert.FromBase64String(pem[PemEncoding.Find(pem).Base64Data]);
        try
        {
            return X25519Key.FromPkcs8(pkcs8);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(pkcs8);
        }
    }

    private Pkcs11Uri? Source(ParseResult parsed)
    {
        var uri = parsed.GetValue(_key);
        return uri is null ? null
            : parsed.GetValue(_p12) is not null
                ? throw new UsageException(
                    Phrase.Of("key.one-source"))
            : Pkcs11Uri.Parse(uri);
    }

    /// <summary>The certificate that <c>--cert</c> names; of several in one file, as in a <c>.p7b</c>, the first that
    /// is not an authority's.</summary>
    private X509Certificate2? GivenCertificate(ParseResult parsed)
    {
        if (parsed.GetValue(_cert) is not { } file)
        {
            return null;
        }

        var all = TrustMaterial.LoadCertificates(file);
        return all.FirstOrDefault(c =>
            !c.Extensions.OfType<X509BasicConstraintsExtension>().Any(b => b.CertificateAuthority)) ?? all[0];
    }

    private X509Certificate2Collection LoadP12(ParseResult parsed)
    {
        var file = parsed.GetValue(_p12)!;
        if (!File.Exists(file))
        {
            throw new FileNotFoundException(Phrase.Of("key.no-p12", file));
        }

        // Unlike a PIN file, its mode is not held against it: the password guards a file that whoever reads this can
        // copy as well.
        var bytes = parsed.GetValue(_p12Password) is { } path
            ? SecretText.Decode(SecretFile.ReadLine(path))
            : PinSource.Of(parsed.GetValue(_pin.File), parsed.GetValue(_pin.Env))() ?? [];
        var password = Encoding.UTF8.GetChars(bytes);
        try
        {
            return X509CertificateLoader.LoadPkcs12CollectionFromFile(
                file, password, X509KeyStorageFlags.EphemeralKeySet);
        }
        catch (CryptographicException e)
        {
            throw new InvalidDataException(
                Phrase.Of("key.p12-unreadable", file),
                e);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(bytes);
            password.AsSpan().Clear();
        }
    }

    private static OpenedKeys RecipientsOf(X509Certificate2Collection all)
    {
        List<(X509Certificate2, AsymmetricAlgorithm)> keys =
        [
            .. all.Where(c => c.HasPrivateKey)
                .Select(c => (c, (AsymmetricAlgorithm?)c.GetRSAPrivateKey() ?? c.GetECDiffieHellmanPrivateKey()))
                .Where(k => k.Item2 is not null)
                .Select(k => (k.c, k.Item2!)),
        ];
        return keys.Count > 0 ? new OpenedKeys(keys, [.. all]) : throw NoKey();
    }

    private OpenedKeys SignerOf(X509Certificate2Collection all, ParseResult parsed)
    {
        var wanted = GivenCertificate(parsed);
        // Of several, one that was issued for signing; its usage says so (RFC 5280 §4.2.1.3).
        var chosen = all.Where(c =>
                c.HasPrivateKey && (wanted is null || c.RawData.AsSpan().SequenceEqual(wanted.RawData)))
            .OrderByDescending(c =>
                c.Extensions.OfType<X509KeyUsageExtension>()
                    .All(u =>
                        (u.KeyUsages & (X509KeyUsageFlags.DigitalSignature | X509KeyUsageFlags.NonRepudiation))
                        != X509KeyUsageFlags.None))
            .FirstOrDefault()
            ?? throw NoKey();
        var key = (AsymmetricAlgorithm?)chosen.GetRSAPrivateKey() ?? chosen.GetECDsaPrivateKey() ?? throw NoKey();
        return new OpenedKeys([(chosen, key)], [.. all]) { Others = [.. all.Where(c => c != chosen)] };
    }

    private static InvalidDataException NoKey() =>
        new(Phrase.Of("key.p12-empty"));
}

/// <summary>Private keys at hand, each with its certificate. Dispose: a token's session ends with it.</summary>
internal sealed class OpenedKeys(
    IReadOnlyList<(X509Certificate2 Certificate, AsymmetricAlgorithm Key)> keys,
    IReadOnlyList<IDisposable> owners) : IDisposable
{
    public X509Certificate2 Certificate => keys[0].Certificate;

    public AsymmetricAlgorithm Key => keys[0].Key;

    /// <summary>Certificates that lay beside, of authorities perhaps.</summary>
    public IReadOnlyList<X509Certificate2> Others { get; init; } = [];

    public IReadOnlyList<RecipientKey> Recipients =>
        [
            .. keys.Where(k => RecipientKey.IsSupported(k.Key))
                .Select(k => new RecipientKey(k.Certificate, k.Key)
                {
                    DecryptOaep = k.Key is RSA rsa && owners.Any(o => o is Pkcs11Token)
                        ? (p, data) =>
                            Pkcs11Token.DecryptOaep(rsa, p.Hash, p.MaskHash, p.Label.ToArray(), data)
                        : null,
                }),
        ];

    public void Dispose()
    {
        foreach (var (_, key) in keys)
        {
            key.Dispose();
        }

        foreach (var owner in owners)
        {
            owner.Dispose();
        }
    }
}
