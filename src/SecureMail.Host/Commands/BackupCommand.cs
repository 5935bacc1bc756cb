using System.CommandLine;
using Microsoft.Extensions.Logging;
using SecureMail.Backup;
using SecureMail.Gateway;
using SecureMail.Gateway.Jobs;
using SecureMail.Gateway.Policy;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Host.Settings;
using SecureMail.Host.Words;

namespace SecureMail.Host.Commands;

/// <summary>Takes a base backup, or keeps the journal, of a gateway that may go on working meanwhile.</summary>
internal static class BackupCommand
{
    public static Command Create()
    {
        var (config, data, json) = (CommandLine.Config(), CommandLine.Data(), CommandLine.JsonLines());
        var to = new Option<string?>("--to")
        {
            Description = Phrase.Of("backup.to"),
            HelpName = "DIR",
        };
        var certificate = new Option<string?>("--recovery-certificate")
        {
            Description = Phrase.Of("backup.recovery-certificate"),
            HelpName = "FILE",
        };
        var follow = new Option<bool>("--follow")
        {
            Description = Phrase.Of("backup.follow"),
        };
        var keep = new Option<int?>("--keep")
        {
            Description = Phrase.Of("backup.keep"),
            HelpName = "N",
        };
        var release = new Option<bool>("--release")
        {
            Description = Phrase.Of("backup.release"),
        };
        var background = JobsCommand.Background();
        var command = new Command(
            "backup",
            Phrase.Help(
                "backup.help",
                "securemail backup --to /mnt/backup --recovery-certificate recovery.pem --keep 7",
                "securemail backup --to /mnt/backup --recovery-certificate recovery.pem --follow",
                "securemail backup --background",
                "securemail backup --release"))
        {
            config,
            data,
            to,
            certificate,
            follow,
            keep,
            release,
            background,
            json,
        };
        command.SetAction(
            async (parsed, cancellationToken) =>
            {
                var gateway = Configuration.Load(parsed.GetValue(config), parsed.GetValue(data)).Gateway;
                if (parsed.GetValue(keep) is < 1)
                {
                    throw new UsageException(Phrase.Of("backup.keep-one"));
                }

                if (parsed.GetValue(background))
                {
                    // The gateway that serves takes the base, by its own configuration.
                    if (parsed.GetValue(follow) || parsed.GetValue(release) || parsed.GetValue(to) is not null
                        || parsed.GetValue(certificate) is not null || parsed.GetValue(keep) is not null)
                    {
                        throw new UsageException(Phrase.Of("jobs.background-alone"));
                    }

                    Options(gateway, to: null, certificate: null);
                    return await GatewayCommand.RunAsync<JobRegister, OperatorAccount>(
                        gateway,
                        async (jobs, person) =>
                            JobsCommand.Requested(
                                await jobs.RequestAsync(
                                    JobKind.BaseBackup, await person.AuthorityAsync(cancellationToken),
                                    cancellationToken),
                                parsed.GetValue(json)),
                        cancellationToken);
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
                                Phrase.Of("backup.released"));
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
                            Phrase.Of(
                                "backup.taken", made.Folder, made.Octets, made.LedgerSize, made.Took.TotalSeconds));
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
            throw new UsageException(Phrase.Of("backup.where"));
        }

        return File.Exists(recovery)
            ? gateway.Backup with
            {
                Folder = folder,
                RecoveryCertificate = recovery,
            }
            : throw new FileNotFoundException(Phrase.Of("backup.no-certificate", recovery));
    }
}
