using System.CommandLine;
using Microsoft.Extensions.Logging;
using SecureMail.Backup;
using SecureMail.Gateway;
using SecureMail.Gateway.Recovery;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Host.Schema;
using SecureMail.Host.Settings;
using SecureMail.Verification;

namespace SecureMail.Host.Commands;

/// <summary>Brings a gateway back from its backup; afterwards says what its peers hold that it does not have.</summary>
internal static class RestoreCommand
{
    public static Command Create()
    {
        var (config, data, json) = (CommandLine.Config(), CommandLine.Data(), CommandLine.JsonLines());
        var from = new Option<string?>("--from")
        {
            Description = "Thư mục sao lưu. / The backup folder.",
            HelpName = "DIR",
        };
        var tail = new Option<bool>("--drop-damaged-tail")
        {
            Description =
                "Khôi phục tới trước bản ghi bị hỏng của nhật ký sao lưu thay vì từ chối. / Restore up to a journal "
                + "record that is damaged instead of refusing.",
        };
        var check = new Option<bool>("--check")
        {
            Description =
                "Hỏi các cổng đối tác xem còn thiếu gì; không khôi phục. / Ask the peers what is missing; restores "
                + "nothing.",
        };
        var without = new Option<string[]>("--without-peer")
        {
            Description =
                "Cùng --check: mở cổng mà không chờ cổng đối tác này (ghi vào nhật ký kiểm chứng). / With --check: "
                + "open without this peer's answer (an entry of the ledger).",
            HelpName = "GATEWAY",
        };
        var keys = new KeySource();
        var command = new Command(
            "restore",
            """
            Khôi phục cổng từ bản sao lưu vào thư mục dữ liệu trống, bằng khóa phục hồi. / Restores the gateway from its backup into an empty data folder, with the recovery key.
            Ví dụ / example: securemail restore --from /mnt/backup --key recovery.key --cert recovery.pem --data /var/lib/securemail/data
                             securemail restore --from /mnt/backup --key "pkcs11:token=Recovery;object=recovery?module-path=/usr/lib/softhsm/libsofthsm2.so" --pin-file pin.txt
                             securemail restore --check --json
                             securemail restore --check --without-peer gw-b.example.vn
            """
        )
        {
            config,
            data,
            from,
            tail,
            check,
            without,
            json,
        };
        foreach (var option in keys.Options)
        {
            command.Options.Add(option);
        }

        command.SetAction(
            async (parsed, cancellationToken) =>
            {
                var gateway = Configuration.Load(parsed.GetValue(config), parsed.GetValue(data)).Gateway;
                if (parsed.GetValue(check))
                {
                    return await CheckAsync(
                        gateway, parsed.GetValue(without) ?? [], parsed.GetValue(json), cancellationToken);
                }

                var folder = parsed.GetValue(from)
                    ?? throw new UsageException("Cần --from THƯ-MỤC hoặc --check. / --from DIR or --check is needed.");
                if (!Directory.Exists(folder))
                {
                    throw new DirectoryNotFoundException(
                        $"Không có thư mục sao lưu {folder}. / There is no backup folder {folder}.");
                }

                using var opened = keys.OpenRecipients(parsed);
                if (opened.Recipients.Count == 0)
                {
                    throw new UsageException(
                        "Cần khóa phục hồi: --key hoặc --p12. / The recovery key is needed: --key or --p12.");
                }

                var report = await Restore.RunAsync(
                    Path.GetFullPath(folder),
                    opened.Recipients,
                    gateway.Files,
                    parsed.GetValue(tail),
                    (restored, stop) =>
                        RestoredGateway.ProveAsync(restored, HostSchema.Migrator, TimeProvider.System, stop),
                    TimeProvider.System,
                    cancellationToken);
                CommandLine.Say(
                    parsed.GetValue(json),
                    "",
                    new
                    {
                        report.Gateway,
                        report.Base,
                        report.BaseMade,
                        report.LedgerSize,
                        report.BaseEnd,
                        report.JournalEnd,
                        report.JournalOctets,
                        report.JournalFiles,
                        report.JournalGap,
                        report.TornRecords,
                        Seconds = Math.Round(report.Took.TotalSeconds, 2),
                    },
                    $"""
                    Đã khôi phục cổng {report.Gateway}: {report.LedgerSize} bản ghi nhật ký kiểm chứng, tới vị trí {report.JournalEnd}, {report.Took.TotalSeconds:F1} giây. / restored
                    Hãy chạy "securemail serve"; cổng chỉ làm việc khi các cổng đối tác xác nhận không thiếu gì ("securemail restore --check"). / Run "securemail serve": the gateway works when its peers have shown that nothing is missing.
                    """
                );
                if (report.JournalGap is { } gap)
                {
                    Console.Error.WriteLine(
                        $"Nhật ký sao lưu bị đứt ở {gap}: phần sau không khôi phục được. / The journal breaks off at "
                            + $"{gap}: what follows was not restored.");
                }

                return ExitCode.Done;
            });
        return command;
    }

