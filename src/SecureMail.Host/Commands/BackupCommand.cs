using System.CommandLine;
using Microsoft.Extensions.Logging;
using SecureMail.Backup;
using SecureMail.Gateway;
using SecureMail.Host.Settings;

namespace SecureMail.Host.Commands;

/// <summary>Takes a base backup, or keeps the journal, of a gateway that may go on working meanwhile.</summary>
internal static class BackupCommand
{
    public static Command Create()
    {
        var (config, data, json) = (CommandLine.Config(), CommandLine.Data(), CommandLine.JsonLines());
        var to = new Option<string?>("--to")
        {
            Description = "Thư mục sao lưu, trên ổ đĩa hoặc máy khác. / The backup folder, on another disk or machine.",
            HelpName = "DIR",
        };
        var certificate = new Option<string?>("--recovery-certificate")
        {
            Description =
                "Chứng thư RSA mà khóa riêng được cất ngoài hệ thống. / The RSA certificate whose private key is kept "
                + "offline.",
            HelpName = "FILE",
        };
        var follow = new Option<bool>("--follow")
        {
            Description = "Ghi nhật ký liên tục cho đến khi dừng. / Keep the journal until stopped.",
        };
        var keep = new Option<int?>("--keep")
        {
            Description = "Sau khi xong chỉ giữ N bản gần nhất. / Afterwards keep the N youngest bases only.",
            HelpName = "N",
        };
        var release = new Option<bool>("--release")
        {
            Description =
                "Thôi chờ nhật ký sao lưu: cổng làm việc mà không có sao lưu liên tục. / Wait for the journal no "
                + "longer: the gateway works without it.",
        };
        var command = new Command(
            "backup",
            """
            Sao lưu cơ sở dữ liệu và khóa của cổng, mã hóa cho khóa phục hồi; cổng vẫn chạy. / Backs up the gateway's database and keys, encrypted to a recovery key, while it runs.
            Ví dụ / example: securemail backup --to /mnt/backup --recovery-certificate recovery.pem --keep 7
                             securemail backup --to /mnt/backup --recovery-certificate recovery.pem --follow
                             securemail backup --release
            """
        )
        {
            config,
            data,
            to,
            certificate,
            follow,
            keep,
            release,
            json,
        };
        command.SetAction(
            async (parsed, cancellationToken) =>
            {
                var gateway = Configuration.Load(parsed.GetValue(config), parsed.GetValue(data)).Gateway;
                if (parsed.GetValue(keep) is < 1)
                {
                    throw new UsageException("--keep cần ít nhất 1. / --keep needs 1 at least.");
                }

                return await GatewayCommand.RunAsync<Backups>(
                    gateway,
                    logging =>
                        logging
                            .AddSimpleConsole(o => o.SingleLine = true)
                            .AddFilter(l => parsed.GetValue(follow) && l >= LogLevel.Information)
                            .Services.Configure<Microsoft.Extensions.Logging.Console.ConsoleLoggerOptions>(o =>
                                o.LogToStandardErrorThreshold = LogLevel.Trace),
                    async backups =>
                    {
                        if (parsed.GetValue(release))
                        {
                            await backups.ReleaseAsync(gateway.Backup, cancellationToken);
                            CommandLine.Say(
                                parsed.GetValue(json), "", new { Released = true },
                                "Cổng không còn chờ nhật ký sao lưu. / Commits no longer wait for the journal.");
                            return ExitCode.Done;
                        }

                        var backup = Options(gateway, parsed.GetValue(to), parsed.GetValue(certificate));
                        if (parsed.GetValue(follow))
                        {
                            await backups.FollowAsync(backup, cancellationToken);
                            return ExitCode.Done;
                        }

                        var made = await backups.TakeAsync(backup, cancellationToken);
                        var pruned = parsed.GetValue(keep) is { } n ? Backups.Prune(backup.Folder!, n) : 0;
                        CommandLine.Say(
                            parsed.GetValue(json),
                            "",
                            new
                            {
                                made.Folder,
                                made.Octets,
                                made.LedgerSize,
                                Seconds = Math.Round(made.Took.TotalSeconds, 2),
                                Pruned = pruned,
                            },
                            $"Đã sao lưu: {made.Folder} ({made.Octets:N0} octet, {made.LedgerSize} bản ghi nhật ký kiểm "
                                + $"chứng, {made.Took.TotalSeconds:F1} giây). / backed up");
                        return ExitCode.Done;
                    },
                    cancellationToken);
            });
        return command;
    }

    private static BackupOptions Options(GatewaySettings gateway, string? to, string? certificate)
    {
        var folder = to is null ? gateway.Backup.Folder : Path.GetFullPath(to);
        var recovery = certificate is null ? gateway.Backup.RecoveryCertificate : Path.GetFullPath(certificate);
        if (folder is null || recovery is null)
        {
            throw new UsageException(
                "Cần --to và --recovery-certificate, hoặc mục Backup trong cấu hình. / --to and --recovery-certificate "
                    + "are needed, or Backup in the configuration.");
        }

        return File.Exists(recovery)
            ? gateway.Backup with
            {
                Folder = folder,
                RecoveryCertificate = recovery,
            }
            : throw new FileNotFoundException(
                $"Không có chứng thư phục hồi {recovery}. / There is no recovery certificate {recovery}.");
    }
}
