using System.Globalization;
using System.Text.Json;
using SecureMail.Exchange;
using SecureMail.Gateway.Registers;

namespace SecureMail.Web;

/// <summary>A word on a page: its look, Vietnamese, English.</summary>
public sealed record Label(string Kind, string Vi, string En);

/// <summary>A line of a finding.</summary>
public sealed record FindingLine(string Label, string Text);

/// <summary>What the office reads for each state, event and reason. Times are shown as Vietnam's.</summary>
public static class Wording
{
    private static readonly Dictionary<string, (string Vi, string En)> Reasons = new(StringComparer.Ordinal)
    {
        ["TOKEN_ABSENT"] = (
            "Chưa cắm token ký của cơ quan. Cắm token rồi chạy \"securemail queue retry\".",
            "The agency's token is not there."),
        ["PIN_REFUSED"] = (
            "Mã PIN sai; dừng lại để không khóa token. Sửa mã PIN rồi chạy \"securemail queue retry\".",
            "The PIN was refused; nothing is tried again until a person acts."),
        ["KEY_ABSENT"] = (
            "Token không có khóa ký hợp lệ của cơ quan.", "The token lacks a valid signing key of the agency."),
        ["SIGNING_CERTIFICATE_EXPIRED"] = (
            "Chứng thư ký của cơ quan đã hết hạn hoặc bị thu hồi.",
            "The agency's signing certificate is out of date or revoked."),
        ["RECIPIENT_CERTIFICATE"] = (
            "Nơi nhận không có chứng thư mã hóa còn hiệu lực.", "The addressee has no valid encryption certificate."),
        ["RECIPIENT_UNKNOWN"] = (
            "Mã nơi nhận không có trong danh bạ.", "The addressee's code is not in the directory."),
        ["RECIPIENT_SUCCEEDED"] = (
            "Nơi nhận đã được cơ quan khác thay thế.", "The addressee was succeeded by another agency."),
        ["NOT_ADDRESSED_TO_US"] = (
            "Thư không gửi cho cơ quan này; đã trả lại.", "Not addressed to this agency; returned."),
        ["CONTENT_CONFLICT"] = (
            "Trùng mã văn bản nhưng khác nội dung; giữ lại và báo động.", "The same dispatch id with another content."),
        ["SENDER_NOT_IN_DIRECTORY"] = (
            "Người ký không phải cơ quan nào trong danh bạ.", "The signer is no agency of the directory."),
        ["SENDER_BINDING"] = (
            "Chứng thư ký không thuộc cơ quan ghi trong văn bản.",
            "The signing certificate is not the named sender's."),
        ["LEDGER_FORK"] = (
            "Sổ cái của bên gửi đã bị viết lại; giữ lại và báo động.", "The sender's ledger was rewritten."),
        ["LEDGER_EVIDENCE"] = (
            "Thư thiếu bằng chứng sổ cái, hoặc bằng chứng không khớp.",
            "Ledger evidence is missing or does not match."),
        ["DOCUMENTS_DIFFER"] = (
            "Văn bản trong thư không khớp danh sách đã ký.", "The documents do not match the signed manifest."),
        ["UNREADABLE"] = (
            "Thư hỏng hoặc bị cắt, không đọc được; hãy yêu cầu bên gửi gửi lại.",
            "The message is damaged and cannot be read: ask the sender to send it again."),
        ["UNSIGNED"] = ("Thư không có chữ ký; không biết ai gửi.", "The message is not signed."),
        ["INVALID"] = (
            "Chữ ký không hợp lệ: nội dung đã bị thay đổi sau khi ký.",
            "The signature does not hold: the content was changed after signing."),
        ["UNTRUSTED"] = (
            "Chứng thư ký không do tổ chức được tin cậy cấp, hoặc không còn hiệu lực.",
            "The signing certificate is not trusted."),
        ["INDETERMINATE"] = (
            "Hết thời hạn chờ mà chưa kết luận được về chữ ký, hoặc không có khóa để mở.",
            "It could not be judged, or opened, in the time allowed."),
        ["PARTIAL"] = ("Chữ ký không bao trùm toàn bộ thư.", "The signature does not cover the whole message."),
        ["WRONG_SENDER"] = (
            "Người ký không phải là người gửi ghi trên thư.", "The signer is not the sender that the message names."),
        ["NOT_A_DISPATCH"] = (
            "Thư đã ký nhưng không phải văn bản theo định dạng quy định.", "Signed, but no dispatch."),
        ["NOT_A_RECEIPT"] = ("Thư đã ký nhưng không phải biên nhận.", "Signed, but no receipt."),
        ["DUPLICATE"] = (
            "Văn bản này đã nhận trước đó; biên nhận được gửi lại.",
            "This dispatch came before; its receipt is sent again."),
        ["SECRECY_REFUSED"] = (
            "Văn bản có dấu chỉ mức độ mật không được nhận qua mạng này; đã trả lại.",
            "A document with a mark of secrecy is not taken over this network; returned."),
        ["RECEIPT_FOR_NOTHING"] = (
            "Biên nhận cho văn bản mà cơ quan chưa gửi tới nơi đó.", "A receipt for nothing that was sent there."),
        ["RECEIPT_FOR_OTHER_CONTENT"] = (
            "Biên nhận cho nội dung khác với nội dung đã ký.", "A receipt for another content than was signed."),
        ["RECEIPT_FOR_ERASED"] = (
            "Biên nhận cho văn bản đã hủy nội dung; không còn đối chiếu được.",
            "A receipt for a dispatch whose content was erased; it can be compared with nothing."),
        ["RECEIPT_FIELD"] = ("Biên nhận có trường không hợp lệ.", "A field of the receipt is out of bounds."),
        ["MANIFEST_FIELD"] = (
            "Thông tin văn bản trong thư có trường không hợp lệ.", "A field of the manifest is out of bounds."),
        ["FORMAT_VERSION_UNKNOWN"] = (
            "Định dạng của phiên bản mới hơn; hãy nâng cấp SecureMail.",
            "The format has a newer version: upgrade SecureMail."),
        ["FORMAT_NO_VERSION"] = ("Thông tin văn bản không ghi phiên bản.", "The format names no version."),
        ["FORMAT_DAMAGED"] = ("Thông tin văn bản không đọc được.", "The manifest or receipt cannot be read."),
        ["FORMAT_TOO_LARGE"] = ("Thông tin văn bản dài quá mức cho phép.", "The manifest or receipt is too long."),
        ["PART_DAMAGED"] = ("Một phần của thư không giải mã được.", "A part of the message cannot be decoded."),
        ["RECIPIENT_NOT_IN_DIRECTORY"] = (
            "Nơi nhận không còn trong danh bạ.", "The addressee is no longer in the directory."),
        ["CLOCK_SUSPECT"] = (
            "Đồng hồ của cổng hoặc của cơ sở dữ liệu đáng ngờ; chờ đến khi giờ đúng rồi tự tiếp tục. Hãy kiểm tra đồng bộ giờ (NTP).",
            "A clock cannot be believed; it goes on by itself once the time is right. Check the time synchronisation."),
        ["SIGNED_IN_FUTURE"] = (
            "Thời điểm ký ở tương lai so với đồng hồ của cổng; chờ đến lúc đó. Hãy kiểm tra đồng hồ hai bên.",
            "Signed in the future by our clock; it is let in when its time has come. Check both clocks."),
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
        ["dispatch.downgraded"] = "Mã hóa yếu hơn vì nơi nhận",
        ["capabilities.weakened"] = "Cơ quan bạn công bố mức mã hóa yếu hơn trước",
        ["dispatch.overdue"] = "Quá hạn biên nhận",
        ["clock.stepped"] = "Đồng hồ nhảy",
        ["clock.apart"] = "Đồng hồ của nút lệch với cơ sở dữ liệu",
        ["clock.peer"] = "Đồng hồ của cổng bạn chạy trước",
        ["clock.settled"] = "Đồng hồ tin được trở lại",
        ["message.received"] = "Nhận thư",
        ["message.judged"] = "Đã kiểm tra và ghi sổ",
        ["receipt.sent"] = "Đã gửi biên nhận",
        ["receipt.matched"] = "Khớp biên nhận",
        ["receipt.unknown"] = "Biên nhận: không rõ đã tới chưa",
        ["receipt.failed"] = "Không gửi được biên nhận",
        ["dispatch.erased"] = "Đã hủy nội dung",
        ["retention.swept"] = "Hủy dữ liệu hết hạn lưu",
        ["directory.imported"] = "Nhập danh bạ",
    };

