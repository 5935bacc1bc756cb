
namespace SecureMail.Storage;

/// <param name="Key">The name of the key that new blobs are wrapped under now.</param>
/// <param name="Rewrapped">How many blobs were moved to that key.</param>
/// <param name="Unused">Names of key files that no blob needs any more. Once the file is destroyed, no copy of a blob
/// key wrapped under it can be opened.</param>
public sealed record RotationAnswer(string Key, long Rewrapped, IReadOnlyList<string> Unused);

/// <summary>
/// Wraps every blob's key under a new storage key. The content is not encrypted again. Key files are never deleted
/// here, because a backup that is still wanted needs the old key, and only a person knows which backups are.
/// </summary>
public sealed class StorageKeyRotation(GatewayDatabase database, StorageKeys keys, CardCipher cards)
{
    private const int Batch = 500;

    /// <summary>The tables whose rows hold a card, and their ids.</summary>
    private static readonly (string Table, string Id)[] CardTables =
    [
        ("gateway.outgoing", "dispatch_id"), ("gateway.incoming", "incoming_id"),
    ];

    /// <summary>Makes a key and moves all blobs to it.</summary>
    /// <param name="makeKey">False: move to the current key, to continue a run that was stopped.</param>
    /// <param name="progress">Hears how many blobs were moved.</param>
    public async Task<RotationAnswer> RotateAsync(
        bool makeKey, CancellationToken cancellationToken, IProgress<long>? progress = null)
    {
        if (makeKey)
        {
            keys.Add();
        }

        var rewrapped = await WrapAgainAsync(progress, cancellationToken);
        foreach (var (table, id) in CardTables)
        {
            await EncryptCardsAgainAsync(table, id, cancellationToken);
        }

        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        var used = await connection.ListAsync<string>(
            """
            SELECT storage_key FROM gateway.blob WHERE erased_at IS NULL
            UNION SELECT card_key FROM gateway.outgoing WHERE card_key IS NOT NULL
            UNION SELECT card_key FROM gateway.incoming WHERE card_key IS NOT NULL
            """,
            null, cancellationToken);
        return new RotationAnswer(
            keys.Current, rewrapped,
            [.. keys.Names.Where(n => n != keys.Current && !used.Contains(n)).Order(StringComparer.Ordinal)]);
    }

    /// <summary>Makes a key for a rotation that another process does, and answers the name.</summary>
    /// <param name="makeKey">False: answers the current key.</param>
    public string Prepare(bool makeKey)
    {
        if (makeKey)
        {
            keys.Add();
        }

        return keys.Current;
    }

    /// <summary>Wraps new blobs from now on under the key that another process made. Answers false where the key folder
    /// of this node does not have it.</summary>
    public bool TryUse(string key) => keys.TryUse(key);

    /// <summary>How many blobs lie under another key than the current one.</summary>
    public async Task<long> CountRemainingAsync(CancellationToken cancellationToken)
    {
        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        return await connection.ScalarAsync<long>(
            "SELECT count(*) FROM gateway.blob WHERE erased_at IS NULL AND storage_key <> @Current",
            new { keys.Current }, cancellationToken);
    }

    private async Task<long> WrapAgainAsync(IProgress<long>? progress, CancellationToken cancellationToken)
    {
        long total = 0;
        var after = Guid.Empty;
        while (true)
        {
            // A crash before this commit leaves blobs under the old key, and the next run takes them up.
            var (count, last) = await database.Source.InTransactionAsync(
                "storage.rewrap",
                async transaction =>
                {
                    var rows = await transaction.ListAsync<(Guid Id, string Name, byte[] Wrapped)>(
                        """
                        SELECT blob_id, storage_key, wrapped_key FROM gateway.blob
                        WHERE blob_id > @after AND erased_at IS NULL AND storage_key <> @Current
                        ORDER BY blob_id LIMIT @Batch FOR UPDATE
                        """,
                        new { after, keys.Current, Batch }, cancellationToken);
                    await transaction.ExecuteAsync(
                        """
                        UPDATE gateway.blob b SET storage_key = @Current, wrapped_key = n.wrapped
                        FROM unnest(@ids, @wrapped) n(id, wrapped) WHERE b.blob_id = n.id
                        """,
                        new
                        {
                            keys.Current,
                            ids = rows.Select(r => r.Id).ToArray(),
                            wrapped = rows
                                .Select(r => keys.Wrap(r.Id, keys.Unwrap(r.Id, r.Name, r.Wrapped)).Wrapped)
                                .ToArray(),
                        }, cancellationToken);
                    return (rows.Count, rows.Count == 0 ? after : rows[^1].Id);
                },
                cancellationToken);
            if (count == 0)
            {
                return total;
            }

            total += count;
            after = last;
            progress?.Report(total);
        }
    }

    private async Task EncryptCardsAgainAsync(string table, string id, CancellationToken cancellationToken)
    {
        int found;
        do
        {
            // A crash before this commit leaves cards under the old key, and the next run takes them up.
            found = await database.Source.InTransactionAsync(
                "storage.cards",
                async transaction =>
                {
                    var rows = await transaction.ListAsync<(Guid Id, string Key, byte[] Card)>(
                        $"""
                        SELECT {id}, card_key, card FROM {table}
                        WHERE card_key <> @Current LIMIT @Batch FOR UPDATE
                        """,
                        new { keys.Current, Batch }, cancellationToken);
                    var again = rows
                        .Select(r => cards.Encrypt(r.Id, cards.Decrypt(r.Id, new EncryptedCard(r.Key, r.Card))))
                        .ToList();
                    await transaction.ExecuteAsync(
                        $"""
                        UPDATE {table} t SET card = n.card, card_key = n.key
                        FROM unnest(@ids, @keys, @cards) n(id, key, card) WHERE t.{id} = n.id
                        """,
                        new
                        {
                            ids = rows.Select(r => r.Id).ToArray(),
                            keys = again.Select(c => c.Key).ToArray(),
                            cards = again.Select(c => c.Ciphertext).ToArray(),
                        }, cancellationToken);
                    return rows.Count;
                },
                cancellationToken);
        }
        while (found == Batch);
    }
}
