using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Net.Pkcs11Interop.Common;

namespace SecureMail.Pkcs11;

/// <summary>The operation that a private key is opened for.</summary>
public enum Pkcs11KeyUse
{
    /// <summary>An <see cref="RSA"/> or an <see cref="ECDsa"/>.</summary>
    Signing,

    /// <summary>To decrypt: an <see cref="RSA"/>, or an <see cref="ECDiffieHellman"/> of which only
    /// <see cref="ECDiffieHellman.DeriveRawSecretAgreement"/> is implemented.</summary>
    Decryption,
}

/// <summary>
/// A token: its keys as <see cref="RSA"/>, <see cref="ECDsa"/> and <see cref="ECDiffieHellman"/> objects, and its
/// certificates. Safe to use from many threads at once.
/// <list type="number">
/// <item>Open finds the one slot whose token matches the URI.</item>
/// <item>The first use of a private key logs in, once for the process. <see cref="PinGuard"/> decides whether a PIN may
/// be tried.</item>
/// <item>Each operation has a session of its own, which is reopened once when it is lost
/// (<see cref="TokenSessions"/>).</item>
/// </list>
/// Left out: generating keys, writing objects, changing PINs; waiting for a token to be inserted or removed; running
/// the module in a process of its own.
/// </summary>
public sealed class Pkcs11Token : IDisposable
{
    private readonly TokenSessions _sessions;

    private Pkcs11Token(Pkcs11Module module, Pkcs11Uri uri, Pkcs11TokenInfo info, Func<byte[]?> pin)
    {
        Info = info;
        _sessions = new TokenSessions(module, uri, info, pin);
    }

    private Cryptoki Functions => _sessions.Functions;

    /// <summary>The state when the token was opened.</summary>
    public Pkcs11TokenInfo Info { get; }

    /// <summary>Whether the last login was refused. No login is attempted then before
    /// <see cref="AllowNextLogin"/>.</summary>
    public bool PinRefused => _sessions.PinGuard.Refused;

    /// <param name="uri">Names the module (module-path) and the token.</param>
    /// <param name="pin">
    /// Called when a login is needed. Returns the PIN in UTF-8, in a new array each time because the array is wiped
    /// after use, or null when there is no PIN. Not called while a refused PIN waits for a person.
    /// </param>
    /// <exception cref="Pkcs11Exception">ModuleMissing, TokenAbsent, Ambiguous.</exception>
    public static Pkcs11Token Open(Pkcs11Uri uri, Func<byte[]?> pin)
    {
        ArgumentNullException.ThrowIfNull(uri);
        ArgumentNullException.ThrowIfNull(pin);
        var module = Pkcs11Module.Open(
            uri.ModulePath
                ?? throw new Pkcs11Exception(Pkcs11Fault.ModuleMissing, "MODULE_MISSING", "the URI has no module-path")
        );
        try
        {
            return new Pkcs11Token(module, uri, TokenSessions.FindToken(module, uri), pin);
        }
        catch
        {
            module.Dispose();
            throw;
        }
    }

    /// <summary>Allows one more login. Call it only after a person has checked the PIN or has decided to use the last
    /// try.</summary>
    public void AllowNextLogin() => _sessions.PinGuard.AllowNextLogin();

    /// <summary>The RSA key that the URI names by object, id or both. The private key never leaves the token.</summary>
    /// <exception cref="Pkcs11Exception">KeyAbsent, Ambiguous, PinIncorrect, PinRefused, or another error of the
    /// token.</exception>
    public RSA OpenRsa(Pkcs11Uri key) =>
        (RSA)Open(RequireSingle(FindPrivateKeys(key, CKK.CKK_RSA)), null, Pkcs11KeyUse.Signing);

    /// <summary>The elliptic-curve key that the URI names by object, id or both, for signing.</summary>
    /// <exception cref="Pkcs11Exception">As <see cref="OpenRsa"/>.</exception>
    public ECDsa OpenEcdsa(Pkcs11Uri key) =>
        (ECDsa)Open(RequireSingle(FindPrivateKeys(key, CKK.CKK_EC)), null, Pkcs11KeyUse.Signing);

    /// <summary>The elliptic-curve key that the URI names by object, id or both, for key agreement.</summary>
    /// <exception cref="Pkcs11Exception">As <see cref="OpenRsa"/>.</exception>
    public ECDiffieHellman OpenEcdh(Pkcs11Uri key) =>
        (ECDiffieHellman)Open(RequireSingle(FindPrivateKeys(key, CKK.CKK_EC)), null, Pkcs11KeyUse.Decryption);