    public static string Time(DateTimeOffset time) =>
        time.ToOffset(TimeSpan.FromHours(7)).ToString("dd/MM/yyyy HH:mm:ss", CultureInfo.InvariantCulture);

    public static string Time(DateTime utc) => Time(new DateTimeOffset(DateTime.SpecifyKind(utc, DateTimeKind.Utc)));

    public static string Time(DateTime? utc) => utc is { } time ? Time(time) : "";

    public static string Size(long octets) =>
        octets < 1024 ? $"{octets} B"
        : octets < 1024 * 1024 ? string.Create(CultureInfo.InvariantCulture, $"{octets / 1024.0:0.#} KiB")
        : string.Create(CultureInfo.InvariantCulture, $"{octets / 1048576.0:0.#} MiB");

    public static string Priority(int priority) =>
        priority switch
        {
            0 => "Thường",
            1 => "Khẩn",
            2 => "Thượng khẩn",
            3 => "Hỏa tốc",
            _ => "Hỏa tốc hẹn giờ",
        };

    public static string Reason(string code)
    {
        var (vi, en) = Words(code);
        return vi == en ? vi : $"{vi} / {en}";
    }

    private static (string Vi, string En) Words(string code) =>
        Reasons.TryGetValue(code, out var words) ? words
        : code.StartsWith("Refused 5", StringComparison.Ordinal)
            ? ($"Cổng nhận từ chối hẳn: {code}.", $"Refused for good: {code}.")
        : (code, code);

