using System.Collections.Concurrent;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace SecureMail.Pkcs11;

/// <summary>What a private key is opened for.</summary>
public enum Pkcs11KeyUse
{
    /// <summary>An <see cref="RSA"/> or an <see cref="ECDsa"/>.</summary>
    Signing,

    /// <summary>To open what was encrypted: an <see cref="RSA"/>, or an <see cref="ECDiffieHellman"/> of which only
    /// <see cref="ECDiffieHellman.DeriveRawSecretAgreement"/> is there.</summary>
    Decryption,
}

/// <summary>
/// A token that is plugged in: its keys as <see cref="RSA"/>, <see cref="ECDsa"/> and <see cref="ECDiffieHellman"/>
/// objects, its certificates. Safe to use from many threads; each operation borrows a session of its own.
/// <list type="number">
/// <item>Open finds the one slot whose token fits the URI.</item>
/// <item>The first use of a private key logs in, once for the process; <see cref="PinGuard"/> decides whether a PIN is
/// tried.</item>
/// <item>A lost session (token pulled and put back) is reopened and the operation repeated once: signing and decrypting
/// change nothing on the token, so a repetition does no harm.</item>
/// </list>
/// Left out: making keys, writing objects, changing PINs; waiting for tokens to come and go; the module in a process of
/// its own.
/// </summary>
public sealed class Pkcs11Token : IDisposable
{
    private const int MaxIdleSessions = 8;
    private const int MaxBusySessions = 16;

    private readonly Pkcs11Module _module;
    private readonly Pkcs11Uri _uri;
    private readonly Func<byte[]?> _pin;
    private readonly PinGuard _guard;
    private readonly ConcurrentBag<(CULong Handle, int Generation)> _idle = [];
    private readonly SemaphoreSlim _busy = new(MaxBusySessions, MaxBusySessions);
    private readonly Lock _state = new();
    private CULong _slot;
    private int _generation;
    private bool _loggedIn;
    private bool _disposed;

    // Login ends with the last session of the process (PKCS #11 2.40 §5.6.7): this one stays open to keep it.
    private CULong? _anchor;

    private Pkcs11Token(Pkcs11Module module, Pkcs11Uri uri, Pkcs11TokenInfo info, Func<byte[]?> pin)
    {
        (_module, _uri, _pin) = (module, uri, pin);
        Info = info;
        _slot = new CULong((nuint)info.SlotId);
        _guard = module.GuardOf(info);
    }

    /// <summary>As it was when the token was opened.</summary>
    public Pkcs11TokenInfo Info { get; }

    /// <summary>Whether the last login was refused, so that none is attempted before
    /// <see cref="ResetAfterPersonActed"/>.</summary>
    public bool PinRefused => _guard.Refused;

