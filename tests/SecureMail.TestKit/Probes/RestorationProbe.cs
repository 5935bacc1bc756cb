namespace SecureMail.TestKit.Probes;

/// <summary>A restoration from a backup, at the restored gateway and at its peers.</summary>
internal sealed class RestorationProbe(ProbeDatabase database)
{
    /// <summary>As a restoration leaves the database: nothing of the ledger has a checkpoint yet.</summary>
    public Task BeginAsync() =>
        database.ExecuteAsync(
            """
            INSERT INTO gateway.restoration (restored_at, ledger_size, mail_since, state)
            VALUES (now(), 0, now() - interval '1 hour', 'asking')
            """);

    /// <summary>True once a peer found the ledger consistent, the restoration is proven, and the peer has answered what
    /// it sends again.</summary>
    public async Task<bool> IsProvenAsync() =>
        await database.CountAsync(
            """
            gateway.restoration_peer p JOIN gateway.restoration r USING (restoration_id)
            WHERE r.state = 'proven' AND p.state = 'consistent' AND resend_count IS NOT NULL
            """) > 0;

    /// <summary>True once an operator goes on without a peer.</summary>
    public async Task<bool> IsExcusedAsync() =>
        await database.CountAsync("gateway.restoration_peer WHERE state = 'excused'") > 0;

    /// <summary>How often restored peers asked this gateway to send again.</summary>
    public Task<long> ResendRequestsAsync() => database.CountAsync("gateway.resend_request");

    /// <summary>How many transmissions a peer is sent again.</summary>
    public Task<int> ResentToAsync(string peer) =>
        database.ScalarAsync<int>("SELECT count FROM gateway.resend_request WHERE peer = $1", peer);
}
