using System.CommandLine;
using System.Net;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using SecureMail.Gateway;
using SecureMail.Web;

namespace SecureMail.Host.Commands;

/// <summary>Runs the gateway and its console in one process until it is told to stop.</summary>
internal static class ServeCommand
{
    public static Command Create()
    {
        var (config, data) = (CommandLine.Config(), CommandLine.Data());
        var http = new Option<string?>("--http")
        {
            Description = "Địa chỉ loopback của trang quản trị, ví dụ 127.0.0.1:8080. / Where the console listens.",
        };
        var smtp = new Option<string?>("--smtp")
        {
            Description = "Địa chỉ nhận thư từ các cổng khác, ví dụ 0.0.0.0:2525. / Where mail is taken.",
        };
        var command = new Command(
            "serve",
            """
            Chạy cổng và trang quản trị. / Runs the gateway and its console.
            Ví dụ / example: securemail serve --config /etc/securemail.json --http 127.0.0.1:8080 --smtp 0.0.0.0:2525
            """
        )
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
        await using var app = ConsoleApp.Create(
            configuration.Http ?? new IPEndPoint(IPAddress.Loopback, 8080),
            logging =>
                logging
                    .ClearProviders()
                    .AddSimpleConsole(o =>
                    {
                        o.SingleLine = true;
                        o.TimestampFormat = "yyyy-MM-ddTHH:mm:ssZ ";
                        o.UseUtcTimestamp = true;
                    })
                    .AddFilter("Microsoft", LogLevel.Warning)
                    .AddFilter("Quartz", LogLevel.Warning)
                    .AddFilter("Npgsql", LogLevel.Warning));
        var loggers = app.Services.GetRequiredService<ILoggerFactory>();
        using var telemetry = Telemetry.Start(configuration);
        await using var node = await GatewayNode.OpenAsync(configuration.Gateway, TimeProvider.System, loggers, stop);
        ConsoleApp.Map(app, node);

        // The gateway's own loop decides when the process ends; the console goes with it.
        using var ending = CancellationTokenSource.CreateLinkedTokenSource(stop, app.Lifetime.ApplicationStopping);
        await app.StartAsync(ending.Token);
        HostLog.Serving(loggers.CreateLogger("SecureMail"), configuration.Gateway.Name, string.Join(", ", app.Urls));
        await node.RunAsync(ending.Token);
        await app.StopAsync(CancellationToken.None);
        return ExitCode.Done;
    }
}
