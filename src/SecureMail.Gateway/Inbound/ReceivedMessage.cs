using SecureMail.Exchange;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Storage;

namespace SecureMail.Gateway.Inbound;

/// <summary>A message that was taken for one of our agencies and is still to be judged: its row says
/// received.</summary>
/// <param name="ReceivedAt">By the process' clock then.</param>
/// <param name="Left">How long it may still wait to be judged; by the database's clock, and what that leapt over does
/// not count.</param>
/// <param name="ProofAsked">From which size of its ledger the sender was asked for a proof; 0: nothing of it had been
/// seen; null: it did not let itself be asked.</param>
internal sealed record ReceivedMessage(
    Guid Id, Guid AgencyId, string Address, string Peer, string EnvelopeFrom, Guid Blob, byte[] Salt,
    DateTimeOffset ReceivedAt, long? ProofAsked, TimeSpan Left)
{
    /// <summary>Null when it was recorded already.</summary>
    public static async Task<ReceivedMessage?> LoadAsync(
        GatewayDatabase database, Guid incoming, TimeSpan indeterminateFor, CancellationToken cancellationToken)
    {
        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        var row = await connection.FindAsync<( Guid Agency, string Address, string Peer, string From, Guid Blob, byte[] Salt, DateTime At, long? Asked, TimeSpan Left)?>(
            $"""
            SELECT i.agency_id, i.address, r.peer, r.envelope_from, r.blob_id, r.salt, r.received_at,
              r.proof_asked, b.created_at - gateway.cutoff(@indeterminateFor)
            FROM gateway.incoming i JOIN gateway.received r USING (received_id)
              JOIN gateway.blob b USING (blob_id) WHERE i.incoming_id = @incoming
              AND i.state = '{IncomingState.Received}'
            """,
            new { incoming, indeterminateFor }, cancellationToken);
        return row is { } r
            ? new ReceivedMessage(
                incoming, r.Agency, r.Address, r.Peer, r.From, r.Blob, r.Salt, new DateTimeOffset(r.At, TimeSpan.Zero),
                r.Asked, r.Left)
            : null;
    }
}
