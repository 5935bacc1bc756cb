using System.Diagnostics.Metrics;

namespace SecureMail.Gateway.Telemetry;

/// <summary>What the gateway counts and traces. Names and codes only; never an address, a subject or an agency's
/// content.</summary>
public static class GatewayMeter
{
    public const string Name = "SecureMail.Gateway";

    private static readonly Meter Meter = new(Name);
    private static readonly Counter<long> Judged = Meter.CreateCounter<long>(
        "securemail.messages.judged", description: "Messages judged, by verdict and place.");

    internal static void MessageValidated(string verdict, string place) =>
        Judged.Add(
            1, new KeyValuePair<string, object?>("verdict", verdict),
            new KeyValuePair<string, object?>("place", place));
}
