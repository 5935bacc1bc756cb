using System.Globalization;
using Npgsql;
using SecureMail.Ledger;
using SecureMail.Storage;

namespace SecureMail.LedgerStore;

/// <summary>Builds the evidence that is sent with a dispatch or a receipt, from the stored ledger.</summary>
public static class EvidenceBuilder
{
    /// <summary>Builds the evidence for one of our entries, at our latest checkpoint.</summary>
    /// <param name="peerSizes">The sizes of our log that the receiver announced as seen. At most
    /// <see cref="LedgerEvidence.MaxProofs"/> are answered, and none above our own size.</param>
    /// <param name="cosignatures">Our cosignatures over the receiver's checkpoints, at most 16.</param>
    /// <exception cref="LedgerException">NotFound; NotCovered: no checkpoint covers the entry yet; Damaged.</exception>
    public static async Task<LedgerEvidence> BuildAsync(
        NpgsqlConnection connection, long entryId, IReadOnlyList<long> peerSizes,
        IReadOnlyList<Cosignature> cosignatures, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(peerSizes);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(cosignatures.Count, LedgerEvidence.MaxCosignatures);
        var stored = await StoredLedger.FindAsync(connection, entryId, cancellationToken)
            ?? throw new LedgerException(
                LedgerFault.NotFound, string.Create(CultureInfo.InvariantCulture, $"There is no entry {entryId}."));
        var head = await StoredLedger.HeadAsync(connection, cancellationToken);
        if (stored.Index is not { } index || head is null || head.Size <= index)
        {
            throw new LedgerException(
                LedgerFault.NotCovered,
                string.Create(CultureInfo.InvariantCulture, $"No checkpoint covers entry {entryId} yet."));
        }

        // Our current size needs no proof. A size above ours cannot be proven, and the receiver notices that by itself.
        long[] sizes =
            [.. peerSizes.Where(size => size > 0 && size < head.Size).Distinct().Take(LedgerEvidence.MaxProofs)];
        var (inclusion, consistency) = await StoredLedger.ProofsAsync(
            connection, index, sizes, head.Size, cancellationToken);
        return new LedgerEvidence(stored.Body.ToArray(), index, head, inclusion, consistency, cosignatures);
    }
}
