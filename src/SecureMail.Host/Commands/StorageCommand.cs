using System.CommandLine;
using SecureMail.Storage;

namespace SecureMail.Host.Commands;

/// <summary>The keys under which everything that is stored lies.</summary>
internal static class StorageCommand
{
    public static Command Create()
    {
        var command = new Command("storage", "Khóa lưu trữ. / The storage keys.");
        var resume = new Option<bool>("--resume")
        {
            Description = "Không tạo khóa mới, chỉ làm nốt. / Make no new key, only go on.",
        };
        var json = CommandLine.JsonLines();
        command.Subcommands.Add(
            GatewayCommand.Create<StorageKeyRotation>(
                "rotate",
                """
                Tạo khóa lưu trữ mới và bọc lại khóa của mọi khối dữ liệu. / Makes a new storage key and wraps every blob's key under it.
                Chép thư mục khóa sang mọi nút trước khi chạy lại nút; tệp khóa cũ chỉ được hủy khi mọi nút đã chạy lại và không còn cần bản sao lưu cũ.
                Ví dụ / example: securemail storage rotate
                """,
                [resume, json],
                async (rotation, parsed, cancellationToken) =>
                {
                    var answer = await rotation.RotateAsync(!parsed.GetValue(resume), cancellationToken);
                    CommandLine.Say(
                        parsed.GetValue(json),
                        "",
                        answer,
                        $"Khóa {answer.Key}: {answer.Rewrapped} khối được bọc lại. Khóa không còn dùng: {string.Join(", ", answer.Unused.DefaultIfEmpty("-"))}. / {answer.Rewrapped} rewrapped; unused keys are listed."
                    );
                    return ExitCode.Done;
                }));
        return command;
    }
}
