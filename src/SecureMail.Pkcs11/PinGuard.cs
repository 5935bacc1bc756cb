using System.Security.Cryptography;
using Net.Pkcs11Interop.Common;

namespace SecureMail.Pkcs11;

/// <summary>
/// Decides whether a PIN may be tried. A token locks after a few wrong PINs, some tokens do not tell how many tries are
/// left, and a service that retries uses all tries within a second. Therefore no login is attempted in this process
/// after one refusal until a person allows it. Each token has one guard, for the life of the process.
/// </summary>
internal sealed class PinGuard
{
    private readonly Lock _lock = new();
    private (Pkcs11Fault Fault, string Code)? _refusal;

    // The person who allowed the next login knows that one try is left.
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

    /// <summary>Makes one attempt to log in. Attempts of other threads wait and see its result.</summary>
    /// <param name="pin">Returns the PIN in an array that is wiped here, or null when there is no PIN.</param>
    /// <exception cref="Pkcs11Exception">PinRefused, PinLocked, PinRequired, PinIncorrect, PinExpired, or another error
    /// of the token.</exception>
    public void Login(Cryptoki functions, ulong session, ulong slot, CKU user, Func<byte[]?> pin)
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
            var flags = info.Flags;
            if ((flags & CKF.CKF_USER_PIN_LOCKED) != 0)
            {
                throw Refuse(Pkcs11Fault.PinLocked, "PIN_LOCKED", "the token reports that its PIN is locked");
            }

            if ((flags & CKF.CKF_USER_PIN_FINAL_TRY) != 0 && !_finalTryAllowed)
            {
                throw Refuse(Pkcs11Fault.PinRefused, "PIN_FINAL_TRY", "the token reports that one try is left");
            }

            _finalTryAllowed = false;
            var pinBytes =
                (flags & CKF.CKF_PROTECTED_AUTHENTICATION_PATH) != 0
                    ? []
                    : ReadPin(pin);
            try
            {
                var result = functions.Login(session, user, pinBytes);
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
                CryptographicOperations.ZeroMemory(pinBytes);
            }
        }
    }

    /// <summary>Forgets a refusal, and allows the final try once.</summary>
    public void AllowNextLogin()
    {
        lock (_lock)
        {
            _refusal = null;
            _finalTryAllowed = true;
        }
    }

    private static byte[] ReadPin(Func<byte[]?> pin)
    {
        var given = pin() is { } written ? SecretText.Decode(written) : [];
        // An empty PIN, as of a file with a line end alone, would spend a try.
        return given.Length > 0
            ? given
            : throw new Pkcs11Exception(Pkcs11Fault.PinRequired, "PIN_REQUIRED", "no PIN was given");
    }

    private Pkcs11Exception Refuse(Pkcs11Fault fault, string code, string detail)
    {
        _refusal = (fault, code);
        return new Pkcs11Exception(fault, code, detail);
    }
}
