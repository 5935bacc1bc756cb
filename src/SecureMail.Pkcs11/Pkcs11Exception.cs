namespace SecureMail.Pkcs11;

/// <summary>The kinds of token errors, by what the caller does next.</summary>
public enum Pkcs11Fault
{
    /// <summary>The PKCS#11 URI is invalid. Correct the configuration.</summary>
    UriInvalid,

    /// <summary>The module's file is missing, or is not a PKCS#11 module. Install the token's driver or correct
    /// module-path.</summary>
    ModuleMissing,

    /// <summary>The module does not work correctly (locking, initialisation). Ask its vendor.</summary>
    ModuleUnusable,

    /// <summary>No slot holds the token. Insert the token; retry later.</summary>
    TokenAbsent,

    /// <summary>More than one token or key matches the URI. Name it by serial or by id.</summary>
    Ambiguous,

    /// <summary>The token has no user PIN yet, or another user type is logged in.</summary>
    TokenNotReady,

    /// <summary>A PIN is required and none was given.</summary>
    PinRequired,

    /// <summary>The token refused the PIN. No login is attempted until a person allows it.</summary>
    PinIncorrect,

    /// <summary>No login was attempted, because an earlier PIN was refused or only one try is left. A person must allow
    /// the next login.</summary>
    PinRefused,

    /// <summary>The token locked the PIN after too many wrong PINs. Only the administrator of the token can unlock
    /// it.</summary>
    PinLocked,

    /// <summary>The PIN must be changed before the token can be used.</summary>
    PinExpired,

    /// <summary>The token has no such key.</summary>
    KeyAbsent,

    /// <summary>The token has the key, but the key may not be used for this operation.</summary>
    KeyUnusable,

    /// <summary>The token does not support the mechanism.</summary>
    MechanismUnsupported,

    /// <summary>The session ended (token removed, reader reset) and was already reopened once. Retry later.</summary>
    SessionLost,

    /// <summary>The mechanism does not accept the data (length, padding).</summary>
    DataInvalid,

    /// <summary>The token has no resources for another session now. Retry later.</summary>
    Busy,

    /// <summary>The token or its reader failed.</summary>
    DeviceError,

    /// <summary>The person cancelled the operation at the token.</summary>
    Cancelled,

    /// <summary>The module was called incorrectly. This is a bug of SecureMail.</summary>
    InvalidCall,
}

/// <summary>
/// The exception of this project. It names the call that failed and its return value. SecureMail.Host has the words of
/// each fault in two languages. The exception never contains a PIN or any of the data.
/// </summary>
public sealed class Pkcs11Exception : Exception
{
    internal Pkcs11Exception(Pkcs11Fault fault, string code, string detail, Exception? inner = null)
        : base($"{code}: {detail}.", inner) => (Fault, Code) = (fault, code);

    /// <summary>The kind of error.</summary>
    public Pkcs11Fault Fault { get; }

    /// <summary>The return value, for example <c>CKR_PIN_INCORRECT</c>; a code of SecureMail (<c>TOKEN_ABSENT</c>) when
    /// no call was made.</summary>
    public string Code { get; }

    internal static Pkcs11Exception From(ulong value, string call)
    {
        var (name, fault) = Ckr.Describe(value);
        return new Pkcs11Exception(fault, name, call);
    }
}
