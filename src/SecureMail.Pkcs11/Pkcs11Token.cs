using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

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
    public RSA OpenRsa(Pkcs11Uri key)
    {
        var (template, handle) = FindPrivateKey(key, Ck.KeyRsa);
        var publicKey = _sessions.Run(session => PublicKeys.ReadRsa(Functions, session, handle));
        return new TokenRsa(new TokenKey(this, template), publicKey);
    }

    /// <summary>The elliptic-curve key that the URI names by object, id or both, for signing.</summary>
    /// <exception cref="Pkcs11Exception">As <see cref="OpenRsa"/>.</exception>
    public ECDsa OpenEcdsa(Pkcs11Uri key) => new TokenEcdsa(OpenEcKey(key));

    /// <summary>The elliptic-curve key that the URI names by object, id or both, for key agreement.</summary>
    /// <exception cref="Pkcs11Exception">As <see cref="OpenRsa"/>.</exception>
    public ECDiffieHellman OpenEcdh(Pkcs11Uri key) => new TokenEcdh(OpenEcKey(key));

    /// <summary>The key that the URI names by object, id or both, of either kind.</summary>
    /// <exception cref="Pkcs11Exception">As <see cref="OpenRsa"/>; KeyUnusable for a key of another kind.</exception>
    public AsymmetricAlgorithm OpenKey(Pkcs11Uri key, Pkcs11KeyUse use = Pkcs11KeyUse.Signing)
    {
        var (_, handle) = FindPrivateKey(key, kind: null);
        var kind = _sessions.Run(session => TokenObjects.ReadNumber(Functions, session, handle, Ck.AttributeKeyType));
        return kind switch
        {
            Ck.KeyRsa => OpenRsa(key),
            Ck.KeyEc => use == Pkcs11KeyUse.Signing ? OpenEcdsa(key) : OpenEcdh(key),
            _ => throw new Pkcs11Exception(
                Pkcs11Fault.KeyUnusable, "KEY_TYPE", "the key is neither an RSA nor an elliptic-curve key"),
        };
    }

    /// <summary>The certificates that match the object and id of the URI (all when it has neither), without login.
    /// Unreadable certificates are left out.</summary>
    public IReadOnlyList<X509Certificate2> FindCertificates(Pkcs11Uri filter)
    {
        ArgumentNullException.ThrowIfNull(filter);
        return _sessions.Run(
            session =>
                TokenObjects.ReadCertificates(
                    Functions, session, ObjectTemplate.Create(Ck.ObjectCertificate, filter.Object, filter.Id)),
            login: false);
    }

    /// <summary>The certificate of a key: the newest with the same CKA_ID. Null when there is none. The caller checks
    /// whether the certificate is for the same key.</summary>
    public X509Certificate2? CertificateOf(Pkcs11Uri key)
    {
        var (_, handle) = FindPrivateKey(key, kind: null);
        return _sessions.Run(session =>
        {
            var id = TokenObjects.Read(Functions, session, handle, Ck.AttributeId);
            if (id is not { Length: > 0 })
            {
                return null;
            }

            var certificates = TokenObjects.ReadCertificates(
                Functions, session, ObjectTemplate.Create(Ck.ObjectCertificate, null, id));
            // After a renewal several certificates may have the same CKA_ID; the newest is in use.
            return certificates.OrderByDescending(c => c.NotBefore).FirstOrDefault();
        });
    }

    /// <summary>The key of a certificate (the same CKA_ID); null when the token does not hold the
    /// certificate.</summary>
    /// <exception cref="Pkcs11Exception">As <see cref="OpenKey"/>: the token holds the certificate but not its key, or
    /// the key may not be used.</exception>
    public AsymmetricAlgorithm? OpenKeyOf(X509Certificate2 certificate, Pkcs11KeyUse use = Pkcs11KeyUse.Signing)
    {
        ArgumentNullException.ThrowIfNull(certificate);
        var wanted = certificate.RawData;
        var ids = _sessions.Run(
            session =>
                TokenObjects
                    .Find(Functions, session, ObjectTemplate.Create(Ck.ObjectCertificate, null, null))
                    .Where(handle =>
                        TokenObjects.Read(Functions, session, handle, Ck.AttributeValue).AsSpan().SequenceEqual(wanted))
                    .Select(handle => TokenObjects.Read(Functions, session, handle, Ck.AttributeId))
                    .Where(id => id is { Length: > 0 })
                    .ToList(),
            login: false);
        return ids is [{ } first, ..] ? OpenKey(Pkcs11Uri.OfId(first), use) : null;
    }

    /// <summary>
    /// Executes one operation of a key in a session of its own: <paramref name="start"/> (C_…Init), the login when the
    /// key has CKA_ALWAYS_AUTHENTICATE, then <paramref name="finish"/>.
    /// </summary>
    internal byte[] Execute(
        TokenKey key, Func<Cryptoki, CULong, CULong, ulong> start, string startName,
        Func<Cryptoki, CULong, byte[]> finish) =>
        _sessions.Run(session =>
        {
            var (handle, alwaysAuthenticate) = key.Resolve(_sessions.Generation, () => Locate(session, key.Template));
            Cryptoki.Check(start(Functions, session, handle), startName);
            if (alwaysAuthenticate)
            {
                _sessions.LoginForKeyUse(session);
            }

            return finish(Functions, session);
        });

    private TokenEcKey OpenEcKey(Pkcs11Uri key)
    {
        var (template, handle) = FindPrivateKey(key, Ck.KeyEc);
        var publicKey = _sessions.Run(session => PublicKeys.ReadEc(Functions, session, handle));
        return new TokenEcKey(new TokenKey(this, template), publicKey);
    }

    private (CULong Handle, bool AlwaysAuthenticate) Locate(CULong session, ObjectTemplate template)
    {
        var handle = RequireSingle(TokenObjects.Find(Functions, session, template));
        return (handle, TokenObjects.Read(Functions, session, handle, Ck.AttributeAlwaysAuthenticate) is [not 0]);
    }

    private (ObjectTemplate Template, CULong Handle) FindPrivateKey(Pkcs11Uri key, uint? kind)
    {
        ArgumentNullException.ThrowIfNull(key);
        var template = ObjectTemplate.Create(Ck.ObjectPrivateKey, key.Object, key.Id, kind);
        var handles = _sessions.Run(session => TokenObjects.Find(Functions, session, template));
        return (template, RequireSingle(handles));
    }

    private static CULong RequireSingle(List<CULong> handles) =>
        handles.Count switch
        {
            0 => throw new Pkcs11Exception(Pkcs11Fault.KeyAbsent, "KEY_ABSENT", "no key on the token matches the URI"),
            1 => handles[0],
            _ => throw new Pkcs11Exception(
                Pkcs11Fault.Ambiguous, "KEY_AMBIGUOUS", "more than one key on the token matches the URI"),
        };

    /// <summary>Closes the sessions; the login ends with the last one of the process.</summary>
    public void Dispose() => _sessions.Dispose();
}
