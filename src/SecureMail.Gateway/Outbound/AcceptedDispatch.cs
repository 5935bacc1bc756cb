using SecureMail.Exchange;
using SecureMail.Gateway.Registers;
using SecureMail.Storage;

namespace SecureMail.Gateway.Outbound;

/// <summary>A dispatch that was accepted and is not yet signed: its row says accepted or awaiting-signature.</summary>
/// <param name="Documents">The blobs of the documents, in the manifest's order.</param>
internal sealed record AcceptedDispatch(Guid Id, Guid AgencyId, Manifest Manifest, IReadOnlyList<Guid> Documents)
{
    /// <summary>Null where the dispatch was queued or refused already.</summary>
    public static async Task<AcceptedDispatch?> LoadAsync(
        GatewayDatabase database, BlobStore blobs, Guid id, CancellationToken cancellationToken)
    {
        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        var row = await OutgoingTable.FindUnsignedAsync(connection, id, cancellationToken);
        return row is { } found
            ? new AcceptedDispatch(
                id, found.Agency,
                Manifest.Parse(await blobs.ReadAllAsync(found.Manifest, Manifest.MaxBytes, cancellationToken)),
                found.Documents)
            : null;
    }
}