    /// <summary>A few codes, and how many more.</summary>
    public static string Codes(IReadOnlyList<string> codes) =>
        string.Join(", ", codes.Take(5)) + (codes.Count > 5 ? $" và {codes.Count - 5} nơi khác" : "");

    public static string Event(string kind) => Events.GetValueOrDefault(kind, kind);

    public static string Receipt(string? name) =>
        name switch
        {
            null => "",
            "ContentConsignment" => "Đã vào hộp thư",
            "ContentConsignmentFailure" => "Đã giữ lại để xem xét",
            "RelayRejection" => "Đã trả lại",
            _ => name,
        };

    public static Label Outgoing(string state) =>
        state switch
        {
            "accepted" => new("wait", "Đã tiếp nhận", "Accepted"),
            "awaiting-signature" => new("wait", "Chờ ký", "Awaiting signature"),
            "queued" => new("good", "Đã ký", "Signed and queued"),
            _ => new("bad", "Bị từ chối", "Refused"),
        };

    public static Label Transmission(OutgoingRecipient recipient) => Transmission(recipient.State, recipient.OverdueAt);

    public static Label Transmission(string state, DateTime? overdueAt) =>
        (state, overdueAt) switch
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

    /// <summary>What a clerk is told about an outgoing document, as RFC 3464 §2 has it: what became of it, where, why,
    /// and what happens next.</summary>
    public static (string Vi, string En) Notice(SenderNotice notice)
    {
        var (what, thing) = notice.Kind == "receipt" ? ("Biên nhận", "The receipt") : ("Văn bản", "The dispatch");
        var where = notice.Remote is null ? notice.RecipientCode : $"{notice.RecipientCode} ({notice.Remote})";
        var last = notice.Diagnostic is null ? "" : $" [{notice.Diagnostic}]";
        var (why, reason) = notice.Reason is null ? ("", "") : Words(notice.Reason);
        return notice.Action switch
        {
            "delayed" => (
                $"{what} chưa gửi được tới {where}{last}. Vẫn tiếp tục thử tới {Time(notice.RetryUntil)}; không cần gửi lại.",
                $"{thing} has not left for {where} yet; it is tried until then. Nothing needs to be done."),
            "overdue" => (
                $"{what} đã được chuyển tới {where} nhưng quá hạn mà chưa có biên nhận. Hệ thống không tự gửi lại; hãy hỏi nơi nhận.",
                $"{thing} was taken by {where}, and no receipt came in time. It is not sent again by itself: ask the addressee."
            ),
            _ when notice.MayHaveArrived => (
                $"{what} không gửi xong được tới {where}{last}: {why} Không rõ đã tới hay chưa: hãy hỏi nơi nhận trước khi gửi lại.",
                $"{thing} is given up for {where}: {reason} It may have arrived: ask the addressee before sending it again."
            ),
            _ => (
                $"{what} không gửi được tới {where}{last}: {why} Sẽ không thử nữa; hãy gửi lại khi nguyên nhân đã hết.",
                $"{thing} could not be delivered to {where}: {reason} It is not tried any more."),
        };
    }

