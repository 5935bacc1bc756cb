using System.CommandLine;
using SecureMail.Host.Schema;
using SecureMail.Host.Settings;
using SecureMail.Host.Words;
using SecureMail.Storage;

namespace SecureMail.Host.Commands;

/// <summary>Brings the database to this build's schema, as its owner.</summary>
internal static class MigrateCommand
{
    public static Command Create()
    {
        var (config, data) = (CommandLine.Config(), CommandLine.Data());
        var command = new Command(
            "migrate",
            Phrase.Help("migrate.help", "securemail migrate --config /etc/securemail.json"))
        {
            config,
            data,
        };
        command.SetAction(
            async (parsed, cancellationToken) =>
            {
                var applied = await GatewayDatabase.MigrateAsync(
                    Configuration.Load(parsed.GetValue(config), parsed.GetValue(data)).Gateway.Database,
                    HostSchema.Migrator, cancellationToken);
                Console.Out.WriteLine(
                    applied.Count == 0 ? Phrase.Of("migrate.current") : string.Join('\n', applied));
                return ExitCode.Done;
            });
        return command;
    }
}
