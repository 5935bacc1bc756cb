using Dapper;
using Npgsql;

namespace SecureMail.Storage;

/// <param name="Key">The name that new blobs are wrapped under now.</param>
/// <param name="Rewrapped">How many blobs were moved to it.</param>
/// <param name="Unused">Names of key files that no blob needs any more. Destroying the file makes every wrapped key
/// that it ever wrapped worthless, wherever a copy lies.</param>
public sealed record RotationAnswer(string Key, long Rewrapped, IReadOnlyList<string> Unused);

/// <summary>
/// Wraps every blob's key under a new storage key. The octets are not touched. Files are never deleted here: a backup
/// that is still wanted needs the old key, and only a person knows that.
/// </summary>
public sealed class StorageKeyRotation(GatewayDatabase database, StorageKeys keys, CardCipher cards)
{
    private const int Batch = 500;

    /// <summary>The tables whose rows hold a card, and their ids.</summary>
    private static readonly (string Table, string Id)[] CardTables =
    [
        ("gateway.outgoing", "dispatch_id"), ("gateway.incoming", "incoming_id"),
    ];

    /// <summary>Makes a key, moves all blobs to it; goes on where an earlier run stopped when
    /// <paramref name="makeKey"/> is false.</summary>
    public async Task<RotationAnswer> RotateAsync(bool makeKey, CancellationToken cancellationToken)
    {
        if (makeKey)
        {
            keys.Add();
        }

        long rewrapped = 0;
        var after = Guid.Empty;
        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        while (true)
        {
            await using var transaction = await connection.BeginTransactionAsync(cancellationToken);
            var rows = (
                await connection.QueryAsync<(Guid Id, string Name, byte[] Wrapped)>(
                    new CommandDefinition(
                        "SELECT blob_id, storage_key, wrapped_key FROM gateway.blob WHERE blob_id > @after AND "
                            + "erased_at IS NULL AND storage_key <> @Current ORDER BY blob_id LIMIT @Batch FOR UPDATE",
                        new
                        {
                            after,
                            keys.Current,
                            Batch,
                        },
                        transaction,
                        cancellationToken: cancellationToken))
            ).ToList();
            if (rows.Count == 0)
            {
                break;
            }

            await using (
                var command = new NpgsqlCommand(
                    "UPDATE gateway.blob b SET storage_key = $2, wrapped_key = n.wrapped FROM unnest($1::uuid[], "
                        + "$3::bytea[]) n(id, wrapped) WHERE b.blob_id = n.id",
                    connection,
                    transaction))
            {
                command.Parameters.Add(new() { Value = rows.Select(r => r.Id).ToArray() });
                command.Parameters.Add(new() { Value = keys.Current });
                command.Parameters.Add(
                    new()
                    {
                        Value = rows.Select(r => keys.Wrap(r.Id, keys.Unwrap(r.Id, r.Name, r.Wrapped)).Wrapped)
                            .ToArray(),
                    });
                await command.ExecuteNonQueryAsync(cancellationToken);
            }

            await transaction.CommitAsync("storage.rewrap", cancellationToken);
            rewrapped += rows.Count;
            after = rows[^1].Id;
        }

        foreach (var (table, id) in CardTables)
        {
            await EncryptCardsAgainAsync(table, id, cancellationToken);
        }

        var used = (
            await connection.ListAsync<string>(
                """
                SELECT storage_key FROM gateway.blob WHERE erased_at IS NULL
                UNION SELECT card_key FROM gateway.outgoing WHERE card_key IS NOT NULL
                UNION SELECT card_key FROM gateway.incoming WHERE card_key IS NOT NULL
                """,
                null, cancellationToken)
        ).ToHashSet();
        return new RotationAnswer(
            keys.Current, rewrapped,
            [.. keys.Names.Where(n => n != keys.Current && !used.Contains(n)).Order(StringComparer.Ordinal)]);
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