    /// <summary>The key that the URI names, of either kind; of several the only one that may be used so.</summary>
    /// <exception cref="Pkcs11Exception">As <see cref="OpenRsa"/>; KeyUnusable for a key of another kind.</exception>
    public AsymmetricAlgorithm OpenKey(Pkcs11Uri key, Pkcs11KeyUse use = Pkcs11KeyUse.Signing) =>
        Open(RequireSingle(UsableOf(FindPrivateKeys(key), use)), null, use);

    /// <summary>
    /// The key of a certificate that need not lie on the token, among the keys that the URI names (all when it has
    /// neither object nor id). The public key decides: what the attributes of a key tell, or else a trial operation
    /// with the key (<see cref="KeyTrial"/>), because CKA_ID and CKA_LABEL prove nothing.
    /// </summary>
    /// <exception cref="Pkcs11Exception">As <see cref="OpenRsa"/>; KeyAbsent when no key named is the certificate's,
    /// Ambiguous when several are.</exception>
    public AsymmetricAlgorithm OpenKeyFor(
        X509Certificate2 certificate, Pkcs11Uri among, Pkcs11KeyUse use = Pkcs11KeyUse.Signing)
    {
        ArgumentNullException.ThrowIfNull(certificate);
        var publicKey = PublicKeyValue.Of(certificate) ?? throw UnsupportedKind();
        var named = FindPrivateKeys(among);
        var matching = UsableOf(
            named.FindAll(key => key.IsProvenKeyOf(publicKey) ?? TrialOf(key).IsKeyOf(publicKey)), use);
        if (named.Count > 0 && matching.Count == 0)
        {
            throw new Pkcs11Exception(
                Pkcs11Fault.KeyAbsent, "KEY_OF_ANOTHER_CERTIFICATE",
                "no key on the token that matches the URI is that of the certificate");
        }

        return Open(RequireSingle(matching), publicKey, use);
    }

    /// <summary>
    /// The one key for signing that the URI names, with its certificate (<see cref="CertificateOf(Pkcs11Uri)"/>). When
    /// the URI names several keys, those that may not sign, and those without a certificate for signing, do not count.
    /// </summary>
    /// <returns>A null certificate when the token holds none of the key.</returns>
    /// <exception cref="Pkcs11Exception">As <see cref="CertificateOf(Pkcs11Uri)"/>.</exception>
    public (X509Certificate2? Certificate, AsymmetricAlgorithm Key) OpenSigner(Pkcs11Uri key)
    {
        var named = UsableOf(FindPrivateKeys(key), Pkcs11KeyUse.Signing);
        var certificates = FindCertificates(AnyObject);
        var single = named.Count == 1
            ? named[0]
            : RequireSingle(named, named.FindAll(k => CertificatesOf(k, certificates).Exists(MaySign)));
        var own = CertificateOf(single, certificates);
        return (own, Open(single, own is null ? null : PublicKeyValue.Of(own), Pkcs11KeyUse.Signing));
    }

    /// <summary>Every key that the URI names (all when it has neither object nor id) with each certificate of it on the
    /// token, for decryption: mail may be encrypted to any of them. A key without a certificate is left out.</summary>
    /// <exception cref="Pkcs11Exception">As <see cref="OpenRsa"/>; Ambiguous when an object or id is named and several
    /// keys match.</exception>
    public IReadOnlyList<(X509Certificate2 Certificate, AsymmetricAlgorithm Key)> OpenRecipients(Pkcs11Uri among)
    {
        ArgumentNullException.ThrowIfNull(among);
        var named = UsableOf(FindPrivateKeys(among), Pkcs11KeyUse.Decryption);
        if (among is not { Object: null, Id: null })
        {
            named = [RequireSingle(named)];
        }

        var certificates = FindCertificates(AnyObject);
        return
        [
            .. named.SelectMany(key =>
                CertificatesOf(key, certificates)
                    .Select(c => (c, Open(key, PublicKeyValue.Of(c), Pkcs11KeyUse.Decryption)))),
        ];
    }

    /// <summary>Decrypts RSAES-OAEP with a hash, a hash of MGF1 and a label that <see cref="RSAEncryptionPadding"/>
    /// does not have.</summary>
    /// <param name="key">A key that this class opened.</param>
    /// <exception cref="CryptographicException">The data was not encrypted for this key. The error is the same for
    /// every cause.</exception>
    /// <exception cref="Pkcs11Exception">MechanismUnsupported names the mechanism that the token does not have; another
    /// error of the token.</exception>
    public static byte[] DecryptOaep(
        RSA key, HashAlgorithmName hash, HashAlgorithmName maskHash, byte[] label, byte[] data) =>
        key is TokenRsa rsa
            ? rsa.DecryptOaep(hash, maskHash, label, data)
            : throw new ArgumentException("the key is not on a token", nameof(key));

