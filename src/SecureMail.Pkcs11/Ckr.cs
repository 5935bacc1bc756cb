using System.Globalization;

namespace SecureMail.Pkcs11;

/// <summary>
/// Every return value of Cryptoki 2.40 and two of 3.0, with the fault that it means for the caller. Only this table
/// maps return values to errors.
/// </summary>
internal static class Ckr
{
    public const ulong Ok = 0x0;
    public const ulong GeneralError = 0x5;
    public const ulong FunctionFailed = 0x6;
    public const ulong DataInvalid = 0x20;
    public const ulong DataLenRange = 0x21;
    public const ulong DeviceRemoved = 0x32;
    public const ulong EncryptedDataInvalid = 0x40;
    public const ulong EncryptedDataLenRange = 0x41;
    public const ulong KeyHandleInvalid = 0x60;
    public const ulong MechanismParamInvalid = 0x71;
    public const ulong ObjectHandleInvalid = 0x82;
    public const ulong ArgumentsBad = 0x7;
    public const ulong AttributeSensitive = 0x11;
    public const ulong AttributeTypeInvalid = 0x12;
    public const ulong PinIncorrect = 0xA0;
    public const ulong SessionClosed = 0xB0;
    public const ulong SessionHandleInvalid = 0xB3;
    public const ulong TokenNotPresent = 0xE0;
    public const ulong UserAlreadyLoggedIn = 0x100;
    public const ulong UserNotLoggedIn = 0x101;
    public const ulong AlreadyInitialized = 0x191;

    // PKCS #11 2.40 base, §5.1: values from here up are vendor-defined.
    private const ulong VendorDefined = 0x80000000;

