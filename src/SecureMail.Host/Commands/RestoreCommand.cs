using System.CommandLine;
using Microsoft.Extensions.Logging;
using SecureMail.Backup;
using SecureMail.Gateway;
using SecureMail.Gateway.Policy;
using SecureMail.Gateway.Recovery;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Host.Schema;
using SecureMail.Host.Settings;
using SecureMail.Host.Words;
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
            Description = Phrase.Of("restore.from"),
            HelpName = "DIR",
        };
        var tail = new Option<bool>("--drop-damaged-tail")
        {
            Description = Phrase.Of("restore.drop-damaged-tail"),
        };
        var check = new Option<bool>("--check")
        {
            Description = Phrase.Of("restore.check"),
        };
        var without = new Option<string[]>("--without-peer")
        {
            Description = Phrase.Of("restore.without-peer"),
            HelpName = "GATEWAY",
        };
        var keys = new KeySource();
        var command = new Command(
            "restore",
            Phrase.Help(
                "restore.help",
                "securemail restore --from /mnt/backup --key recovery.key --cert recovery.pem --data /var/lib/securemail/data",
                "securemail restore --from /mnt/backup --key \"pkcs11:token=Recovery;object=recovery?module-path=/usr/lib/softhsm/libsofthsm2.so\" --pin-file pin.txt",
                "securemail restore --check --json",
                "securemail restore --check --without-peer gw-b.example.vn"))
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
                    ?? throw new UsageException(Phrase.Of("restore.from-or-check"));
                if (!Directory.Exists(folder))
                {
                    throw new DirectoryNotFoundException(Phrase.Of("restore.no-folder", folder));
                }

                using var opened = keys.OpenRecipients(parsed);
                if (opened.Recipients.Count == 0)
                {
                    throw new UsageException(Phrase.Of("restore.key-needed"));
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
                    {Phrase.Of(
                        "restore.done", report.Gateway, report.LedgerSize, report.JournalEnd,
                        report.Took.TotalSeconds)}
                    {Phrase.Of("restore.next")}
                    """);
                if (report.JournalGap is { } gap)
                {
                    Console.Error.WriteLine(Phrase.Of("restore.gap", gap));
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
        return await GatewayCommand.RunAsync<Restoration, OperatorAccount>(
            gateway, (restoration, person) => CheckAsync(restoration, person, without, json, cancellationToken),
            cancellationToken);
    }

    private static async Task<int> CheckAsync(
        Restoration restoration, OperatorAccount person, string[] without, bool json,
        CancellationToken cancellationToken)
    {
        foreach (var peer in without)
        {
            await restoration.ExcuseAsync(
                peer, await person.AuthorityAsync(cancellationToken), cancellationToken);
        }

        if (await restoration.AskAsync(cancellationToken) is not { } report)
        {
            CommandLine.Say(
                json, "", new { Restored = false },
                Phrase.Of("restore.never"));
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
                            Phrase.Of(
                                "restore.peer-ahead",
                                p.Peer,
                                p.Missing!.Count,
                                p.Missing.From,
                                p.Missing.To,
                                p.Missing.Since),
                        RestorationPeerState.Fork =>
                            Phrase.Of("restore.peer-fork", p.Peer, p.HeldSize),
                        RestorationPeerState.Consistent => Phrase.Of("restore.peer-consistent", p.Peer),
                        RestorationPeerState.Excused => Phrase.Of("restore.peer-excused", p.Peer),
                        _ => Phrase.Of("restore.peer-silent", p.Peer, p.Problem),
                    })
                .Prepend(
                    Phrase.Of(
                        "restore.summary", report.RestoredAt, report.LedgerSize,
                        report.Proven ? Phrase.Of("restore.open") : Phrase.Of("restore.closed"))));
}
