using System.CommandLine;
using Microsoft.Extensions.Logging;
using SecureMail.Gateway;

namespace SecureMail.Host.Commands;

/// <summary>A command that works on a gateway's own database and keys, whether the gateway runs or not.</summary>
internal static class GatewayCommand
{
    /// <summary>Makes the command with <c>--config</c> and <c>--data</c>, and opens the node for its action.</summary>
    public static Command Create(
        string name, string description, IEnumerable<Symbol> symbols,
        Func<GatewayNode, ParseResult, CancellationToken, Task<int>> action)
    {
        var (config, data) = (CommandLine.Config(), CommandLine.Data());
        var command = new Command(name, description) { config, data };
        foreach (var symbol in symbols)
        {
            if (symbol is Option option)
            {
                command.Options.Add(option);
            }
            else
            {
                command.Arguments.Add((Argument)symbol);
            }
        }

        command.SetAction(
            async (parsed, cancellationToken) =>
            {
                var configuration = Configuration.Load(parsed.GetValue(config), parsed.GetValue(data));
                using var loggers = LoggerFactory.Create(_ => { });
                await using var node = await GatewayNode.OpenAsync(
                    configuration.Gateway, TimeProvider.System, loggers, cancellationToken);
                return await action(node, parsed, cancellationToken);
            });
        return command;
    }
}
