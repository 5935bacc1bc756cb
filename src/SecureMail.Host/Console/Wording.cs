using System.Globalization;
using System.Text.Json;
using SecureMail.Gateway.Registers;

namespace SecureMail.Host.Pages;

/// <summary>A word on a page: its look, Vietnamese, English.</summary>
public sealed record Label(string Kind, string Vi, string En);

/// <summary>A line of a finding.</summary>
public sealed record FindingLine(string Label, string Text);

/// <summary>What the office reads for each state, event and reason. Times are shown as Vietnam's.</summary>
internal static class Wording
{
    private static readonly Dictionary<string, (string Vi, string En)> Reasons = new(StringComparer.Ordinal)
    {
        ["TOKEN_ABSENT"] = ("Chưa cắm token ký của cơ quan. Cắm token rồi chạy \"securemail queue retry\".", "The agency's token is not there."),
        ["PIN_REFUSED"] = ("Mã PIN sai; dừng lại để không khóa token. Sửa mã PIN rồi chạy \"securemail queue retry\".", "The PIN was refused; nothing is tried again until a person acts."),
        ["KEY_ABSENT"] = ("Token không có khóa ký hợp lệ của cơ quan.", "The token lacks a valid signing key of the agency."),
        ["SIGNING_CERTIFICATE_EXPIRED"] = ("Chứng thư ký của cơ quan đã hết hạn hoặc bị thu hồi.", "The agency's signing certificate is out of date or revoked."),
        ["RECIPIENT_CERTIFICATE"] = ("Nơi nhận không có chứng thư mã hóa còn hiệu lực.", "The addressee has no valid encryption certificate."),
        ["RECIPIENT_UNKNOWN"] = ("Mã nơi nhận không có trong danh bạ.", "The addressee's code is not in the directory."),
        ["RECIPIENT_SUCCEEDED"] = ("Nơi nhận đã được cơ quan khác thay thế.", "The addressee was succeeded by another agency."),
        ["NOT_ADDRESSED_TO_US"] = ("Thư không gửi cho cơ quan này; đã trả lại.", "Not addressed to this agency; returned."),
        ["CONTENT_CONFLICT"] = ("Trùng mã văn bản nhưng khác nội dung; giữ lại và báo động.", "The same dispatch id with another content."),
        ["SENDER_NOT_IN_DIRECTORY"] = ("Người ký không phải cơ quan nào trong danh bạ.", "The signer is no agency of the directory."),
        ["SENDER_BINDING"] = ("Chứng thư ký không thuộc cơ quan ghi trong văn bản.", "The signing certificate is not the named sender's."),
        ["LEDGER_FORK"] = ("Sổ cái của bên gửi đã bị viết lại; giữ lại và báo động.", "The sender's ledger was rewritten."),
        ["LEDGER_EVIDENCE"] = ("Thư thiếu bằng chứng sổ cái, hoặc bằng chứng không khớp.", "Ledger evidence is missing or does not match."),
        ["DOCUMENTS_DIFFER"] = ("Văn bản trong thư không khớp danh sách đã ký.", "The documents do not match the signed manifest."),
        ["GIVEN_UP"] = ("Quá thời hạn mà không gửi được.", "Given up after the time allowed."),
    };

    private static readonly Dictionary<string, string> Events = new(StringComparer.Ordinal)
    {
        ["dispatch.accepted"] = "Tiếp nhận để gửi",
        ["dispatch.signed"] = "Đã ký và mã hóa",
        ["dispatch.sent"] = "Đã gửi",
        ["dispatch.unknown"] = "Không rõ đã tới chưa",
        ["dispatch.failed"] = "Không gửi được",
        ["dispatch.acknowledged"] = "Đã có biên nhận",
        ["dispatch.rejected"] = "Nơi nhận không nhận",
        ["dispatch.refused"] = "Bị từ chối",
        ["dispatch.overdue"] = "Quá hạn biên nhận",
        ["message.received"] = "Nhận thư",
        ["message.judged"] = "Đã kiểm tra và ghi sổ",
        ["receipt.sent"] = "Đã gửi biên nhận",
        ["receipt.matched"] = "Khớp biên nhận",
        ["receipt.unknown"] = "Biên nhận: không rõ đã tới chưa",
        ["receipt.failed"] = "Không gửi được biên nhận",
        ["directory.imported"] = "Nhập danh bạ",
    };

    public static string Time(DateTimeOffset time) => time.ToOffset(TimeSpan.FromHours(7)).ToString("dd/MM/yyyy HH:mm:ss", CultureInfo.InvariantCulture);

    public static string Time(DateTime utc) => Time(new DateTimeOffset(DateTime.SpecifyKind(utc, DateTimeKind.Utc)));

    public static string Time(DateTime? utc) => utc is { } time ? Time(time) : "";

    public static string Size(long octets) =>
        octets < 1024 ? $"{octets} B" : octets < 1024 * 1024 ? string.Create(CultureInfo.InvariantCulture, $"{octets / 1024.0:0.#} KiB") : string.Create(CultureInfo.InvariantCulture, $"{octets / 1048576.0:0.#} MiB");

