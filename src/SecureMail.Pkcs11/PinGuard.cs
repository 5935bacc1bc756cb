using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace SecureMail.Pkcs11;

/// <summary>
/// Decides whether a PIN may be tried. Tokens lock after a few wrong ones, some hide how many are left, and a service
/// that retries uses them up within a second: so after one refusal nothing is tried again in this process until a
/// person acted. One for each token, for the life of the process.
/// </summary>
internal sealed class PinGuard
{
    private readonly Lock _lock = new();
    private (Pkcs11Fault Fault, string Code)? _refusal;

    // The person who resets has seen that one try is left, and takes it.
    private bool _finalTryAllowed;

    public bool Refused
    {
        get
        {
            lock (_lock)
            {
                return _refusal is not null;
            }
        }
    }

    /// <summary>One attempt to log in; attempts of other threads wait, and find its outcome.</summary>
    /// <param name="pin">Gives the PIN's octets, which are wiped here; null when there is none.</param>
    public void Login(Cryptoki functions, CULong session, CULong slot, uint user, Func<byte[]?> pin)
    {
        lock (_lock)
        {
            if (_refusal is { } refusal)
            {
                throw new Pkcs11Exception(
                    refusal.Fault == Pkcs11Fault.PinLocked ? Pkcs11Fault.PinLocked : Pkcs11Fault.PinRefused,
                    refusal.Code, "no login was attempted");
            }

            Cryptoki.Check(functions.GetTokenInfo(slot, out var info), "C_GetTokenInfo");
            var flags = info.Flags.Value;
            if ((flags & Ck.TokenPinLocked) != 0)
            {
                throw Refuse(Pkcs11Fault.PinLocked, "PIN_LOCKED", "the token says that its PIN is locked");
            }

            if ((flags & Ck.TokenPinFinalTry) != 0 && !_finalTryAllowed)
            {
                throw Refuse(Pkcs11Fault.PinRefused, "PIN_FINAL_TRY", "the token says that one try is left");
            }

            _finalTryAllowed = false;
            var octets =
                (flags & Ck.TokenProtectedAuthentication) != 0
                    ? []
                    : pin() ?? throw new Pkcs11Exception(Pkcs11Fault.PinRequired, "PIN_REQUIRED", "no PIN was given");
            try
            {
                var result = functions.Login(session, user, octets);
                if (result is Ckr.Ok or Ckr.UserAlreadyLoggedIn)
                {
                    return;
                }

                var (name, fault) = Ckr.Describe(result);
                throw fault is Pkcs11Fault.PinIncorrect or Pkcs11Fault.PinLocked or Pkcs11Fault.PinExpired
                    ? Refuse(fault, name, "C_Login")
                    : new Pkcs11Exception(fault, name, "C_Login");
            }
            finally
            {
                CryptographicOperations.ZeroMemory(octets);
            }
        }
    }

    public void ResetAfterPersonActed()
    {
        lock (_lock)
        {
            _refusal = null;
            _finalTryAllowed = true;
        }
    }

    private Pkcs11Exception Refuse(Pkcs11Fault fault, string code, string detail)
    {
        _refusal = (fault, code);
        return new Pkcs11Exception(fault, code, detail);
    }
}
