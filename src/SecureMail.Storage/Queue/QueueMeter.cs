using System.Diagnostics;
using System.Diagnostics.Metrics;

namespace SecureMail.Storage.Queue;

/// <summary>What the work queue counts and traces: kinds, outcomes and durations; never what the work is
/// about.</summary>
public static class QueueMeter
{
    /// <summary>The name of the meter and of the activity source.</summary>
    public const string Name = "SecureMail.Storage.Queue";

    private static readonly Meter Meter = new(Name);
    private static readonly Histogram<double> Work = Meter.CreateHistogram<double>(
        "securemail.work.duration", "s", "Time that one piece of work took, by kind and outcome.");

    internal static ActivitySource Activities { get; } = new(Name);

    internal static void WorkDone(string kind, string outcome, TimeSpan took) =>
        Work.Record(
            took.TotalSeconds, new KeyValuePair<string, object?>("kind", kind),
            new KeyValuePair<string, object?>("outcome", outcome));
}
