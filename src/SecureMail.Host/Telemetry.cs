using Microsoft.Extensions.DependencyInjection;
using OpenTelemetry;
using OpenTelemetry.Exporter;
using OpenTelemetry.Metrics;
using OpenTelemetry.Resources;
using OpenTelemetry.Trace;
using SecureMail.Gateway.Telemetry;
using SecureMail.Host.Settings;
using SecureMail.Storage.Queue;

namespace SecureMail.Host;

/// <summary>Metrics and traces over OTLP, when an endpoint is configured: the gateway's own, the database driver's, the
/// runtime's and the web server's.</summary>
internal static class Telemetry
{
    public static void AddTelemetry(this IServiceCollection services, HostConfiguration configuration)
    {
        if (configuration.Process.Otlp is not { } endpoint)
        {
            return;
        }

        void Exporter(OtlpExporterOptions options)
        {
            options.Endpoint = endpoint;
            options.Protocol = OtlpExportProtocol.Grpc;
        }

        services
            .AddOpenTelemetry()
            .ConfigureResource(r => r.AddService("securemail", serviceInstanceId: configuration.Gateway.Directory.Name))
            .WithMetrics(m =>
                m.AddMeter(
                        GatewayMeter.Name,
                        QueueMeter.Name,
                        "Npgsql",
                        "System.Runtime",
                        "Microsoft.AspNetCore.Hosting")
                    .AddOtlpExporter(Exporter))
            .WithTracing(t => t.AddSource(QueueMeter.Name, "Npgsql").AddOtlpExporter(Exporter));
    }
}
