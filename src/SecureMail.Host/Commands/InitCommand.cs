using System.CommandLine;
using SecureMail.Gateway.Keys;
using SecureMail.Host.Settings;
using SecureMail.Host.Words;

namespace SecureMail.Host.Commands;

/// <summary>Makes the gateway's own keys and prints the record that the directory's publisher needs of it.</summary>
internal static class InitCommand
{
    public static Command Create()
    {
        var (config, data) = (CommandLine.Config(), CommandLine.Data());
        var host = new Option<string>("--host")
        {
            Description = Phrase.Of("init.host"),
            DefaultValueFactory = _ => "127.0.0.1",
        };
        var command = new Command(
            "init",
            Phrase.Help("init.help", "securemail init --config /etc/securemail.json --host gateway.example.vn"))
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