    public static string Priority(int priority) => priority switch
    {
        0 => "Thường",
        1 => "Khẩn",
        2 => "Thượng khẩn",
        3 => "Hỏa tốc",
        _ => "Hỏa tốc hẹn giờ",
    };

    public static string Reason(string code) => Reasons.TryGetValue(code, out var words) ? $"{words.Vi} / {words.En}" : code;

    public static string Event(string kind) => Events.GetValueOrDefault(kind, kind);

    public static string Receipt(string? name) => name switch
    {
        null => "",
        "ContentConsignment" => "Đã vào hộp thư",
        "ContentConsignmentFailure" => "Đã giữ lại để xem xét",
        "RelayRejection" => "Đã trả lại",
        _ => name,
    };

    public static Label Outgoing(string state) => state switch
    {
        "accepted" => new("wait", "Đã tiếp nhận", "Accepted"),
        "awaiting-signature" => new("wait", "Chờ ký", "Awaiting signature"),
        "queued" => new("good", "Đã ký", "Signed and queued"),
        _ => new("bad", "Bị từ chối", "Refused"),
    };

    public static Label Transmission(OutgoingRecipient recipient) => (recipient.State, recipient.OverdueAt) switch
    {
        ("acknowledged", _) => new("good", "Đã có biên nhận", "Acknowledged"),
        ("refused", _) => new("bad", "Không nhận", "Refused by the addressee"),
        ("failed", _) => new("bad", "Không gửi được", "Failed"),
        (_, not null) => new("bad", "Quá hạn biên nhận", "Receipt overdue"),
        ("sent", _) => new("wait", "Đã gửi, chờ biên nhận", "Sent"),
        ("unknown", _) => new("wait", "Không rõ đã tới, đang gửi lại", "Unknown, sending again"),
        ("queued", _) => new("wait", "Chờ gửi", "Queued"),
        _ => new("", "Chờ ký", "Waiting"),
    };

    public static Label Verdict(string? verdict) => verdict switch
    {
        null => new("wait", "Đang kiểm tra", "Being judged"),
        "valid" => new("good", "Hợp lệ", "Valid"),
        "wrong-sender" => new("bad", "Sai người gửi", "Wrong sender"),
        "partial" => new("bad", "Ký một phần", "Partial"),
        "indeterminate" => new("wait", "Chưa kết luận được", "Indeterminate"),
        "untrusted" => new("bad", "Không tin cậy", "Untrusted"),
        "invalid" => new("bad", "Không hợp lệ", "Invalid"),
        "unsigned" => new("bad", "Không có chữ ký", "Unsigned"),
        _ => new("bad", "Không đọc được", "Unreadable"),
    };

    public static Label Place(string? place) => place switch
    {
        null => new("wait", "Chờ", "Waiting"),
        "inbox" => new("good", "Hộp thư", "Inbox"),
        "quarantine" => new("bad", "Giữ lại", "Quarantine"),
        "returned" => new("bad", "Đã trả lại", "Returned"),
        "duplicate" => new("", "Trùng", "Duplicate"),
        _ => new("", "Biên nhận", "Receipt"),
    };

    public static Label Peer(string state) => state == "verified" ? new("good", "Nhất quán", "Consistent") : new("wait", "Chờ bằng chứng", "Pending");

    public static string Alarm(string kind) => kind switch
    {
        "fork" => "Sổ cái của cổng bạn đã bị viết lại",
        "rollback" => "Sổ cái của cổng bạn bị lùi lại",
        "bad-signature" => "Điểm kiểm tra mang chữ ký sai",
        "content-conflict" => "Trùng mã văn bản, khác nội dung",
        "clock" => "Đồng hồ lệch",
        _ => kind,
    };

    /// <summary>What a person does about an alarm.</summary>
    public static string AlarmAdvice(string kind) => kind switch
    {
        "fork" or "rollback" or "bad-signature" => "Liên hệ cơ quan chủ quản cổng đó theo kênh khác; gửi họ kết quả lệnh \"securemail ledger seen\" để đối chiếu. Văn bản mới của cổng đó được giữ lại.",
        "content-conflict" => "Bản đến trước vẫn nằm trong hộp thư; bản sau được giữ lại. Hỏi nơi gửi bản nào đúng.",
        _ => "",
    };

    /// <summary>The findings of one judgement, as lines to read.</summary>
    public static IEnumerable<FindingLine> Findings(string json)
    {
        using var document = JsonDocument.Parse(json);
        foreach (var finding in document.RootElement.EnumerateArray().Select(e => e.Clone()))
        {
            var reason = finding.GetProperty("reason");
            yield return new("Nhận định", $"{reason.GetProperty("vi").GetString()} / {reason.GetProperty("en").GetString()}");
            if (finding.TryGetProperty("signer", out var signer) && signer.ValueKind == JsonValueKind.Object)
            {
                yield return new("Người ký", signer.GetProperty("subject").GetString() ?? "");
                yield return new("Nơi cấp", signer.GetProperty("issuer").GetString() ?? "");
            }

            yield return new("Thuật ngữ ETSI", $"{finding.GetProperty("indication").GetString()} {finding.GetProperty("subIndication").GetString()}".Trim());
        }
    }
}
