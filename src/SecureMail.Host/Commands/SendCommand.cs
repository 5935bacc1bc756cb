using System.CommandLine;
using System.Globalization;
using SecureMail.Exchange;
using SecureMail.Gateway;
using SecureMail.Gateway.Outbound;

namespace SecureMail.Host.Commands;

/// <summary>Gives documents to the gateway for agencies; when it answers, the dispatch is durable and the gateway does
/// the rest.</summary>
internal static class SendCommand
{
    private static readonly Dictionary<string, string> MediaTypes = new(StringComparer.OrdinalIgnoreCase)
    {
        [".pdf"] = "application/pdf",
        [".docx"] = "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        [".xlsx"] = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        [".pptx"] = "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        [".doc"] = "application/msword",
        [".xls"] = "application/vnd.ms-excel",
        [".odt"] = "application/vnd.oasis.opendocument.text",
        [".txt"] = "text/plain",
        [".xml"] = "application/xml",
        [".zip"] = "application/zip",
        [".png"] = "image/png",
        [".jpg"] = "image/jpeg",
    };

    public static Command Create()
    {
        var from = new Option<string>("--from")
        {
            Description = "Mã cơ quan gửi. / The sending agency's code.",
            Required = true,
        };
        var to = new Option<string[]>("--to")
        {
            Description = "Mã cơ quan nhận; có thể lặp lại. / A recipient's code; may be repeated.",
            Required = true,
        };
        var subject = new Option<string>("--subject") { Description = "Trích yếu. / The abstract.", Required = true };
        var number = new Option<string?>("--number")
        {
            Description = "Số và ký hiệu đã có, ví dụ 36-HD/VPTW. / The number and notation on the document.",
        };
        var notation = new Option<string?>("--notation")
        {
            Description = "Ký hiệu để lấy số tiếp theo, ví dụ CV/TU. / The notation to draw the next number under.",
        };
        var type = new Option<string?>("--type") { Description = "Loại văn bản. / The type's name." };
        var date = new Option<string?>("--date")
        {
            Description = "Ngày ban hành, dạng 2026-11-21. / The date of issue.",
        };
        var signer = new Option<string?>("--signer")
        {
            Description = "Người ký: \"Họ tên; Chức vụ\". / The signatory: \"Name; Position\".",
        };
        var priority = new Option<int>("--priority") { Description = "Mức độ khẩn 0-4. / Urgency 0-4." };
        var secrecy = new Option<string?>("--secrecy")
        {
            Description = "Độ mật; mặc định bị từ chối. / The mark of secrecy; refused by default.",
        };
        var id = new Option<Guid?>("--id")
        {
            Description =
                "Mã văn bản (UUIDv7) tự chọn: gửi lại với cùng mã thì chỉ được tiếp nhận một lần. / An id of your own "
                + "choice: the same id is accepted once.",
        };
        var json = CommandLine.JsonLines();
        var files = new Argument<FileInfo[]>("FILE")
        {
            Description = "Tệp văn bản. / Documents.",
            Arity = ArgumentArity.OneOrMore,
        };
        return GatewayCommand.Create<OutboundFlow>(
            "send",
            """
            Gửi văn bản tới các cơ quan qua cổng. / Sends documents to agencies through the gateway.
            Ví dụ / example: securemail send --from H90.SL.001 --to H90.SL.101 --to H90.SL.102 --notation CV/TU --subject "V/v triệu tập họp" congvan.pdf
            """,
            [from, to, subject, number, notation, type, date, signer, priority, secrecy, id, json, files],
            async (outbound, parsed, cancellationToken) =>
            {
                var documents = parsed.GetValue(files)!;
                if (documents.FirstOrDefault(f => !f.Exists) is { } missing)
                {
                    throw new FileNotFoundException($"Không có tệp {missing.Name}. / There is no file {missing.Name}.");
                }

                if (
                    parsed.GetValue(date) is { } text
                    && !DateOnly.TryParseExact(
                        text, "yyyy-MM-dd", CultureInfo.InvariantCulture, DateTimeStyles.None, out _))
                {
                    throw new UsageException("--date cần dạng 2026-11-21. / --date takes the form 2026-11-21.");
                }

                var answer = await outbound.SubmitAsync(
                    new Submission
                    {
                        DispatchId = parsed.GetValue(id),
                        Sender = parsed.GetValue(from)!,
                        Recipients = parsed.GetValue(to)!,
                        Number = parsed.GetValue(number),
                        Notation = parsed.GetValue(notation),
                        Fields = new DispatchFields
                        {
                            Number = "",
                            Subject = parsed.GetValue(subject)!,
                            TypeName = parsed.GetValue(type),
                            IssuedDate = parsed.GetValue(date) is { } d
                                ? DateOnly.ParseExact(d, "yyyy-MM-dd", CultureInfo.InvariantCulture)
                                : null,
                            SignerInfo = SignatoryOf(parsed.GetValue(signer)),
                            Priority = parsed.GetValue(priority),
                            Secrecy = parsed.GetValue(secrecy),
                        },
                        Documents =
                        [
                            .. documents.Select(f => new SubmittedDocument(
                                f.Name, MediaTypes.GetValueOrDefault(f.Extension, "application/octet-stream"),
                                f.OpenRead)),
                        ],
                    },
                    cancellationToken);
                if (parsed.GetValue(json))
                {
                    CommandLine.WriteJson(answer);
                }
                else
                {
                    Console.Out.WriteLine($"Đã tiếp nhận {answer.Number}, mã {answer.DispatchId}. / Accepted.");
                    foreach (var recipient in answer.Recipients)
                    {
                        Console.Out.WriteLine(
                            recipient.Refusal is { } refusal
                                ? $"  ✗ {recipient.Code} {recipient.Name}: {refusal.Vi} / {refusal.En}"
                                : $"  ✓ {recipient.Code} {recipient.Name}");
                    }
                }

                return answer.Recipients.Any(r => r.Refusal is not null) ? ExitCode.Wanting : ExitCode.Done;
            });
    }

    private static Signatory? SignatoryOf(string? text)
    {
        if (text is null)
        {
            return null;
        }

        var parts = text.Split(';', 2, StringSplitOptions.TrimEntries);
        return parts is [{ Length: > 0 } name, { Length: > 0 } position]
            ? new Signatory(position, name)
            : throw new UsageException("--signer cần dạng \"Họ tên; Chức vụ\". / --signer takes \"Name; Position\".");
    }
}