    /// <summary>The certificates that match the object and id of the URI (all when it has neither), without login.
    /// Unreadable certificates are left out.</summary>
    public IReadOnlyList<X509Certificate2> FindCertificates(Pkcs11Uri filter)
    {
        ArgumentNullException.ThrowIfNull(filter);
        return FindCertificates(ObjectTemplate.Create(CKO.CKO_CERTIFICATE, filter.Object, filter.Id));
    }

    /// <summary>The certificate of a key: the newest on the token with its public key, whatever its CKA_ID and label.
    /// Null when there is none.</summary>
    /// <exception cref="Pkcs11Exception">As <see cref="OpenRsa"/>; KeyUnusable when the certificates with the CKA_ID of
    /// the key are those of other keys.</exception>
    public X509Certificate2? CertificateOf(Pkcs11Uri key) =>
        CertificateOf(RequireSingle(FindPrivateKeys(key)), FindCertificates(AnyObject));

    /// <summary>The key of a certificate; null when the token holds neither.</summary>
    /// <exception cref="Pkcs11Exception">As <see cref="OpenKey"/>: the token holds the certificate but not its key, or
    /// the key may not be used.</exception>
    public AsymmetricAlgorithm? OpenKeyOf(X509Certificate2 certificate, Pkcs11KeyUse use = Pkcs11KeyUse.Signing)
    {
        ArgumentNullException.ThrowIfNull(certificate);
        // A token without the certificate is not logged in to: many tokens are asked for one key.
        var wanted = certificate.RawDataMemory;
        if (!FindCertificates(AnyObject).Any(c => c.RawDataMemory.Span.SequenceEqual(wanted.Span)))
        {
            return null;
        }

        var publicKey = PublicKeyValue.Of(certificate) ?? throw UnsupportedKind();
        var keys = FindPrivateKeys(AnyObject).FindAll(k => IsKeyOf(k, publicKey));
        return Open(RequireSingle(UsableOf(keys, use)), publicKey, use);
    }

    /// <summary>
    /// Executes one operation of a key in a session of its own: <paramref name="start"/> (C_…Init), the login when the
    /// key has CKA_ALWAYS_AUTHENTICATE, then <paramref name="finish"/>.
    /// </summary>
    internal byte[] Execute(
        TokenKey key, Func<Cryptoki, ulong, ulong, ulong> start, string startName,
        Func<Cryptoki, ulong, byte[]> finish) =>
        _sessions.Run(session =>
        {
            var (handle, alwaysAuthenticate) = key.Resolve(_sessions.Generation, () => Locate(session, key));
            Cryptoki.Check(start(Functions, session, handle), startName);
            if (alwaysAuthenticate)
            {
                _sessions.LoginForKeyUse(session);
            }

            return finish(Functions, session);
        });

    private static Pkcs11Uri AnyObject { get; } = Pkcs11Uri.Parse("pkcs11:");

    private static Pkcs11Exception UnsupportedKind() =>
        new(Pkcs11Fault.KeyUnusable, "KEY_TYPE", "the key is neither an RSA nor an elliptic-curve key");

    private List<X509Certificate2> FindCertificates(ObjectTemplate template) =>
        _sessions.Run(session => TokenObjects.ReadCertificates(Functions, session, template), login: false);

    private List<FoundKey> FindPrivateKeys(Pkcs11Uri key, CKK? kind = null)
    {
        ArgumentNullException.ThrowIfNull(key);
        var template = ObjectTemplate.Create(CKO.CKO_PRIVATE_KEY, key.Object, key.Id, kind);
        return _sessions.Run(session =>
            TokenObjects
                .Find(Functions, session, template)
                .ConvertAll(handle => FoundKey.Read(Functions, session, handle, _sessions.Generation)));
    }

    /// <summary>Of several keys those that may be used so; one key alone is left to say itself what it may.</summary>
    private static List<FoundKey> UsableOf(List<FoundKey> keys, Pkcs11KeyUse use) =>
        keys.Count < 2 ? keys : keys.FindAll(k => k.MayBeUsedFor(use)) is { Count: > 0 } usable ? usable : keys;

