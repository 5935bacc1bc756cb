using OpenTelemetry;
using OpenTelemetry.Exporter;
using OpenTelemetry.Metrics;
using OpenTelemetry.Resources;
using OpenTelemetry.Trace;
using SecureMail.Gateway;
using SecureMail.Gateway.Telemetry;
using SecureMail.Storage.Queue;

namespace SecureMail.Host;

/// <summary>Metrics and traces over OTLP, when an endpoint is configured: the gateway's own, the database driver's, the
/// runtime's and the web server's.</summary>
internal static class Telemetry
{
    public static OpenTelemetrySdk? Start(HostConfiguration configuration)
    {
        if (configuration.Otlp is not { } endpoint)
        {
            return null;
        }

        void Exporter(OtlpExporterOptions options)
        {
            options.Endpoint = endpoint;
            options.Protocol = OtlpExportProtocol.Grpc;
        }

        return OpenTelemetrySdk.Create(sdk =>
            sdk.ConfigureResource(r => r.AddService("securemail", serviceInstanceId: configuration.Gateway.Name))
                .WithMetrics(m =>
                    m.AddMeter(GatewayMeter.Name, QueueMeter.Name, "Npgsql", "System.Runtime", "Microsoft.AspNetCore.Hosting")
                        .AddOtlpExporter(Exporter))
                .WithTracing(t => t.AddSource(QueueMeter.Name, QueueMeter.Name, "Npgsql").AddOtlpExporter(Exporter)));
    }
}
