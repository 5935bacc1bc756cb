using Dapper;
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
    // The clocks of peers differ, and their mail took its time.
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

        await using var open = await source.OpenConnectionAsync(cancellationToken);
        var root =
            report.Entries < manifest.LedgerSize
                ? null
                : await StoredLedger.RootAsync(open, manifest.LedgerSize, cancellationToken);
        if (root is null || (manifest.LedgerRoot is { } stated && !stated.AsSpan().SequenceEqual(root)))
        {
            throw new BackupException(
                BackupFault.LedgerNotContinued, "The ledger restored does not contain the ledger of the backup.");
        }

        var last = await open.ExecuteScalarAsync<DateTime?>(
            new CommandDefinition(
                "SELECT time FROM ledger.entry ORDER BY entry_id DESC LIMIT 1", cancellationToken: cancellationToken));
        await using var transaction = await open.BeginTransactionAsync(cancellationToken);
        await open.ExecuteAsync(
            new CommandDefinition(
                $"""
                UPDATE gateway.restoration SET state = '{RestorationState.Proven}', proven_at = now(),
                  entry_id = 0 WHERE state = '{RestorationState.Asking}';
                -- The processes that had leased work are gone with the machine.
                UPDATE gateway.work SET state = '{WorkState.Ready}', run_at = now(), lease_owner = NULL,
                  lease_until = NULL, last_error = 'restored' WHERE state = '{WorkState.Leased}';
                INSERT INTO gateway.restoration (restored_at, ledger_size, mail_since, state)
                  VALUES (@now, @Entries, @since, '{RestorationState.Asking}')
                """,
                new
                {
                    now = time.GetUtcNow().UtcDateTime,
                    report.Entries,
                    since = (last is { } l ? new DateTimeOffset(l, TimeSpan.Zero) : manifest.Made).UtcDateTime
                        - MailMargin,
                },
                transaction,
                cancellationToken: cancellationToken));
        // With this commit, and only then in its place, the gateway is one that must prove itself.
        await transaction.CommitAsync("restore.mark", cancellationToken);
        return report.Entries;
    }
}
