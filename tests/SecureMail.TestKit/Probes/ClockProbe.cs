namespace SecureMail.TestKit.Probes;

/// <summary>What the nodes noted of clocks.</summary>
internal sealed class ClockProbe(ProbeDatabase database)
{
    /// <summary>How often the database's clock was seen to step.</summary>
    public Task<long> StepsAsync() => database.CountAsync("gateway.clock_step");

    public Task<long> AnomaliesAsync() => database.CountAsync("gateway.clock_anomaly");

    /// <summary>How many anomalies are not over.</summary>
    public Task<long> OpenAnomaliesAsync() => database.CountAsync("gateway.clock_anomaly WHERE ended_at IS NULL");

    /// <summary>As if the database's clock had stepped by an hour and nobody had seen that it is right again.</summary>
    public Task BeginAnomalyAsync() =>
        database.ExecuteAsync(
            """
            INSERT INTO gateway.clock_anomaly (subject, kind, seconds, began_entry)
            VALUES ('database', 'stepped', 3600, 1)
            """);
}