    /// <summary>0: nothing is missing, or never restored · 1: a peer holds more, or another history · 2: a peer has not
    /// answered.</summary>
    private static async Task<int> CheckAsync(
        GatewaySettings gateway, string[] without, bool json, CancellationToken cancellationToken)
    {
        return await GatewayCommand.RunAsync<Restoration>(
            gateway, static _ => { }, restoration => CheckAsync(restoration, without, json, cancellationToken),
            cancellationToken);
    }

    private static async Task<int> CheckAsync(
        Restoration restoration, string[] without, bool json, CancellationToken cancellationToken)
    {
        foreach (var peer in without)
        {
            await restoration.ExcuseAsync(peer, cancellationToken);
        }

        if (await restoration.AskAsync(cancellationToken) is not { } report)
        {
            CommandLine.Say(
                json, "", new { Restored = false },
                "Cổng này chưa từng được khôi phục. / This gateway was never restored.");
            return ExitCode.Done;
        }

        CommandLine.Say(
            json,
            "",
            new
            {
                Restored = true,
                report.Proven,
                report.RestoredAt,
                report.LedgerSize,
                report.Peers,
            },
            Sentence(report));
        return report.Peers.Any(p => p.State is RestorationPeerState.Ahead or RestorationPeerState.Fork)
                ? ExitCode.Wanting
            : report.Proven
            || report.Peers.All(p => p.State is RestorationPeerState.Consistent or RestorationPeerState.Excused)
                ? ExitCode.Done
            : ExitCode.Undecided;
    }

    private static string Sentence(RestorationReport report) =>
        string.Join(
            '\n',
            report
                .Peers.Select(p =>
                    p.State switch
                    {
                        RestorationPeerState.Ahead =>
                            $"{p.Peer}: thiếu {p.Missing!.Count} bản ghi nhật ký kiểm chứng, số {p.Missing.From} đến "
                                + $"{p.Missing.To}, từ {p.Missing.Since:u}. / {p.Missing.Count} entries are missing, "
                                + $"{p.Missing.From} to {p.Missing.To}.",
                        RestorationPeerState.Fork =>
                            $"{p.Peer}: giữ một nhật ký kiểm chứng khác ở {p.HeldSize} bản ghi. / It holds another "
                                + $"history at size {p.HeldSize}.",
                        RestorationPeerState.Consistent => $"{p.Peer}: khớp. / Nothing is missing.",
                        RestorationPeerState.Excused => $"{p.Peer}: bỏ qua theo quyết định. / Excused.",
                        _ => $"{p.Peer}: chưa trả lời ({p.Problem}). / No answer yet ({p.Problem}).",
                    })
                .Prepend(
                    $"Khôi phục lúc {report.RestoredAt:u} với {report.LedgerSize} bản ghi; {(report.Proven ? "đã mở" : "chưa mở")}. / Restored with {report.LedgerSize} entries; {(report.Proven ? "open" : "closed")}."
                ));
}
