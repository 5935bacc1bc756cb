namespace SecureMail.Trust;

/// <summary>
/// The reason of a finding: a stable code for programs, and a sentence in Vietnamese and in English that says what to
/// do.
/// </summary>
public sealed record Reason(string Code, string Vi, string En);

/// <summary>Every reason of the validation of a signature or a path. All sentences about them are here.</summary>
internal static class Reasons
{
    // good
    public static readonly Reason Valid = new(
        "valid", "Chữ ký hợp lệ; có thể dùng văn bản.", "The signature is valid; the document may be used.");
    public static readonly Reason ValidRevocationNotAsked = new(
        "valid-revocation-not-checked",
        "Chữ ký hợp lệ, nhưng chưa kiểm tra chứng thư có bị thu hồi hay không vì được yêu cầu bỏ qua; hãy kiểm tra lại "
            + "khi cần bằng chứng đầy đủ.",
        "The signature is valid, but revocation was not checked, as requested; check again when full evidence is "
            + "needed.");

    // the signature itself
    public static readonly Reason ContentChanged = new(
        "content-changed", "Nội dung đã bị thay đổi sau khi ký; không dùng văn bản này, hãy yêu cầu bên gửi gửi lại.",
        "The content was changed after it was signed; do not use it and ask the sender to send it again.");
    public static readonly Reason SignatureWrong = new(
        "signature-wrong",
        "Giá trị chữ ký không đúng với chứng thư của người ký; không dùng văn bản này, hãy yêu cầu bên gửi ký lại.",
        "The signature value does not match the signer's certificate; do not use the document and ask the sender to "
            + "sign again.");
    public static readonly Reason SignatureMalformed = new(
        "signature-malformed",
        "Chữ ký sai định dạng hoặc tự mâu thuẫn; không dùng văn bản này, hãy yêu cầu bên gửi ký lại bằng phần mềm đúng "
            + "chuẩn.",
        "The signature is malformed or contradicts itself; do not use the document and ask the sender to sign again "
            + "with conforming software.");
    public static readonly Reason ContentMissing = new(
        "content-missing", "Chữ ký rời và chưa có tệp nội dung; hãy cung cấp tệp đã ký rồi kiểm tra lại.",
        "The signature is detached and its content is missing; give the signed file and check again.");
    public static readonly Reason SignerCertificateMissing = new(
        "signer-certificate-missing", "Không tìm thấy chứng thư của người ký; hãy yêu cầu bên gửi gửi kèm chứng thư.",
        "The signer's certificate is missing; ask the sender to include it.");
    public static readonly Reason AlgorithmUnknown = new(
        "algorithm-unknown",
        "Chữ ký dùng thuật toán không được hỗ trợ; hãy yêu cầu bên gửi ký bằng RSA hoặc ECDSA với SHA-256 trở lên.",
        "The signature uses an algorithm that is not supported; ask the sender to sign with RSA or ECDSA and "
            + "SHA-256 or better.");
    public static readonly Reason AlgorithmWeak = new(
        "algorithm-weak",
        "Chữ ký dùng thuật toán đã yếu (MD5, SHA-1 hoặc RSA dưới 2048 bit); hãy yêu cầu bên gửi ký lại bằng thuật toán "
            + "mạnh hơn.",
        "The signature uses a weak algorithm (MD5, SHA-1 or RSA below 2048 bits); ask the sender to sign again with "
            + "a stronger one.");
    public static readonly Reason TimeInFuture = new(
        "time-in-future", "Thời điểm ký nằm trong tương lai; hãy kiểm tra đồng hồ của hai bên rồi yêu cầu ký lại.",
        "The signing time is in the future; check both clocks and ask for a new signature.");