    public static Label Verdict(string? verdict) =>
        verdict switch
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

    public static Label Place(string? place) =>
        place switch
        {
            null => new("wait", "Chờ", "Waiting"),
            "inbox" => new("good", "Hộp thư", "Inbox"),
            "quarantine" => new("bad", "Giữ lại", "Quarantine"),
            "returned" => new("bad", "Đã trả lại", "Returned"),
            "duplicate" => new("", "Trùng", "Duplicate"),
            _ => new("", "Biên nhận", "Receipt"),
        };

    public static Label Peer(string state) =>
        state == "verified" ? new("good", "Nhất quán", "Consistent") : new("wait", "Chờ bằng chứng", "Pending");

    public static string Alarm(string kind) =>
        kind switch
        {
            "fork" => "Sổ cái của cổng bạn đã bị viết lại",
            "rollback" => "Sổ cái của cổng bạn bị lùi lại",
            "bad-signature" => "Điểm kiểm tra mang chữ ký sai",
            "content-conflict" => "Trùng mã văn bản, khác nội dung",
            "clock-stepped" => "Đồng hồ nhảy",
            "clock-apart" => "Đồng hồ của nút lệch với cơ sở dữ liệu",
            "clock-peer" => "Đồng hồ của cổng bạn chạy trước",
            "capabilities-weakened" => "Cơ quan bạn công bố mức mã hóa yếu hơn trước",
            _ => kind,
        };

    /// <summary>What a person does about an alarm.</summary>
    public static string AlarmAdvice(string kind) =>
        kind switch
        {
            "fork" or "rollback" or "bad-signature" =>
                "Liên hệ cơ quan chủ quản cổng đó theo kênh khác; gửi họ kết quả lệnh \"securemail ledger seen\" để đối chiếu. Văn bản mới của cổng đó được giữ lại.",
            "content-conflict" =>
                "Bản đến trước vẫn nằm trong hộp thư; bản sau được giữ lại. Hỏi nơi gửi bản nào đúng.",
            "clock-stepped" or "clock-apart" =>
                "Kiểm tra đồng bộ giờ (NTP) của máy chạy cổng và máy chủ cơ sở dữ liệu. Việc ký chờ đến khi giờ đúng, rồi tự tiếp tục.",
            "clock-peer" =>
                "Báo cơ quan chủ quản cổng đó kiểm tra đồng bộ giờ (NTP). Văn bản họ ký chờ đến đúng giờ ghi trên chữ ký.",
            "capabilities-weakened" =>
                "Hỏi cơ quan đó theo kênh khác: có phải họ vừa thay phần mềm hoặc khóa ký không. Văn bản gửi tới đó được mã hóa theo mức họ công bố; văn bản họ ký sau này công bố mức cao hơn thì tự trở lại.",
            _ => "",
        };

    /// <summary>The findings of one judgement, as lines to read.</summary>
    public static IEnumerable<FindingLine> Findings(string json)
    {
        using var document = JsonDocument.Parse(json);
        foreach (var finding in document.RootElement.EnumerateArray().Select(e => e.Clone()))
        {
            var reason = finding.GetProperty("reason");
            yield return new(
                "Nhận định", $"{reason.GetProperty("vi").GetString()} / {reason.GetProperty("en").GetString()}");
            if (finding.TryGetProperty("signer", out var signer) && signer.ValueKind == JsonValueKind.Object)
            {
                yield return new("Người ký", signer.GetProperty("subject").GetString() ?? "");
                yield return new("Nơi cấp", signer.GetProperty("issuer").GetString() ?? "");
            }

            yield return new(
                "Thuật ngữ ETSI",
                $"{finding.GetProperty("indication").GetString()} {finding.GetProperty("subIndication").GetString()}".Trim()
            );
        }
    }
}
