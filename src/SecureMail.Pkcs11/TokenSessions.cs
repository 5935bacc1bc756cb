using System.Collections.Concurrent;
using Net.Pkcs11Interop.Common;

namespace SecureMail.Pkcs11;

/// <summary>
/// The sessions of one token and the login that they share. Each operation rents a session of its own. When a session
/// is lost (token removed and inserted again), everything is reopened and the operation is repeated once: signing and
/// decrypting change nothing on the token, so a repetition does no harm. Safe to use from many threads at once.
/// </summary>
internal sealed class TokenSessions : IDisposable
{
    private const int MaxIdleSessions = 8;
    private const int MaxBusySessions = 16;

    private readonly Pkcs11Module _module;
    private readonly Pkcs11Uri _uri;
    private readonly Func<byte[]?> _pin;
    private readonly ConcurrentBag<(ulong Handle, int Generation)> _idle = [];
    private readonly SemaphoreSlim _busy = new(MaxBusySessions, MaxBusySessions);
    private readonly Lock _state = new();
    private ulong _slot;
    private int _generation;
    private bool _loggedIn;
    private bool _disposed;

    // The login ends with the last session of the process (PKCS #11 2.40 §5.6.7), so this session stays open to keep
    // the login.
    private ulong? _loginSession;

    /// <param name="module">Owned by this object.</param>
    public TokenSessions(Pkcs11Module module, Pkcs11Uri uri, Pkcs11TokenInfo info, Func<byte[]?> pin)
    {
        (_module, _uri, _pin) = (module, uri, pin);
        _slot = info.SlotId;
        PinGuard = module.GetPinGuard(info);
    }

    public Cryptoki Functions => _module.Functions;

    public PinGuard PinGuard { get; }

    /// <summary>Counts the losses of sessions. Session and object handles are valid in one generation only.</summary>
    public int Generation => Volatile.Read(ref _generation);

    /// <summary>Runs an operation in a session of its own. When the session is lost, the operation runs once
    /// more.</summary>
    /// <param name="operation">Takes the session.</param>
    /// <param name="login">False for an operation that needs no login.</param>
    /// <exception cref="Pkcs11Exception">The error of the token.</exception>
    public T Run<T>(Func<ulong, T> operation, bool login = true)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        _busy.Wait();
        try
        {
            try
            {
                return RunOnce(operation, login);
            }
            catch (Pkcs11Exception e) when (IsSessionLoss(e))
            {
                Reset(e);
                return RunOnce(operation, login);
            }
        }
        finally
        {
            _busy.Release();
        }
    }

    /// <summary>The login for one use of a key with CKA_ALWAYS_AUTHENTICATE, after C_…Init in the same
    /// session.</summary>
    public void LoginForKeyUse(ulong session) =>
        PinGuard.Login(_module.Functions, session, _slot, CKU.CKU_CONTEXT_SPECIFIC, _pin);

    /// <summary>The one token that matches the URI.</summary>
    /// <exception cref="Pkcs11Exception">TokenAbsent, Ambiguous.</exception>
    public static Pkcs11TokenInfo FindToken(Pkcs11Module module, Pkcs11Uri uri)
    {
        bool Matches(string? wanted, string actual) => wanted is null || wanted == actual;
        var matching = module
            .ListTokens()
            .Where(token =>
                token.Initialized
                && Matches(uri.Token, token.Label)
                && Matches(uri.Serial, token.Serial)
                && Matches(uri.Model, token.Model)
                && Matches(uri.Manufacturer, token.Manufacturer)
                && Matches(uri.SlotDescription, token.SlotDescription)
                && Matches(uri.SlotManufacturer, token.SlotManufacturer)
                && (uri.SlotId is null || uri.SlotId == token.SlotId))
            .ToList();
        return matching.Count switch
        {
            0 => throw new Pkcs11Exception(
                Pkcs11Fault.TokenAbsent, "TOKEN_ABSENT", "no slot holds a token that matches the URI"),
            1 => matching[0],
            _ => throw new Pkcs11Exception(
                Pkcs11Fault.Ambiguous, "TOKEN_AMBIGUOUS", "more than one token matches the URI"),
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

        if (_loginSession is { } session)
        {
            _module.Functions.CloseSession(session);
        }

        _busy.Dispose();
        _module.Dispose();
    }

    private T RunOnce<T>(Func<ulong, T> operation, bool login)
    {
        var session = Rent(login);
        try
        {
            var result = operation(session.Handle);
            Return(session);
            return result;
        }
        catch (Exception)
        {
            // Close the session, because an unfinished operation may still be active in it.
            _module.Functions.CloseSession(session.Handle);
            throw;
        }
    }

    // The errors of a removed token, a reset reader or a module that lost its state.
    private static bool IsSessionLoss(Pkcs11Exception e) =>
        e.Fault is Pkcs11Fault.SessionLost
        || e.Code
            is "CKR_DEVICE_REMOVED"
                or "CKR_TOKEN_NOT_PRESENT"
                or "CKR_USER_NOT_LOGGED_IN"
                or "CKR_KEY_HANDLE_INVALID"
                or "CKR_OBJECT_HANDLE_INVALID";

    private (ulong Handle, int Generation) Rent(bool login)
    {
        lock (_state)
        {
            if (_loginSession is null)
            {
                Cryptoki.Check(_module.Functions.OpenSession(_slot, out var opened), "C_OpenSession");
                _loginSession = opened;
            }
            if (login && !_loggedIn)
            {
                PinGuard.Login(_module.Functions, _loginSession.Value, _slot, CKU.CKU_USER, _pin);
                _loggedIn = true;
            }
        }
        while (_idle.TryTake(out var idle))
        {
            if (idle.Generation == Generation)
            {
                return idle;
            }

            _module.Functions.CloseSession(idle.Handle);
        }
        Cryptoki.Check(_module.Functions.OpenSession(_slot, out var session), "C_OpenSession");
        return (session, Generation);
    }

    private void Return((ulong Handle, int Generation) session)
    {
        if (session.Generation == Generation && _idle.Count < MaxIdleSessions && !_disposed)
        {
            _idle.Add(session);
        }
        else
        {
            _module.Functions.CloseSession(session.Handle);
        }
    }

    /// <summary>Invalidates all handles and sessions. The login and the slot are invalidated too, unless an object
    /// handle was the cause and the login session is still open.</summary>
    private void Reset(Pkcs11Exception cause)
    {
        lock (_state)
        {
            Interlocked.Increment(ref _generation);
            if (_loginSession is { } session)
            {
                if (cause.Fault == Pkcs11Fault.KeyAbsent && _module.Functions.IsSessionOpen(session))
                {
                    return; // the object was replaced; the token was not removed
                }

                _module.Functions.CloseSession(session);
            }
            _loginSession = null;
            _loggedIn = false;
            _slot = FindToken(_module, _uri).SlotId; // the token may be in another slot now
        }
    }
}
