using System.CommandLine;
using SecureMail.Host.Settings;
using SecureMail.Host.Words;

namespace SecureMail.Host.Commands;

/// <summary>Prints every name of the configuration, which is docs/configuration.md.</summary>
internal static class ConfigurationCommand
{
    public static Command Create()
    {
        var command = new Command(
            "configuration",
            Phrase.Help("configuration.help", "securemail configuration > configuration.md"));
        command.SetAction(_ =>
        {
            Console.Out.Write(ConfigurationReference.Markdown());
            return ExitCode.Done;
        });
        return command;
    }
}
