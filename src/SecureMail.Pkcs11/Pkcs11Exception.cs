namespace SecureMail.Pkcs11;

/// <summary>What went wrong with a token, by what the caller does next.</summary>
public enum Pkcs11Fault
{
    /// <summary>The PKCS#11 URI is not one. Correct the configuration.</summary>
    UriInvalid,

    /// <summary>The module's file is missing, or is not a PKCS#11 module. Install the token's driver or correct
    /// module-path.</summary>
    ModuleMissing,

    /// <summary>The module does not work as it must (locking, initialisation). Ask its maker.</summary>
    ModuleUnusable,

    /// <summary>No slot holds the token. Plug it in; trying again later is right.</summary>
    TokenAbsent,

    /// <summary>More than one token, or more than one key, fits the URI. Name it by serial, or by id.</summary>
    Ambiguous,

    /// <summary>The token has no user PIN yet, or someone else is logged in on it.</summary>
    TokenNotReady,

    /// <summary>No PIN was given. Give one.</summary>
    PinRequired,

    /// <summary>The token refused the PIN. Nothing is tried again until a person acts.</summary>
    PinIncorrect,

    /// <summary>An earlier PIN was refused (or only one try is left), so no login was attempted. A person must
    /// act.</summary>
    PinRefused,

    /// <summary>The token locked the PIN after too many wrong ones. Only its administrator can unlock it.</summary>
    PinLocked,

    /// <summary>The PIN must be changed first.</summary>
    PinExpired,

    /// <summary>The token has no such key.</summary>
    KeyAbsent,

    /// <summary>The key is there, but may not be used like this.</summary>
    KeyUnusable,

    /// <summary>The token does not know the mechanism asked for.</summary>
    MechanismUnsupported,

    /// <summary>The session ended (token pulled, reader reset). It was reopened once already; trying again later is
    /// right.</summary>
    SessionLost,

    /// <summary>The data is not what the mechanism takes (length, padding).</summary>
    DataInvalid,

    /// <summary>The token has no room for another session just now. Trying again later is right.</summary>
    Busy,

    /// <summary>The token or its reader failed.</summary>
    DeviceError,

    /// <summary>The person cancelled at the token's own key pad.</summary>
    Cancelled,

    /// <summary>We called the module wrongly. A bug.</summary>
    OurFault,
}

/// <summary>
/// The one exception of this module. It says which call failed, how Cryptoki names it, and in one sentence for a person
/// what to do; never a PIN, and nothing of the data.
/// </summary>
public sealed class Pkcs11Exception : Exception
{
    internal Pkcs11Exception(Pkcs11Fault fault, string code, string detail, Exception? inner = null)
        : base($"{code}: {detail}. {Sentences(fault).En}", inner) => (Fault, Code) = (fault, code);

    public Pkcs11Fault Fault { get; }

    /// <summary>Such as <c>CKR_PIN_INCORRECT</c>; a word of ours (<c>TOKEN_ABSENT</c>) when no call was made.</summary>
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
                "The token's driver was not found; install it or correct module-path."),
            Pkcs11Fault.ModuleUnusable => (
                "Trình điều khiển của thiết bị ký không hoạt động đúng; hãy liên hệ nhà cung cấp.",
                "The token's driver does not work as it must; ask its maker."),
            Pkcs11Fault.TokenAbsent => (
                "Không thấy thiết bị ký; hãy cắm thiết bị rồi thử lại.",
                "The token is not present; plug it in and try again."),
            Pkcs11Fault.Ambiguous => (
                "Có nhiều thiết bị ký hoặc khóa cùng khớp; hãy chỉ rõ bằng số sê-ri (serial) hoặc id.",
                "More than one token or key fits; name it by serial or by id."),
            Pkcs11Fault.TokenNotReady => (
                "Thiết bị ký chưa sẵn sàng (chưa đặt mã PIN hoặc đang có người khác dùng); hãy kiểm tra thiết bị.",
                "The token is not ready (no user PIN set, or in use by another role); check the token."),
            Pkcs11Fault.PinRequired => ("Cần mã PIN của thiết bị ký.", "The token's PIN is needed."),
            Pkcs11Fault.PinIncorrect => (
                "Thiết bị ký từ chối mã PIN; hệ thống dừng thử để thiết bị không bị khóa. Hãy kiểm tra mã PIN rồi cho phép thử lại.",
                "The token refused the PIN; nothing more is tried, so that it does not lock. Check the PIN, then allow another try."
            ),
            Pkcs11Fault.PinRefused => (
                "Không thử mã PIN vì lần trước bị từ chối hoặc chỉ còn một lần thử; người phụ trách phải kiểm tra rồi cho phép thử lại.",
                "The PIN was not tried, because it was refused before or only one try is left; a person must check it and allow another try."
            ),
            Pkcs11Fault.PinLocked => (
                "Mã PIN đã bị khóa; chỉ người quản trị thiết bị mới mở khóa được.",
                "The PIN is locked; only the token's administrator can unlock it."),
            Pkcs11Fault.PinExpired => (
                "Phải đổi mã PIN trước khi dùng thiết bị ký.", "The PIN must be changed before the token can be used."),
            Pkcs11Fault.KeyAbsent => (
                "Thiết bị ký không có khóa này; hãy kiểm tra tên khóa hoặc cắm đúng thiết bị.",
                "The token has no such key; check the key's name, or plug in the right token."),
            Pkcs11Fault.KeyUnusable => (
                "Khóa có trên thiết bị nhưng không được phép dùng cho việc này.",
                "The key is on the token but may not be used for this."),
            Pkcs11Fault.MechanismUnsupported => (
                "Thiết bị ký không hỗ trợ thuật toán này; hãy chọn thuật toán khác.",
                "The token does not support this algorithm; choose another."),
            Pkcs11Fault.SessionLost => (
                "Mất kết nối với thiết bị ký; hãy cắm lại thiết bị rồi thử lại.",
                "The connection to the token was lost; plug it in again and retry."),
            Pkcs11Fault.DataInvalid => ("Dữ liệu không phù hợp với khóa này.", "The data does not fit this key."),
            Pkcs11Fault.Busy => ("Thiết bị ký đang bận; hãy thử lại sau.", "The token is busy; try again later."),
            Pkcs11Fault.Cancelled => (
                "Thao tác trên thiết bị ký đã bị hủy.", "The operation was cancelled at the token."),
            Pkcs11Fault.OurFault => (
                "Lỗi của phần mềm khi gọi thiết bị ký; hãy báo cho bộ phận hỗ trợ.",
                "The software called the token wrongly; report this to support."),
            _ => (
                "Thiết bị ký báo lỗi; hãy rút ra cắm lại, nếu vẫn lỗi thì kiểm tra thiết bị.",
                "The token failed; plug it in again, and have it checked if it fails again."),
        };
}
