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
/// The exception of this project. It names the call that failed and its return value, and tells in one sentence what to
/// do. It never contains a PIN or any of the data.
/// </summary>
public sealed class Pkcs11Exception : Exception
{
    internal Pkcs11Exception(Pkcs11Fault fault, string code, string detail, Exception? inner = null)
        : base($"{code}: {detail}. {Sentences(fault).En}", inner) => (Fault, Code) = (fault, code);

    /// <summary>The kind of error.</summary>
    public Pkcs11Fault Fault { get; }

    /// <summary>The return value, for example <c>CKR_PIN_INCORRECT</c>; a code of SecureMail (<c>TOKEN_ABSENT</c>) when
    /// no call was made.</summary>
    public string Code { get; }

    /// <summary>What to do, in Vietnamese.</summary>
    public string Vi => Sentences(Fault).Vi;

    /// <summary>What to do, in English.</summary>
    public string En => Sentences(Fault).En;

    internal static Pkcs11Exception From(ulong value, string call)
    {
        var (name, fault) = Ckr.Describe(value);
        return new Pkcs11Exception(fault, name, call);
    }

    private static (string Vi, string En) Sentences(Pkcs11Fault fault) =>
        fault switch
        {
            Pkcs11Fault.UriInvalid => (
                "Địa chỉ PKCS#11 không hợp lệ; hãy sửa cấu hình.",
                "The PKCS#11 URI is not valid; correct the configuration."),
            Pkcs11Fault.ModuleMissing => (
                "Không tìm thấy trình điều khiển của thiết bị ký; hãy cài đặt hoặc sửa module-path.",
                "The driver of the token was not found; install it or correct module-path."),
            Pkcs11Fault.ModuleUnusable => (
                "Trình điều khiển của thiết bị ký không hoạt động đúng; hãy liên hệ nhà cung cấp.",
                "The driver of the token does not work correctly; ask its vendor."),
            Pkcs11Fault.TokenAbsent => (
                "Không thấy thiết bị ký; hãy cắm thiết bị rồi thử lại.",
                "The token is not present; insert it and try again."),
            Pkcs11Fault.Ambiguous => (
                "Có nhiều thiết bị ký hoặc khóa cùng khớp; hãy chỉ rõ bằng số sê-ri (serial) hoặc id.",
                "More than one token or key matches; name it by serial or by id."),
            Pkcs11Fault.TokenNotReady => (
                "Thiết bị ký chưa sẵn sàng (chưa đặt mã PIN hoặc đang có người khác dùng); hãy kiểm tra thiết bị.",
                "The token is not ready (no user PIN is set, or another user type is logged in); check the token."),
            Pkcs11Fault.PinRequired => ("Cần mã PIN của thiết bị ký.", "The PIN of the token is required."),
            Pkcs11Fault.PinIncorrect => (
                "Thiết bị ký từ chối mã PIN; hệ thống dừng thử để thiết bị không bị khóa. "
                    + "Hãy kiểm tra mã PIN rồi cho phép thử lại.",
                "The token refused the PIN; no further PIN is tried, so that the token does not lock. "
                    + "Check the PIN, then allow another try."),
            Pkcs11Fault.PinRefused => (
                "Không thử mã PIN vì lần trước bị từ chối hoặc chỉ còn một lần thử; "
                    + "người phụ trách phải kiểm tra rồi cho phép thử lại.",
                "The PIN was not tried, because it was refused before or only one try is left; "
                    + "a person must check the PIN and allow another try."),
            Pkcs11Fault.PinLocked => (
                "Mã PIN đã bị khóa; chỉ người quản trị thiết bị mới mở khóa được.",
                "The PIN is locked; only the administrator of the token can unlock it."),
            Pkcs11Fault.PinExpired => (
                "Phải đổi mã PIN trước khi dùng thiết bị ký.", "The PIN must be changed before the token can be used."),
            Pkcs11Fault.KeyAbsent => (
                "Thiết bị ký không có khóa này; hãy kiểm tra tên khóa hoặc cắm đúng thiết bị.",
                "The token has no such key; check the name of the key, or insert the right token."),
            Pkcs11Fault.KeyUnusable => (
                "Khóa có trên thiết bị nhưng không được phép dùng cho việc này.",
                "The token has the key, but the key may not be used for this operation."),
            Pkcs11Fault.MechanismUnsupported => (
                "Thiết bị ký không hỗ trợ thuật toán này; hãy chọn thuật toán khác.",
                "The token does not support this algorithm; choose another algorithm."),
            Pkcs11Fault.SessionLost => (
                "Mất kết nối với thiết bị ký; hãy cắm lại thiết bị rồi thử lại.",
                "The connection to the token was lost; insert the token again and retry."),
            Pkcs11Fault.DataInvalid => ("Dữ liệu không phù hợp với khóa này.", "The data is not valid for this key."),
            Pkcs11Fault.Busy => ("Thiết bị ký đang bận; hãy thử lại sau.", "The token is busy; try again later."),
            Pkcs11Fault.Cancelled => (
                "Thao tác trên thiết bị ký đã bị hủy.", "The operation was cancelled at the token."),
            Pkcs11Fault.InvalidCall => (
                "Lỗi của phần mềm khi gọi thiết bị ký; hãy báo cho bộ phận hỗ trợ.",
                "The software called the token incorrectly; report this to support."),
            _ => (
                "Thiết bị ký báo lỗi; hãy rút ra cắm lại, nếu vẫn lỗi thì kiểm tra thiết bị.",
                "The token failed; insert it again. If it fails again, have it checked."),
        };
}
