using System.Threading.Channels;
using Dapper;
using Microsoft.Extensions.Logging;
using Npgsql;
using Npgsql.Replication;
using NpgsqlTypes;
using SecureMail.Storage;

namespace SecureMail.Backup;

/// <summary>
/// Follows the database's write-ahead log into the backup folder. Each piece is encrypted, appended, flushed to the
/// disk, and only then acknowledged to the server. With a synchronous journal the server answers a commit only after
/// that acknowledgement, so that every answered commit is in the backup (RPO 0). A replication slot keeps what was not
/// acknowledged yet.
/// </summary>
/// <remarks>
/// The server is set to wait for the journal (<c>synchronous_standby_names</c>) once the journal follows. The setting
/// survives every crash, so that no commit is answered without the journal. Only an orderly stop or an operator
/// (<c>securemail backup --release</c>) resets it. A first slot, or one after a lost slot, needs a new base, which is
/// taken at once while the journal runs. Several nodes may run this on one database: one follows, and the others wait
/// for its slot. Left out on purpose: compression, and a journal in two folders at once.
/// </remarks>
internal sealed class Journal(
    BackupSource source, BackupFolder folder, Func<BackupKeys> keys, GatewayFiles files, bool synchronous,
    TimeProvider time, ILogger logger)
{
    /// <summary>The replication slot, and the application name by which the server knows its synchronous
    /// standby.</summary>
    public const string Name = "securemail_journal";

    private const long LargestFile = 64L << 20;

    private static readonly TimeSpan AskAgain = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan BaseAgain = TimeSpan.FromSeconds(30);

    /// <summary>Follows until cancelled. When the server or the folder is away, it tries again each second.</summary>
    public async Task RunAsync(CancellationToken stop)
    {
        string? reported = null;
        while (!stop.IsCancellationRequested)
        {
            try
            {
                await FollowAsync(stop);
            }
            catch (Exception e) when (MayPass(e) || e is OperationCanceledException)
            {
                if (!stop.IsCancellationRequested && reported != e.Message)
                {
                    BackupLog.JournalStopped(logger, reported = e.Message);
                }
            }

            await Task.Delay(AskAgain, time, stop).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    /// <summary>Lets commits no longer wait for the journal, after an operator's decision or at an orderly
    /// stop.</summary>
    public static async Task ReleaseAsync(BackupSource source, CancellationToken cancellationToken)
    {
        if (source.IsPrivate)
        {
            await using var connection = await source.OpenAsync(cancellationToken);
            await connection.ExecuteAsync(
                new CommandDefinition(
                    "ALTER SYSTEM RESET synchronous_standby_names", cancellationToken: cancellationToken));
            await connection.ExecuteAsync(
                new CommandDefinition("SELECT pg_reload_conf()", cancellationToken: cancellationToken));
        }
    }

    /// <summary>Drops the slot, so that the server keeps no log for a journal that will not come back.</summary>
    public static async Task DropSlotAsync(BackupSource source, CancellationToken cancellationToken)
    {
        await using var connection = await source.OpenAsync(cancellationToken);
        await connection.ExecuteAsync(
            new CommandDefinition(
                """
                SELECT pg_drop_replication_slot(slot_name)
                FROM pg_replication_slots
                WHERE slot_name = @Name AND NOT active
                """,
                new { Name },
                cancellationToken: cancellationToken));
    }

    private async Task FollowAsync(CancellationToken stop)
    {
        folder.Create();
        await using var maintenance = await source.OpenAsync(stop);
        await using var connection = new PhysicalReplicationConnection(source.ReplicationConnectionString(Name))
        {
            WalReceiverStatusInterval = TimeSpan.FromSeconds(5),
        };
        await connection.Open(stop);
        var from = await SlotAsync(maintenance, connection, stop);
        var system = await connection.IdentifySystem(stop);
        var start = new WalPlace(system.SystemId, system.Timeline, from);
        // The first file is made before the server is set to wait for the journal, so that a folder that cannot be
        // written does not stop the commits of a server that did not wait yet.
        var writer = await OpenFileAsync(start, stop);
        using var ending = CancellationTokenSource.CreateLinkedTokenSource(stop);
        try
        {
            var channel = Channel.CreateBounded<(ulong Start, byte[] Bytes)>(256);
            var receiving = ReceiveAsync(connection, start, channel.Writer, ending.Token);
            await RequireJournalAsync(maintenance, stop);
            BackupLog.JournalFollows(logger, ((NpgsqlLogSequenceNumber)from).ToString(), folder.Path);
            var takingBase = folder.NeedsBase ? TakeBaseAsync(ending.Token) : Task.CompletedTask;
            var position = from;
            using var release = stop.Register(() => channel.Writer.TryComplete());
            try
            {
                while (await channel.Reader.WaitToReadAsync(CancellationToken.None))
                {
                    while (channel.Reader.TryRead(out var piece))
                    {
                        writer.Write(piece.Start, piece.Bytes);
                        position = piece.Start + (ulong)piece.Bytes.Length;
                    }

                    // The commit point of the journal: only what the disk has is acknowledged. After a crash the slot
                    // sends everything from the last acknowledgement on again.
                    writer.FlushToDisk();
                    connection.SetReplicationStatus(new NpgsqlLogSequenceNumber(position));
                    await connection.SendStatusUpdate(CancellationToken.None);
                    if (writer.Length >= LargestFile)
                    {
                        writer.Dispose();
                        writer = await OpenFileAsync(start with { Position = position }, stop);
                    }
                }
            }
            finally
            {
                if (stop.IsCancellationRequested && synchronous)
                {
                    await ReleaseAsync(source, CancellationToken.None);
                }

                await ending.CancelAsync();
                await Task.WhenAll(receiving, takingBase).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }

            if (!stop.IsCancellationRequested)
            {
                await receiving;
            }
        }
        finally
        {
            writer.Dispose();
        }
    }

    private async Task<EncryptedBackupWriter> OpenFileAsync(WalPlace start, CancellationToken cancellationToken)
    {
        var path = folder.NewJournal(start);
        try
        {
            var writer = await EncryptedBackupWriter.CreateAsync(path, keys(), "journal", start, cancellationToken);
            writer.FlushToDisk();
            return writer;
        }
        catch
        {
            // Repeated attempts on a full disk must not leave one cut-off file each.
            File.Delete(path);
            throw;
        }
    }

    /// <summary>The position to follow from, which is the first that the slot still keeps. A new slot, also in place of
    /// a lost one, needs a base that begins after it.</summary>
    private async Task<ulong> SlotAsync(
        NpgsqlConnection maintenance, PhysicalReplicationConnection connection, CancellationToken cancellationToken)
    {
        var slot = await ReadSlotAsync(maintenance, cancellationToken);
        if (slot is { Lost: true })
        {
            BackupLog.SlotLost(logger);
            await connection.DropReplicationSlot(Name, wait: false, cancellationToken);
            slot = null;
        }

        if (slot is null)
        {
            folder.MarkNeedsBase();
            await connection.CreateReplicationSlot(Name, isTemporary: false, reserveWal: true, cancellationToken);
            slot = await ReadSlotAsync(maintenance, cancellationToken);
        }

        return slot!.Value.From;
    }

    private static async Task<(ulong From, bool Lost)?> ReadSlotAsync(
        NpgsqlConnection maintenance, CancellationToken cancellationToken)
    {
        var row = await maintenance.QuerySingleOrDefaultAsync<(string? From, string? Status)?>(
            new CommandDefinition(
                "SELECT restart_lsn::text, wal_status FROM pg_replication_slots WHERE slot_name = @Name", new { Name },
                cancellationToken: cancellationToken));
        return row is { } r ? (BackupSource.Lsn(r.From), r.From is null || r.Status == "lost") : null;
    }

    private static async Task ReceiveAsync(
        PhysicalReplicationConnection connection, WalPlace start, ChannelWriter<(ulong Start, byte[] Bytes)> to,
        CancellationToken cancellationToken)
    {
        Exception? failure = null;
        try
        {
            await foreach (
                var message in connection.StartReplication(
                    new PhysicalReplicationSlot(Name), new NpgsqlLogSequenceNumber(start.Position), cancellationToken,
                    (uint)start.Timeline))
            {
                using var bytes = new MemoryStream();
                await message.Data.CopyToAsync(bytes, cancellationToken);
                await to.WriteAsync(((ulong)message.WalStart, bytes.ToArray()), cancellationToken);
            }
        }
        catch (Exception e)
        {
            failure = e;
            throw;
        }
        finally
        {
            // Pieces that arrived before the failure are still written. Then the reader of the channel fails with the
            // same exception, and following starts again.
            to.TryComplete(failure is OperationCanceledException or ChannelClosedException ? null : failure);
        }
    }

    /// <summary>Sets the private cluster to wait for a synchronous journal, and requires that setting of a configured
    /// server.</summary>
    private async Task RequireJournalAsync(NpgsqlConnection maintenance, CancellationToken cancellationToken)
    {
        if (!synchronous)
        {
            return;
        }

        if (source.IsPrivate)
        {
            await maintenance.ExecuteAsync(
                new CommandDefinition(
                    $"ALTER SYSTEM SET synchronous_standby_names = '{Name}'", cancellationToken: cancellationToken));
            await maintenance.ExecuteAsync(
                new CommandDefinition("SELECT pg_reload_conf()", cancellationToken: cancellationToken));
        }
        else if (
            await maintenance.ExecuteScalarAsync<string>(
                new CommandDefinition("SHOW synchronous_standby_names", cancellationToken: cancellationToken))
                is { } names
            && !names.Contains(Name, StringComparison.Ordinal)
            && names != "*")
        {
            throw new StorageUnavailableException(
                StorageFault.StandbyNameMissing, [Name],
                $"The PostgreSQL server has not set synchronous_standby_names = '{Name}'.");
        }
    }

    private async Task TakeBaseAsync(CancellationToken cancellationToken)
    {
        while (!cancellationToken.IsCancellationRequested)
        {
            try
            {
                var made = await BaseBackup.TakeAsync(source, folder, keys(), files, cancellationToken);
                folder.BaseTaken();
                BackupLog.BaseTaken(logger, made.Folder, made.Octets);
                return;
            }
            catch (Exception e) when (MayPass(e))
            {
                BackupLog.BaseFailed(logger, e.Message);
                await Task.Delay(BaseAgain, time, cancellationToken)
                    .ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }
    }

    /// <summary>Whether the failure is of the server, the folder or a key file, and not a bug. Then a later attempt may
    /// succeed.</summary>
    private static bool MayPass(Exception e) =>
        DatabaseFault.Is(e)
        || e
            is UnauthorizedAccessException
                or InvalidDataException
                or SecretFileException
                or BackupException
                or StorageUnavailableException;
}
