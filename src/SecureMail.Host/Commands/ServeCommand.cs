using System.CommandLine;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using SecureMail.Gateway;
using SecureMail.Gateway.Outbound;
using SecureMail.Gateway.Policy;
using SecureMail.Host.Background;
using SecureMail.Host.Errors;
using SecureMail.Host.Schema;
using SecureMail.Host.Services;
using SecureMail.Host.Settings;
using SecureMail.Host.Words;
using SecureMail.Storage;
using SecureMail.Web;
using SecureMail.Web.Api;

namespace SecureMail.Host.Commands;

/// <summary>Runs the gateway and its console in one process until it is told to stop.</summary>
internal static class ServeCommand
{
    public static Command Create()
    {
        var (config, data) = (CommandLine.Config(), CommandLine.Data());
        var http = new Option<string?>("--http")
        {
            Description = Phrase.Of("serve.http"),
        };
        var smtp = new Option<string?>("--smtp")
        {
            Description = Phrase.Of("serve.smtp"),
        };
        var command = new Command(
            "serve",
            Phrase.Help(
                "serve.help",
                "securemail serve --config /etc/securemail.json --http 127.0.0.1:8080 --smtp 0.0.0.0:2525"))
        {
            config,
            data,
            http,
            smtp,
        };
        command.SetAction(
            (parsed, cancellationToken) =>
                RunAsync(
                    Configuration.Load(
                        parsed.GetValue(config), parsed.GetValue(data), parsed.GetValue(http), parsed.GetValue(smtp)),
                    cancellationToken));
        return command;
    }

    private static async Task<int> RunAsync(HostConfiguration configuration, CancellationToken stop)
    {
        FileCreation.OwnerOnly();
        await using var database = await GatewayDatabase.OpenAsync(
            configuration.Gateway.Database, HostSchema.Migrator, stop);
        var builder = WebApplication.CreateSlimBuilder();
        builder
            .Logging.ClearProviders()
            .AddSimpleConsole(o =>
            {
                o.SingleLine = true;
                o.TimestampFormat = "yyyy-MM-ddTHH:mm:ssZ ";
                o.UseUtcTimestamp = true;
            })
            .AddFilter("Microsoft", LogLevel.Warning)
            .AddFilter("Hangfire", LogLevel.Warning)
            .AddFilter("Npgsql", LogLevel.Warning);
        var data = configuration.Gateway.Database.DataFolder;
        builder.AddConsole(configuration.Process.Http);
        builder.WebHost.ConfigureKestrel(kestrel => LocalSocket.Listen(kestrel, data));
        builder.Services.AddGateway(configuration.Gateway, database).AddGatewayHost(configuration.Smtp);
        builder.Services.AddTelemetry(configuration);
        await using var app = builder.Build();
        JobStore.LogTo(app.Services.GetRequiredService<ILoggerFactory>());
        app.UseLocalSocket();
        app.UseProblemResponses();
        app.MapConsole(app.Services.GetRequiredService<GatewayStatus>().AskAsync);
        var (outbound, person) =
            (app.Services.GetRequiredService<OutboundFlow>(), app.Services.GetRequiredService<OperatorAccount>());
        app.MapDispatches(
            async (submission, cancellationToken) =>
                await outbound.SubmitAsync(
                    submission with { By = await person.AuthorityAsync(cancellationToken) }, cancellationToken),
            app.Services.GetRequiredService<DeliveryOptions>().LargestMessage);
        var logger = app.Services.GetRequiredService<ILoggerFactory>().CreateLogger("SecureMail");
        StartupReport.Log(logger, configuration);
        await app.StartAsync(stop);
        await LocalSocket.ShareAsync(data, stop);
        HostLog.Serving(logger, configuration.Gateway.Directory.Name, string.Join(", ", app.Urls));
        await app.WaitForShutdownAsync(stop);
        // A service that failed has stopped the host; its exception is the command's.
        foreach (var service in app.Services.GetServices<IHostedService>().OfType<BackgroundService>())
        {
            if (service.ExecuteTask is { IsFaulted: true } failed)
            {
                await failed;
            }
        }

        return ExitCode.Done;
    }
}