    /// <param name="uri">Names the module (module-path) and the token.</param>
    /// <param name="pin">
    /// Asked when a login is needed: the PIN's UTF-8 octets, in an array that is wiped after use (give a fresh one each
    /// time), or null when there is none. Not called while a refused PIN waits for a person.
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
            return new Pkcs11Token(module, uri, Find(module, uri), pin);
        }
        catch
        {
            module.Dispose();
            throw;
        }
    }

    /// <summary>Says that a person has checked the PIN (or takes the last try): one login may be attempted
    /// again.</summary>
    public void ResetAfterPersonActed() => _guard.ResetAfterPersonActed();

    /// <summary>The RSA key that the URI's object, id or both name. The private key never leaves the token.</summary>
    /// <exception cref="Pkcs11Exception">KeyAbsent, Ambiguous, PinIncorrect, PinRefused and what else the token
    /// answers.</exception>
    public RSA OpenRsa(Pkcs11Uri key)
    {
        var (template, handle) = FindPrivateKey(key, Ck.KeyRsa);
        return new TokenRsa(
            new TokenKey(this, template), Run(session => PublicKeys.Rsa(_module.Functions, session, handle)));
    }

    /// <summary>The elliptic-curve key that the URI's object, id or both name, for signing.</summary>
    /// <exception cref="Pkcs11Exception">As <see cref="OpenRsa"/>.</exception>
    public ECDsa OpenEcdsa(Pkcs11Uri key)
    {
        var (template, handle) = FindPrivateKey(key, Ck.KeyEc);
        return new TokenEcdsa(
            new TokenKey(this, template), Run(session => PublicKeys.Ec(_module.Functions, session, handle)));
    }

    /// <summary>The elliptic-curve key that the URI's object, id or both name, for agreeing on keys.</summary>
    /// <exception cref="Pkcs11Exception">As <see cref="OpenRsa"/>.</exception>
    public ECDiffieHellman OpenEcdh(Pkcs11Uri key)
    {
        var (template, handle) = FindPrivateKey(key, Ck.KeyEc);
        return new TokenEcdh(
            new TokenKey(this, template), Run(session => PublicKeys.Ec(_module.Functions, session, handle)));
    }

    /// <summary>The key whatever its kind.</summary>
    /// <exception cref="Pkcs11Exception">As <see cref="OpenRsa"/>; KeyUnusable for a key of another kind.</exception>
    public AsymmetricAlgorithm OpenKey(Pkcs11Uri key, Pkcs11KeyUse use = Pkcs11KeyUse.Signing)
    {
        var (_, handle) = FindPrivateKey(key, kind: null);
        var kind = Run(session => TokenObjects.ReadNumber(_module.Functions, session, handle, Ck.AttributeKeyType));
        return kind switch
        {
            Ck.KeyRsa => OpenRsa(key),
            Ck.KeyEc => use == Pkcs11KeyUse.Signing ? OpenEcdsa(key) : OpenEcdh(key),
            _ => throw new Pkcs11Exception(
                Pkcs11Fault.KeyUnusable, "KEY_TYPE", "the key is neither RSA nor elliptic-curve"),
        };
    }

    /// <summary>The certificates that fit the URI's object and id (all, when it names neither), without login.
    /// Unreadable ones are left out.</summary>
    public IReadOnlyList<X509Certificate2> FindCertificates(Pkcs11Uri filter)
    {
        ArgumentNullException.ThrowIfNull(filter);
        return Run(
            session =>
                TokenObjects.Certificates(
                    _module.Functions, session, ObjectTemplate.Of(Ck.ObjectCertificate, filter.Object, filter.Id)),
            login: false);
    }

    /// <summary>The certificate beside the key: the newest of the same CKA_ID. Null when there is none. Whether it is
    /// of the same key is for the caller to check.</summary>
    public X509Certificate2? CertificateOf(Pkcs11Uri key)
    {
        var (_, handle) = FindPrivateKey(key, kind: null);
        return Run(session =>
        {
            var id = TokenObjects.Read(_module.Functions, session, handle, Ck.AttributeId);
            if (id is not { Length: > 0 })
            {
                return null;
            }

            var certificates = TokenObjects.Certificates(
                _module.Functions, session, ObjectTemplate.Of(Ck.ObjectCertificate, null, id));
            // After a renewal several may share the id; the newest is the one in use.
            return certificates.OrderByDescending(c => c.NotBefore).FirstOrDefault();
        });
    }

    /// <summary>The key beside a certificate (the same CKA_ID); null when the token does not hold that
    /// certificate.</summary>
    /// <exception cref="Pkcs11Exception">As <see cref="OpenKey"/>: the certificate lies there, its key does not, or may
    /// not be used.</exception>
    public AsymmetricAlgorithm? OpenKeyOf(X509Certificate2 certificate, Pkcs11KeyUse use = Pkcs11KeyUse.Signing)
    {
        ArgumentNullException.ThrowIfNull(certificate);
        var wanted = certificate.RawData;
        var ids = Run(
            session =>
                TokenObjects
                    .Find(_module.Functions, session, ObjectTemplate.Of(Ck.ObjectCertificate, null, null))
                    .Where(handle =>
                        TokenObjects
                            .Read(_module.Functions, session, handle, Ck.AttributeValue)
                            .AsSpan()
                            .SequenceEqual(wanted))
                    .Select(handle => TokenObjects.Read(_module.Functions, session, handle, Ck.AttributeId))
                    .Where(id => id is { Length: > 0 })
                    .ToList(),
            login: false);
        return ids is [{ } first, ..] ? OpenKey(Pkcs11Uri.OfId(first), use) : null;
    }

    /// <summary>
    /// One use of a key: <paramref name="start"/> (C_…Init), the PIN again when the key asks for it at every use, then
    /// <paramref name="finish"/>, all in a session of its own.
    /// </summary>
    internal byte[] Use(
        TokenKey key, Func<Cryptoki, CULong, CULong, ulong> start, string startName,
        Func<Cryptoki, CULong, byte[]> finish) =>
        Run(session =>
        {
            var functions = _module.Functions;
            var (handle, alwaysAuthenticate) = key.Resolve(Volatile.Read(ref _generation), () =>
                Locate(session, key.Template));
            Cryptoki.Check(start(functions, session, handle), startName);
            if (alwaysAuthenticate)
            {
                _guard.Login(functions, session, _slot, Ck.UserContextSpecific, _pin);
            }

            return finish(functions, session);
        });

    private (CULong Handle, bool AlwaysAuthenticate) Locate(CULong session, ObjectTemplate template)
    {
        var handle = Single(TokenObjects.Find(_module.Functions, session, template));
        return (
            handle, TokenObjects.Read(_module.Functions, session, handle, Ck.AttributeAlwaysAuthenticate) is [not 0]);
    }

    private (ObjectTemplate Template, CULong Handle) FindPrivateKey(Pkcs11Uri key, uint? kind)
    {
        ArgumentNullException.ThrowIfNull(key);
        var template = ObjectTemplate.Of(Ck.ObjectPrivateKey, key.Object, key.Id, kind);
        var handles = Run(session => TokenObjects.Find(_module.Functions, session, template));
        return (template, Single(handles));
    }

    private static CULong Single(List<CULong> handles) =>
        handles.Count switch
        {
            0 => throw new Pkcs11Exception(Pkcs11Fault.KeyAbsent, "KEY_ABSENT", "no key on the token fits the URI"),
            1 => handles[0],
            _ => throw new Pkcs11Exception(
                Pkcs11Fault.Ambiguous, "KEY_AMBIGUOUS", "more than one key on the token fits the URI"),
        };

    private T Run<T>(Func<CULong, T> operation, bool login = true)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        _busy.Wait();
        try
        {
            try
            {
                return RunOnce(operation, login);
            }
            catch (Pkcs11Exception e) when (IsLost(e))
            {
                Forget(e);
                return RunOnce(operation, login);
            }
        }
        finally
        {
            _busy.Release();
        }
    }

    private T RunOnce<T>(Func<CULong, T> operation, bool login)
    {
        var session = Borrow(login);
        try
        {
            var result = operation(session.Handle);
            Return(session);
            return result;
        }
        catch (Exception)
        {
            // An operation may have been left half done in it: not for the next one.
            _module.Functions.CloseSession(session.Handle);
            throw;
        }
    }

    // What a pulled token, a reset reader or a module that lost its state answers.
    private static bool IsLost(Pkcs11Exception e) =>
        e.Fault is Pkcs11Fault.SessionLost
        || e.Code
            is "CKR_DEVICE_REMOVED"
                or "CKR_TOKEN_NOT_PRESENT"
                or "CKR_USER_NOT_LOGGED_IN"
                or "CKR_KEY_HANDLE_INVALID"
                or "CKR_OBJECT_HANDLE_INVALID";

    private (CULong Handle, int Generation) Borrow(bool login)
    {
        lock (_state)
        {
            if (_anchor is null)
            {
                Cryptoki.Check(_module.Functions.OpenSession(_slot, out var anchor), "C_OpenSession");
                _anchor = anchor;
            }
            if (login && !_loggedIn)
            {
                _guard.Login(_module.Functions, _anchor.Value, _slot, Ck.UserNormal, _pin);
                _loggedIn = true;
            }
        }
        while (_idle.TryTake(out var idle))
        {
            if (idle.Generation == Volatile.Read(ref _generation))
            {
                return idle;
            }

            _module.Functions.CloseSession(idle.Handle);
        }
        Cryptoki.Check(_module.Functions.OpenSession(_slot, out var session), "C_OpenSession");
        return (session, Volatile.Read(ref _generation));
    }

    private void Return((CULong Handle, int Generation) session)
    {
        if (session.Generation == Volatile.Read(ref _generation) && _idle.Count < MaxIdleSessions && !_disposed)
        {
            _idle.Add(session);
        }
        else
        {
            _module.Functions.CloseSession(session.Handle);
        }
    }

    /// <summary>What was known is void: handles, sessions, and unless a session still lives the login and the
    /// slot.</summary>
    private void Forget(Pkcs11Exception cause)
    {
        lock (_state)
        {
            Interlocked.Increment(ref _generation);
            if (_anchor is { } anchor)
            {
                if (cause.Fault == Pkcs11Fault.KeyAbsent && _module.Functions.SessionLives(anchor))
                {
                    return; // the object was replaced on a token that never left
                }

                _module.Functions.CloseSession(anchor);
            }
            _anchor = null;
            _loggedIn = false;
            _slot = new CULong((nuint)Find(_module, _uri).SlotId); // it may sit in another slot now
        }
    }

    private static Pkcs11TokenInfo Find(Pkcs11Module module, Pkcs11Uri uri)
    {
        bool Fits(string? wanted, string actual) => wanted is null || wanted == actual;
        var fitting = module
            .Tokens()
            .Where(token =>
                token.Initialized
                && Fits(uri.Token, token.Label)
                && Fits(uri.Serial, token.Serial)
                && Fits(uri.Model, token.Model)
                && Fits(uri.Manufacturer, token.Manufacturer)
                && Fits(uri.SlotDescription, token.SlotDescription)
                && Fits(uri.SlotManufacturer, token.SlotManufacturer)
                && (uri.SlotId is null || uri.SlotId == token.SlotId))
            .ToList();
        return fitting.Count switch
        {
            0 => throw new Pkcs11Exception(
                Pkcs11Fault.TokenAbsent, "TOKEN_ABSENT", "no slot holds a token that fits the URI"),
            1 => fitting[0],
            _ => throw new Pkcs11Exception(
                Pkcs11Fault.Ambiguous, "TOKEN_AMBIGUOUS", "more than one token fits the URI"),
        };
    }

    public void Dispose()
    {
        if (_disposed)
        {
            return;
        }

        _disposed = true;
        while (_idle.TryTake(out var idle))
        {
            _module.Functions.CloseSession(idle.Handle);
        }

        if (_anchor is { } anchor)
        {
            _module.Functions.CloseSession(anchor);
        }

        _busy.Dispose();
        _module.Dispose();
    }
}
