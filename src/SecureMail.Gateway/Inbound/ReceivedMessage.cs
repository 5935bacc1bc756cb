using SecureMail.Gateway.Directories;
using SecureMail.Gateway.Registers;
using SecureMail.Storage;

namespace SecureMail.Gateway.Inbound;

/// <summary>A message that was taken for one of our agencies and is still to be validated: its row says
/// received.</summary>
/// <param name="ReceivedAt">By the process' clock then.</param>
/// <param name="Left">How long the message may still wait for a verdict; by the database's clock, whose steps do not
/// count.</param>
/// <param name="ProofAsked">From which size of its ledger the sender was asked for a proof; 0: nothing of it had been
/// seen; null: it did not let itself be asked.</param>
internal sealed record ReceivedMessage(
    Guid Id, Guid AgencyId, string Address, string Peer, string EnvelopeFrom, Guid Blob, byte[] Salt,
    DateTimeOffset ReceivedAt, long? ProofAsked, TimeSpan Left)
{
    /// <summary>Whether the message is for the gateway's administrator. Such a message is shown to a person whatever it
    /// is, and is never answered.</summary>
    public bool IsForPostmaster => AgencyId == DirectoryStore.GatewayItself;

    /// <summary>Null where the message was recorded already.</summary>
    public static async Task<ReceivedMessage?> LoadAsync(
        GatewayDatabase database, Guid incoming, TimeSpan indeterminateFor, CancellationToken cancellationToken)
    {
        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        return Of(
            incoming,
            await IncomingTable.FindReceivedAsync(connection, incoming, indeterminateFor, cancellationToken));
    }

    /// <summary>A recorded message that is validated again. Null where it waits for nothing any more.</summary>
    public static async Task<ReceivedMessage?> LoadAgainAsync(
        GatewayDatabase database, Guid incoming, CancellationToken cancellationToken)
    {
        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        return Of(incoming, await IncomingTable.FindToValidateAgainAsync(connection, incoming, cancellationToken));
    }

    private static ReceivedMessage? Of(Guid incoming, ReceivedRow? row) =>
        row is { } r
            ? new ReceivedMessage(
                incoming, r.Agency, r.Address, r.Peer, r.EnvelopeFrom, r.Blob, r.Salt,
                new DateTimeOffset(r.ReceivedAt, TimeSpan.Zero), r.ProofAsked, r.Left)
            : null;
}
