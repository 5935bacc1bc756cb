using System.CommandLine;
using SecureMail.Gateway.Retention;

namespace SecureMail.Host.Commands;

/// <summary>Destroys the content of one dispatch by order: an act that cannot be taken back, so it asks for the reason
/// and for <c>--yes</c>.</summary>
internal static class EraseCommand
{
    public static Command Create()
    {
        var outgoing = new Option<Guid?>("--dispatch") { Description = "Mã văn bản đi. / A dispatch that was sent." };
        var incoming = new Option<Guid?>("--incoming") { Description = "Mã thư đến. / A message that came in." };
        var reason = new Option<string>("--reason")
        {
            Description = "Lý do, được lưu lại; không nhắc lại nội dung. / The reason, kept for the record.",
            Required = true,
        };
        var yes = new Option<bool>("--yes")
        {
            Description = "Xác nhận: không thể lấy lại. / Confirms: it cannot be taken back.",
        };
        var json = CommandLine.JsonLines();
        return GatewayCommand.Create<Erasure>(
            "erase",
            """
            Hủy nội dung một văn bản: khóa và dữ liệu đã mã hóa; sổ đăng ký và nhật ký kiểm chứng vẫn ghi nhận việc đã diễn ra. / Destroys the content of one dispatch.
            Ví dụ / example: securemail erase --dispatch 0192f0c3-… --reason "Thu hồi theo Công văn 12-CV/VPTU" --yes
            """,
            [outgoing, incoming, reason, yes, json],
            async (erasure, parsed, cancellationToken) =>
            {
                var (sent, came) = (parsed.GetValue(outgoing), parsed.GetValue(incoming));
                if (sent is null == came is null)
                {
                    throw new UsageException(
                        "Cần đúng một trong --dispatch và --incoming. / Exactly one of --dispatch and --incoming is "
                            + "needed.");
                }

                if (!parsed.GetValue(yes))
                {
                    throw new UsageException(
                        "Nội dung bị hủy không lấy lại được; thêm --yes để xác nhận. / What is erased does not come "
                            + "back: add --yes to confirm.");
                }

                var answer = sent is { } dispatch
                    ? await erasure.EraseOutgoingAsync(
                        dispatch, parsed.GetValue(reason)!, Environment.UserName, cancellationToken)
                    : await erasure.EraseIncomingAsync(
                        came!.Value, parsed.GetValue(reason)!, Environment.UserName, cancellationToken);
                CommandLine.Say(
                    parsed.GetValue(json),
                    "",
                    answer,
                    answer.Shared == 0
                        ? $"Đã hủy {answer.Blobs} khối nội dung. / {answer.Blobs} blobs erased."
                        : $"Đã hủy {answer.Blobs} khối nội dung; thư gốc còn dùng chung với cơ quan khác nên giữ tới "
                            + $"khi cơ quan đó hủy. / {answer.Blobs} blobs erased; the mail as it came is another "
                            + $"agency's, too, and goes with the last.");
                return ExitCode.Done;
            });
    }
}
