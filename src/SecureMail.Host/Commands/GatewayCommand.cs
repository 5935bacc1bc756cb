using System.CommandLine;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using SecureMail.Gateway;
using SecureMail.Host.Schema;
using SecureMail.Host.Settings;
using SecureMail.Storage;

namespace SecureMail.Host.Commands;

/// <summary>A command that works on a gateway's own database and keys, whether the gateway runs or not.</summary>
internal static class GatewayCommand
{
    /// <summary>Makes the command with <c>--config</c> and <c>--data</c>; its action gets the service that it asks
    /// for.</summary>
    public static Command Create<T>(
        string name, string description, IEnumerable<Symbol> symbols,
        Func<T, ParseResult, CancellationToken, Task<int>> action)
        where T : notnull =>
        Create(name, description, symbols, (services, parsed, cancellationToken) =>
            action(services.GetRequiredService<T>(), parsed, cancellationToken));

    /// <inheritdoc cref="Create{T}"/>
    public static Command Create<T1, T2>(
        string name, string description, IEnumerable<Symbol> symbols,
        Func<T1, T2, ParseResult, CancellationToken, Task<int>> action)
        where T1 : notnull
        where T2 : notnull =>
        Create(name, description, symbols, (services, parsed, cancellationToken) =>
            action(services.GetRequiredService<T1>(), services.GetRequiredService<T2>(), parsed, cancellationToken));

    /// <inheritdoc cref="Create{T}"/>
    public static Command Create<T1, T2, T3>(
        string name, string description, IEnumerable<Symbol> symbols,
        Func<T1, T2, T3, ParseResult, CancellationToken, Task<int>> action)
        where T1 : notnull
        where T2 : notnull
        where T3 : notnull =>
        Create(name, description, symbols, (services, parsed, cancellationToken) =>
            action(
                services.GetRequiredService<T1>(), services.GetRequiredService<T2>(),
                services.GetRequiredService<T3>(), parsed, cancellationToken));

    /// <inheritdoc cref="Create{T}"/>
    public static Command Create<T1, T2, T3, T4>(
        string name, string description, IEnumerable<Symbol> symbols,
        Func<T1, T2, T3, T4, ParseResult, CancellationToken, Task<int>> action)
        where T1 : notnull
        where T2 : notnull
        where T3 : notnull
        where T4 : notnull =>
        Create(name, description, symbols, (services, parsed, cancellationToken) =>
            action(
                services.GetRequiredService<T1>(), services.GetRequiredService<T2>(),
                services.GetRequiredService<T3>(), services.GetRequiredService<T4>(), parsed, cancellationToken));

    /// <summary>Opens the database, runs the action on one service of the gateway, and closes everything.</summary>
    public static async Task<int> RunAsync<T>(
        GatewaySettings settings, Action<ILoggingBuilder> logging, Func<T, Task<int>> action,
        CancellationToken cancellationToken)
        where T : notnull
    {
        await using var database = await GatewayDatabase.OpenAsync(
            settings.Database, HostSchema.Migrator, cancellationToken);
        await using var services = new ServiceCollection()
            .AddLogging(logging)
            .AddGateway(settings, database)
            .BuildServiceProvider();
        return await action(services.GetRequiredService<T>());
    }

    /// <inheritdoc cref="RunAsync{T}"/>
    public static Task<int> RunAsync<T1, T2>(
        GatewaySettings settings, Func<T1, T2, Task<int>> action, CancellationToken cancellationToken)
        where T1 : notnull
        where T2 : notnull =>
        RunAsync<IServiceProvider>(
            settings, static _ => { },
            services => action(services.GetRequiredService<T1>(), services.GetRequiredService<T2>()),
            cancellationToken);

    /// <summary>Does the same, and opens nothing; its action gets the settings.</summary>
    public static Command CreateUnopened(
        string name, string description, IEnumerable<Symbol> symbols,
        Func<GatewaySettings, ParseResult, CancellationToken, Task<int>> action)
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
            (parsed, cancellationToken) =>
                action(
                    Configuration.Load(parsed.GetValue(config), parsed.GetValue(data)).Gateway, parsed,
                    cancellationToken));
        return command;
    }

    private static Command Create(
        string name, string description, IEnumerable<Symbol> symbols,
        Func<IServiceProvider, ParseResult, CancellationToken, Task<int>> action) =>
        CreateUnopened(name, description, symbols, (settings, parsed, cancellationToken) =>
            RunAsync<IServiceProvider>(
                settings, static _ => { }, services => action(services, parsed, cancellationToken),
                cancellationToken));
}
