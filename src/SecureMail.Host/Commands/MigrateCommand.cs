using System.CommandLine;
using SecureMail.Host.Schema;
using SecureMail.Host.Settings;
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
            """
            Cập nhật lược đồ cơ sở dữ liệu (dùng Database:OwnerConnection). / Brings the database to this version's schema.
            Ví dụ / example: securemail migrate --config /etc/securemail.json
            """
        )
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
                    applied.Count == 0 ? "Lược đồ đã mới nhất. / The schema is current." : string.Join('\n', applied));
                return ExitCode.Done;
            });
        return command;
    }
}
