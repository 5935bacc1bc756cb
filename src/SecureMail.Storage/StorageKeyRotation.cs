using Dapper;
using Npgsql;

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
public sealed class StorageKeyRotation(GatewayDatabase database, StorageKeys keys)
{
    private const int Batch = 500;

    /// <summary>Makes a key and moves all blobs to it.</summary>
    /// <param name="makeKey">False: move to the current key, to continue a run that was stopped.</param>
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
                        """
                        SELECT blob_id, storage_key, wrapped_key
                        FROM gateway.blob
                        WHERE blob_id > @after AND erased_at IS NULL AND storage_key <> @Current
                        ORDER BY blob_id LIMIT @Batch
                        FOR UPDATE
                        """,
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
                    """
                    UPDATE gateway.blob b SET storage_key = $2, wrapped_key = n.wrapped
                    FROM unnest($1::uuid[], $3::bytea[]) n(id, wrapped)
                    WHERE b.blob_id = n.id
                    """,
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

        var used = (
            await connection.QueryAsync<string>(
                new CommandDefinition(
                    "SELECT DISTINCT storage_key FROM gateway.blob WHERE erased_at IS NULL",
                    cancellationToken: cancellationToken))
        ).ToHashSet();
        return new RotationAnswer(
            keys.Current, rewrapped,
            [.. keys.Names.Where(n => n != keys.Current && !used.Contains(n)).Order(StringComparer.Ordinal)]);
    }
}