    private static readonly Dictionary<ulong, (string Name, Pkcs11Fault Fault)> Table = new()
    {
        [0x1] = ("CKR_CANCEL", Pkcs11Fault.Cancelled),
        [0x2] = ("CKR_HOST_MEMORY", Pkcs11Fault.Busy),
        [0x3] = ("CKR_SLOT_ID_INVALID", Pkcs11Fault.TokenAbsent),
        [0x5] = ("CKR_GENERAL_ERROR", Pkcs11Fault.DeviceError),
        [0x6] = ("CKR_FUNCTION_FAILED", Pkcs11Fault.DeviceError),
        [0x7] = ("CKR_ARGUMENTS_BAD", Pkcs11Fault.InvalidCall),
        [0x8] = ("CKR_NO_EVENT", Pkcs11Fault.Busy),
        [0x9] = ("CKR_NEED_TO_CREATE_THREADS", Pkcs11Fault.ModuleUnusable),
        [0xA] = ("CKR_CANT_LOCK", Pkcs11Fault.ModuleUnusable),
        [0x10] = ("CKR_ATTRIBUTE_READ_ONLY", Pkcs11Fault.InvalidCall),
        [0x11] = ("CKR_ATTRIBUTE_SENSITIVE", Pkcs11Fault.KeyUnusable),
        [0x12] = ("CKR_ATTRIBUTE_TYPE_INVALID", Pkcs11Fault.InvalidCall),
        [0x13] = ("CKR_ATTRIBUTE_VALUE_INVALID", Pkcs11Fault.InvalidCall),
        [0x1B] = ("CKR_ACTION_PROHIBITED", Pkcs11Fault.KeyUnusable),
        [0x20] = ("CKR_DATA_INVALID", Pkcs11Fault.DataInvalid),
        [0x21] = ("CKR_DATA_LEN_RANGE", Pkcs11Fault.DataInvalid),
        [0x30] = ("CKR_DEVICE_ERROR", Pkcs11Fault.DeviceError),
        [0x31] = ("CKR_DEVICE_MEMORY", Pkcs11Fault.Busy),
        [0x32] = ("CKR_DEVICE_REMOVED", Pkcs11Fault.TokenAbsent),
        [0x40] = ("CKR_ENCRYPTED_DATA_INVALID", Pkcs11Fault.DataInvalid),
        [0x41] = ("CKR_ENCRYPTED_DATA_LEN_RANGE", Pkcs11Fault.DataInvalid),
        [0x50] = ("CKR_FUNCTION_CANCELED", Pkcs11Fault.Cancelled),
        [0x51] = ("CKR_FUNCTION_NOT_PARALLEL", Pkcs11Fault.MechanismUnsupported),
        [0x54] = ("CKR_FUNCTION_NOT_SUPPORTED", Pkcs11Fault.MechanismUnsupported),
        [0x60] = ("CKR_KEY_HANDLE_INVALID", Pkcs11Fault.KeyAbsent),
        [0x62] = ("CKR_KEY_SIZE_RANGE", Pkcs11Fault.KeyUnusable),
        [0x63] = ("CKR_KEY_TYPE_INCONSISTENT", Pkcs11Fault.KeyUnusable),
        [0x64] = ("CKR_KEY_NOT_NEEDED", Pkcs11Fault.KeyUnusable),
        [0x65] = ("CKR_KEY_CHANGED", Pkcs11Fault.KeyUnusable),
        [0x66] = ("CKR_KEY_NEEDED", Pkcs11Fault.KeyUnusable),
        [0x67] = ("CKR_KEY_INDIGESTIBLE", Pkcs11Fault.KeyUnusable),
        [0x68] = ("CKR_KEY_FUNCTION_NOT_PERMITTED", Pkcs11Fault.KeyUnusable),
        [0x69] = ("CKR_KEY_NOT_WRAPPABLE", Pkcs11Fault.KeyUnusable),
        [0x6A] = ("CKR_KEY_UNEXTRACTABLE", Pkcs11Fault.KeyUnusable),
        [0x70] = ("CKR_MECHANISM_INVALID", Pkcs11Fault.MechanismUnsupported),
        [0x71] = ("CKR_MECHANISM_PARAM_INVALID", Pkcs11Fault.MechanismUnsupported),
        [0x82] = ("CKR_OBJECT_HANDLE_INVALID", Pkcs11Fault.KeyAbsent),
        [0x90] = ("CKR_OPERATION_ACTIVE", Pkcs11Fault.InvalidCall),
        [0x91] = ("CKR_OPERATION_NOT_INITIALIZED", Pkcs11Fault.InvalidCall),
        [0xA0] = ("CKR_PIN_INCORRECT", Pkcs11Fault.PinIncorrect),
        [0xA1] = ("CKR_PIN_INVALID", Pkcs11Fault.PinIncorrect),
        [0xA2] = ("CKR_PIN_LEN_RANGE", Pkcs11Fault.PinIncorrect),
        [0xA3] = ("CKR_PIN_EXPIRED", Pkcs11Fault.PinExpired),
        [0xA4] = ("CKR_PIN_LOCKED", Pkcs11Fault.PinLocked),
        [0xB0] = ("CKR_SESSION_CLOSED", Pkcs11Fault.SessionLost),
        [0xB1] = ("CKR_SESSION_COUNT", Pkcs11Fault.Busy),
        [0xB3] = ("CKR_SESSION_HANDLE_INVALID", Pkcs11Fault.SessionLost),
        [0xB4] = ("CKR_SESSION_PARALLEL_NOT_SUPPORTED", Pkcs11Fault.MechanismUnsupported),
        [0xB5] = ("CKR_SESSION_READ_ONLY", Pkcs11Fault.InvalidCall),
        [0xB6] = ("CKR_SESSION_EXISTS", Pkcs11Fault.InvalidCall),
        [0xB7] = ("CKR_SESSION_READ_ONLY_EXISTS", Pkcs11Fault.InvalidCall),
        [0xB8] = ("CKR_SESSION_READ_WRITE_SO_EXISTS", Pkcs11Fault.InvalidCall),
        [0xC0] = ("CKR_SIGNATURE_INVALID", Pkcs11Fault.DataInvalid),
        [0xC1] = ("CKR_SIGNATURE_LEN_RANGE", Pkcs11Fault.DataInvalid),
        [0xD0] = ("CKR_TEMPLATE_INCOMPLETE", Pkcs11Fault.InvalidCall),
        [0xD1] = ("CKR_TEMPLATE_INCONSISTENT", Pkcs11Fault.InvalidCall),
        [0xE0] = ("CKR_TOKEN_NOT_PRESENT", Pkcs11Fault.TokenAbsent),
        [0xE1] = ("CKR_TOKEN_NOT_RECOGNIZED", Pkcs11Fault.TokenAbsent),
        [0xE2] = ("CKR_TOKEN_WRITE_PROTECTED", Pkcs11Fault.TokenNotReady),
        [0xF0] = ("CKR_UNWRAPPING_KEY_HANDLE_INVALID", Pkcs11Fault.KeyAbsent),
        [0xF1] = ("CKR_UNWRAPPING_KEY_SIZE_RANGE", Pkcs11Fault.KeyUnusable),
        [0xF2] = ("CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT", Pkcs11Fault.KeyUnusable),
        [0x100] = ("CKR_USER_ALREADY_LOGGED_IN", Pkcs11Fault.InvalidCall),
        [0x101] = ("CKR_USER_NOT_LOGGED_IN", Pkcs11Fault.PinRequired),
        [0x102] = ("CKR_USER_PIN_NOT_INITIALIZED", Pkcs11Fault.TokenNotReady),
        [0x103] = ("CKR_USER_TYPE_INVALID", Pkcs11Fault.InvalidCall),
        [0x104] = ("CKR_USER_ANOTHER_ALREADY_LOGGED_IN", Pkcs11Fault.TokenNotReady),
        [0x105] = ("CKR_USER_TOO_MANY_TYPES", Pkcs11Fault.TokenNotReady),
        [0x110] = ("CKR_WRAPPED_KEY_INVALID", Pkcs11Fault.DataInvalid),
        [0x112] = ("CKR_WRAPPED_KEY_LEN_RANGE", Pkcs11Fault.DataInvalid),
        [0x113] = ("CKR_WRAPPING_KEY_HANDLE_INVALID", Pkcs11Fault.KeyAbsent),
        [0x114] = ("CKR_WRAPPING_KEY_SIZE_RANGE", Pkcs11Fault.KeyUnusable),
        [0x115] = ("CKR_WRAPPING_KEY_TYPE_INCONSISTENT", Pkcs11Fault.KeyUnusable),
        [0x120] = ("CKR_RANDOM_SEED_NOT_SUPPORTED", Pkcs11Fault.MechanismUnsupported),
        [0x121] = ("CKR_RANDOM_NO_RNG", Pkcs11Fault.MechanismUnsupported),
        [0x130] = ("CKR_DOMAIN_PARAMS_INVALID", Pkcs11Fault.MechanismUnsupported),
        [0x140] = ("CKR_CURVE_NOT_SUPPORTED", Pkcs11Fault.MechanismUnsupported),
        [0x150] = ("CKR_BUFFER_TOO_SMALL", Pkcs11Fault.InvalidCall),
        [0x160] = ("CKR_SAVED_STATE_INVALID", Pkcs11Fault.DataInvalid),
        [0x170] = ("CKR_INFORMATION_SENSITIVE", Pkcs11Fault.KeyUnusable),
        [0x180] = ("CKR_STATE_UNSAVEABLE", Pkcs11Fault.DeviceError),
        [0x190] = ("CKR_CRYPTOKI_NOT_INITIALIZED", Pkcs11Fault.ModuleUnusable),
        [0x191] = ("CKR_CRYPTOKI_ALREADY_INITIALIZED", Pkcs11Fault.ModuleUnusable),
        [0x1A0] = ("CKR_MUTEX_BAD", Pkcs11Fault.ModuleUnusable),
        [0x1A1] = ("CKR_MUTEX_NOT_LOCKED", Pkcs11Fault.ModuleUnusable),
        [0x1B0] = ("CKR_NEW_PIN_MODE", Pkcs11Fault.PinExpired),
        [0x1B1] = ("CKR_NEXT_OTP", Pkcs11Fault.PinExpired),
        [0x1B5] = ("CKR_EXCEEDED_MAX_ITERATIONS", Pkcs11Fault.DeviceError),
        [0x1B6] = ("CKR_FIPS_SELF_TEST_FAILED", Pkcs11Fault.DeviceError),
        [0x1B7] = ("CKR_LIBRARY_LOAD_FAILED", Pkcs11Fault.ModuleUnusable),
        [0x1B8] = ("CKR_PIN_TOO_WEAK", Pkcs11Fault.PinExpired),
        [0x1B9] = ("CKR_PUBLIC_KEY_INVALID", Pkcs11Fault.KeyUnusable),
        [0x200] = ("CKR_FUNCTION_REJECTED", Pkcs11Fault.Cancelled),
        [0x201] = ("CKR_TOKEN_RESOURCE_EXCEEDED", Pkcs11Fault.Busy),
        [0x202] = ("CKR_OPERATION_CANCEL_FAILED", Pkcs11Fault.Busy),
        [0x80000000] = ("CKR_VENDOR_DEFINED", Pkcs11Fault.DeviceError),
    };

    /// <summary>The name and the fault of a value. An unknown value is a device error with the number in its
    /// name.</summary>
    public static (string Name, Pkcs11Fault Fault) Describe(ulong value)
    {
        if (Table.TryGetValue(value, out var known))
        {
            return known;
        }

        var name = value >= VendorDefined ? "CKR_VENDOR_DEFINED" : "CKR_UNKNOWN";
        return (string.Create(CultureInfo.InvariantCulture, $"{name}_0x{value:X8}"), Pkcs11Fault.DeviceError);
    }

    internal static IReadOnlyDictionary<ulong, (string Name, Pkcs11Fault Fault)> All => Table;
}
