using System.CommandLine;
using SecureMail.Gateway.Keys;
using SecureMail.Host.Settings;

namespace SecureMail.Host.Commands;

/// <summary>Makes the gateway's own keys and prints the record that the directory's publisher needs of it.</summary>
internal static class InitCommand
{
    public static Command Create()
    {
        var (config, data) = (CommandLine.Config(), CommandLine.Data());
        var host = new Option<string>("--host")
        {
            Description = "Tên hoặc địa chỉ để cổng đối tác gửi tới. / Where peers reach this gateway.",
            DefaultValueFactory = _ => "127.0.0.1",
        };
        var command = new Command(
            "init",
            """
            Tạo khóa của cổng (TLS, nhật ký kiểm chứng, lưu trữ) nếu chưa có và in bản ghi cho danh bạ. / Makes the gateway's keys where missing and prints its directory record.
            Ví dụ / example: securemail init --config /etc/securemail.json --host gateway.example.vn
            """
        )
        {
            config,
            data,
            host,
        };
        command.SetAction(parsed =>
        {
            var configuration = Configuration.Load(parsed.GetValue(config), parsed.GetValue(data));
            CommandLine.WriteJson(
                GatewayIdentity.Create(
                    configuration.Gateway.Keys, configuration.Gateway.Directory.Name, parsed.GetValue(host)!,
                    configuration.Smtp.Listen?.Port ?? 25, TimeProvider.System));
            return ExitCode.Done;
        });
        return command;
    }
}