    // the path
    public static readonly Reason NoPath = new(
        "no-path",
        "Không có đường dẫn chứng thực đến một gốc tin cậy; chỉ thêm gốc này khi đã xác minh với đơn vị cấp chứng thư.",
        "No certification path leads to a trust anchor; add the anchor only after checking it with the issuing "
            + "authority.");
    public static readonly Reason PathSignatureWrong = new(
        "path-signature-wrong",
        "Một chứng thư trong đường dẫn không do cơ quan nêu tên trên đó ký; không tin chữ ký này và báo đơn vị phụ "
            + "trách chứng thư.",
        "A certificate in the path was not signed by its named issuer; do not trust this signature and report it to "
            + "the certificate administrator.");
    public static readonly Reason CertificateMalformed = new(
        "certificate-malformed", "Chứng thư sai định dạng; hãy yêu cầu người ký xin cấp lại chứng thư.",
        "The certificate is malformed; ask the signer to have a new one issued.");
    public static readonly Reason NotYetValid = new(
        "certificate-not-yet-valid",
        "Chứng thư chưa đến ngày có hiệu lực; hãy kiểm tra đồng hồ máy hoặc chờ đến ngày hiệu lực.",
        "A certificate is not valid yet; check the clock or wait until the certificate is valid.");
    public static readonly Reason Expired = new(
        "certificate-expired",
        "Chứng thư đã hết hạn và không có dấu thời gian chứng minh ký trước đó; hãy yêu cầu ký lại bằng chứng thư còn "
            + "hạn.",
        "A certificate has expired and no timestamp proves an earlier signature; ask for a new signature with a "
            + "valid certificate.");
    public static readonly Reason NotACa = new(
        "issuer-not-ca", "Đường dẫn có chứng thư không được quyền cấp chứng thư khác; không tin chữ ký này.",
        "A certificate in the path may not issue certificates; do not trust this signature.");
    public static readonly Reason PathTooLong = new(
        "path-too-long", "Đường dẫn chứng thực dài hơn mức cơ quan cấp cho phép; không tin chữ ký này.",
        "The certification path is longer than an authority in it allows; do not trust this signature.");
    public static readonly Reason NameNotAllowed = new(
        "name-not-allowed", "Tên trong chứng thư nằm ngoài phạm vi mà cơ quan cấp được phép; không tin chữ ký này.",
        "A name in a certificate is outside the name constraints of its issuer; do not trust this signature.");
    public static readonly Reason CriticalExtension = new(
        "critical-extension-unknown",
        "Chứng thư có phần mở rộng bắt buộc mà hệ thống không hiểu; không thể tin chứng thư này, hãy báo đơn vị phụ "
            + "trách chứng thư.",
        "A certificate has a critical extension that is not supported and cannot be trusted; report it to the "
            + "certificate administrator.");
    public static readonly Reason PolicyNotAllowed = new(
        "policy-not-allowed",
        "Chính sách chứng thư trong đường dẫn không đáp ứng yêu cầu; hãy dùng chứng thư cấp theo chính sách được chấp "
            + "nhận.",
        "The certificate policies of the path do not meet what is required; use a certificate issued under an "
            + "accepted policy.");
    public static readonly Reason PathAlgorithmWeak = new(
        "path-algorithm-weak",
        "Một chứng thư trong đường dẫn dùng thuật toán đã yếu (MD5, SHA-1 hoặc RSA dưới 2048 bit); hãy xin cấp lại "
            + "chứng thư.",
        "A certificate in the path uses a weak algorithm (MD5, SHA-1 or RSA below 2048 bits); have the certificate "
            + "issued again.");
    public static readonly Reason PathAlgorithmUnknown = new(
        "path-algorithm-unknown",
        "Một chứng thư trong đường dẫn dùng thuật toán không được hỗ trợ; hãy xin cấp chứng thư RSA hoặc ECDSA.",
        "A certificate in the path uses an algorithm that is not supported; have an RSA or ECDSA certificate issued.");
    public static readonly Reason WrongPurpose = new(
        "certificate-purpose", "Chứng thư không được cấp để ký thư hoặc văn bản; hãy ký lại bằng chứng thư ký số.",
        "The certificate was not issued for signing mail or documents; sign again with a signing certificate.");
    public static readonly Reason Revoked = new(
        "certificate-revoked",
        "Chứng thư đã bị thu hồi và không có bằng chứng chữ ký có trước; không tin chữ ký này, hãy liên hệ người ký.",
        "A certificate is revoked and nothing proves that the signature is older; do not trust it and contact the "
            + "signer.");
    public static readonly Reason RevocationUnknown = new(
        "revocation-unknown",
        "Chưa kiểm tra được chứng thư có bị thu hồi hay không (thiếu danh sách thu hồi hoặc danh sách đã cũ); hãy cập "
            + "nhật danh sách thu hồi rồi kiểm tra lại.",
        "Whether a certificate is revoked could not be checked (no revocation list, or a stale one); fetch a "
            + "current list and check again.");
    public static readonly Reason PathTooComplex = new(
        "path-too-complex",
        "Quá nhiều đường dẫn chứng thực có thể có; không thể tin chữ ký này, hãy yêu cầu bên gửi chỉ gửi kèm các chứng "
            + "thư cần thiết.",
        "There are too many possible certification paths; this signature cannot be trusted, ask the sender to "
            + "include only the certificates needed.");
}
