using Dapper;
using SecureMail.Gateway.Storage;

namespace SecureMail.Gateway.Inbound;

/// <summary>A message that was taken for one of our agencies and is still to be judged: its row says received.</summary>
/// <param name="ProofAsked">From which size of its ledger the sender was asked for a proof; 0: nothing of it had been seen; null: it did not let itself be asked.</param>
internal sealed record ReceivedMessage(Guid Id, Guid AgencyId, string Address, string Peer, string EnvelopeFrom, Guid Blob, byte[] Salt, DateTimeOffset ReceivedAt, long? ProofAsked)
{
    /// <summary>Null when it was recorded already.</summary>
    public static async Task<ReceivedMessage?> LoadAsync(GatewayDatabase database, Guid incoming, CancellationToken cancellationToken)
    {
        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        var row = await connection.QuerySingleOrDefaultAsync<(Guid Agency, string Address, string Peer, string From, Guid Blob, byte[] Salt, DateTime At, long? Asked)?>(new CommandDefinition(
            """
            SELECT i.agency_id, i.address, r.peer, r.envelope_from, r.blob_id, r.salt, r.received_at, r.proof_asked
            FROM gateway.incoming i JOIN gateway.received r USING (received_id) WHERE i.incoming_id = @incoming AND i.state = 'received'
            """, new { incoming }, cancellationToken: cancellationToken));
        return row is { } r ? new ReceivedMessage(incoming, r.Agency, r.Address, r.Peer, r.From, r.Blob, r.Salt, new DateTimeOffset(r.At, TimeSpan.Zero), r.Asked) : null;
    }
}
