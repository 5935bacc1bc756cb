using Npgsql;
using SecureMail.Backup;
using SecureMail.Exchange;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Ledger;
using SecureMail.LedgerStore;
using SecureMail.Storage;
using SecureMail.Storage.Queue;

namespace SecureMail.Gateway.Recovery;

/// <summary>The last step of a restoration, before the recovered database takes its place.</summary>
public static class RestoredGateway
{
    // The clocks of peers differ, and their mail was under way for a while.
    private static readonly TimeSpan MailMargin = TimeSpan.FromMinutes(15);

    /// <summary>
    /// Brings the recovered database to this build's schema, verifies the whole ledger and that it contains the ledger
    /// of the backup's manifest, and then marks the gateway as restored.
    /// </summary>
    /// <returns>How many entries the ledger has.</returns>
    /// <exception cref="BackupException">The ledger is not whole, or does not contain the one of the
    /// manifest.</exception>
    public static async Task<long> ProveAsync(
        RestoredDatabase restored, Migrator migrator, TimeProvider time, CancellationToken cancellationToken)
    {
        var (connection, manifest) = (restored.ConnectionString("securemail_owner"), restored.Manifest);
        await migrator.MigrateAsync(connection, cancellationToken);
        await using var source = NpgsqlDataSource.Create(connection);
        using var key = LedgerKey.Load(
            Path.Combine(restored.KeyFolder, "ledger.key"), manifest.Gateway, NoteKeyKind.Log);
        var report = await LedgerVerifier.VerifyAsync(source, key.Verifier, [], cancellationToken);
        if (report.Problems is [var problem, ..])
        {
            throw new BackupException(problem);
        }

        var (root, last) = await LedgerStateAsync(source, report.Entries, manifest.LedgerSize, cancellationToken);
        if (root is null || (manifest.LedgerRoot is { } stated && !stated.AsSpan().SequenceEqual(root)))
        {
            throw new BackupException(
                BackupFault.LedgerNotContinued, "The ledger restored does not contain the ledger of the backup.");
        }

        // With this commit the gateway must prove itself. Only after it the restored database takes its place.
        await source.InTransactionAsync(
            "restore.mark",
            transaction => transaction.ExecuteAsync(
                $"""
                UPDATE gateway.restoration SET state = '{RestorationState.Proven}', proven_at = now(), entry_id = 0
                WHERE state = '{RestorationState.Asking}';
                -- The processes that had leased work are gone with the machine.
                UPDATE gateway.work
                SET state = '{WorkState.Ready}', run_at = now(), lease_owner = NULL, lease_until = NULL,
                  last_error = 'restored'
                WHERE state = '{WorkState.Leased}';
                -- What was asked for before the loss is not begun by the restored gateway.
                UPDATE gateway.job
                SET state = '{JobState.Failed}', ended_at = now(), reason = '{JobReason.Restored}', lease_owner = NULL,
                  lease_until = NULL
                WHERE state IN ('{JobState.Requested}', '{JobState.Running}');
                DO $$ BEGIN
                  EXECUTE (
                    SELECT 'TRUNCATE ' || string_agg(format('hangfire.%I', tablename), ', ')
                    FROM pg_tables WHERE schemaname = 'hangfire' AND tablename <> 'schema');
                END $$;
                INSERT INTO gateway.restoration (restored_at, ledger_size, mail_since, state)
                VALUES (@now, @Entries, @since, '{RestorationState.Asking}')
                """,
                new
                {
                    now = time.GetUtcNow().UtcDateTime,
                    report.Entries,
                    since = (last ?? manifest.Made).UtcDateTime - MailMargin,
                }, cancellationToken),
            cancellationToken);
        return report.Entries;
    }

    /// <summary>The root of the tree at a size, null where the ledger is smaller; and the time of its last
    /// entry.</summary>
    private static async Task<(byte[]? Root, DateTimeOffset? Last)> LedgerStateAsync(
        NpgsqlDataSource source, long entries, long size, CancellationToken cancellationToken)
    {
        await using var connection = await source.OpenConnectionAsync(cancellationToken);
        var root = entries < size ? null : await StoredLedger.RootAsync(connection, size, cancellationToken);
        var last = await connection.ScalarAsync<DateTime?>(
            "SELECT time FROM ledger.entry ORDER BY entry_id DESC LIMIT 1", null, cancellationToken);
        return (root, last is { } time ? new DateTimeOffset(time, TimeSpan.Zero) : null);
    }
}