    private X509Certificate2? CertificateOf(FoundKey key, IReadOnlyList<X509Certificate2> certificates)
    {
        var own = CertificatesOf(key, certificates);
        if (key.Template.Id is { } id)
        {
            var sharing = FindCertificates(new ObjectTemplate(CKO.CKO_CERTIFICATE, null, null, id));
            if (sharing.Count > 0
                && !sharing.Exists(s => own.Exists(o => o.RawDataMemory.Span.SequenceEqual(s.RawDataMemory.Span))))
            {
                // Whoever put it there took it for the certificate of this key. Which of the two is the mistake cannot
                // be told, so nothing is signed.
                throw new Pkcs11Exception(
                    Pkcs11Fault.KeyUnusable, "CERTIFICATE_OF_ANOTHER_KEY",
                    "the certificate with the CKA_ID of the key is that of another key");
            }
        }

        // After a renewal several certificates may have the same key; the newest is in use.
        return own.OrderByDescending(c => c.NotBefore).FirstOrDefault();
    }

    /// <summary>The certificates with the public key of a private key.</summary>
    private List<X509Certificate2> CertificatesOf(FoundKey key, IReadOnlyList<X509Certificate2> certificates) =>
        [.. certificates.Where(c => PublicKeyValue.Of(c) is { } publicKey && IsKeyOf(key, publicKey))];

    /// <summary>
    /// Whether a public key is that of a private key in a search over many. Where the attributes of the key do not
    /// tell, an object that shares its CKA_ID or label does. A trial is made only where there is no such object, and
    /// not with a key that asks for the PIN or a touch each time.
    /// </summary>
    private bool IsKeyOf(FoundKey key, PublicKeyValue publicKey) =>
        key.IsProvenKeyOf(publicKey)
        ?? (key.Beside.Count > 0
            ? key.Beside.Any(b => b.IsSameAs(publicKey))
            : !key.AlwaysAuthenticate && TrialOf(key).IsKeyOf(publicKey));

    private KeyTrial TrialOf(FoundKey key) => new(key.Signs, (publicKey, use) => Open(key, publicKey, use));

    private static bool MaySign(X509Certificate2 certificate) =>
        certificate
            .Extensions.OfType<X509KeyUsageExtension>()
            .All(u =>
                (u.KeyUsages & (X509KeyUsageFlags.DigitalSignature | X509KeyUsageFlags.NonRepudiation))
                    != X509KeyUsageFlags.None);

    /// <param name="publicKey">That of its certificate; null where the token must tell it.</param>
    private AsymmetricAlgorithm Open(FoundKey found, PublicKeyValue? publicKey, Pkcs11KeyUse use)
    {
        if (found.Kind is not (CKK.CKK_RSA or CKK.CKK_EC))
        {
            throw UnsupportedKind();
        }

        var key = new TokenKey(this, found.Template, found.Own);
        key.Keep(found.Generation, found.Handle, found.AlwaysAuthenticate);
        var known = found.Own is { Kind: CKK.CKK_EC } or { Rsa.Exponent: not null } ? found.Own : null;
        var value = known ?? publicKey ?? (found.Beside.Count > 0 ? found.Beside[0] : null)
            ?? throw new Pkcs11Exception(
                Pkcs11Fault.KeyUnusable, "PUBLIC_KEY_ABSENT",
                "the token holds neither the public key nor the certificate of the private key");
        return
            found.Kind == CKK.CKK_RSA ? new TokenRsa(key, value.Rsa)
            : use == Pkcs11KeyUse.Signing ? new TokenEcdsa(new TokenEcKey(key, value.Ec))
            : new TokenEcdh(new TokenEcKey(key, value.Ec));
    }

    /// <summary>Finds a key again whose handle is no longer valid.</summary>
    private (ulong Handle, bool AlwaysAuthenticate) Locate(ulong session, TokenKey key)
    {
        var found = TokenObjects
            .Find(Functions, session, key.Template)
            .ConvertAll(handle => FoundKey.Read(Functions, session, handle, _sessions.Generation));
        if (key.PublicKey is { } publicKey)
        {
            found = found.FindAll(k => k.IsProvenKeyOf(publicKey) != false);
        }

        var single = RequireSingle(found);
        return (single.Handle, single.AlwaysAuthenticate);
    }

    private static FoundKey RequireSingle(List<FoundKey> keys) => RequireSingle(keys, keys);

    /// <param name="all">Tells whether there is any key.</param>
    private static FoundKey RequireSingle(List<FoundKey> all, List<FoundKey> keys) =>
        keys.Count == 1 ? keys[0]
        : all.Count == 0 ? throw new Pkcs11Exception(
            Pkcs11Fault.KeyAbsent, "KEY_ABSENT", "no key on the token matches the URI")
        : throw new Pkcs11Exception(
            Pkcs11Fault.Ambiguous, "KEY_AMBIGUOUS", "more than one key on the token matches the URI");

    /// <summary>Closes the sessions; the login ends with the last one of the process.</summary>
    public void Dispose() => _sessions.Dispose();
}
