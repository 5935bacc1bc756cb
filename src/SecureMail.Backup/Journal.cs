using System.Threading.Channels;
using Dapper;
using Microsoft.Extensions.Logging;
using Npgsql;
using Npgsql.Replication;
using NpgsqlTypes;
using SecureMail.Storage;

namespace SecureMail.Backup;

/// <summary>
/// Follows the database's write-ahead log into the backup folder: what comes is sealed, appended, flushed to the disk,
/// and only then acknowledged to the server. Where it is synchronous the server answers a commit only after that
/// acknowledgement, so that whatever was told to anybody is in the backup (RPO 0). A slot keeps what has not been
/// acknowledged.
/// </summary>
/// <remarks>
/// The server is made to wait for us (<c>synchronous_standby_names</c>) once we follow, and stays so through every
/// crash: without the journal no commit is answered. Only an orderly stop, or an operator (<c>securemail backup
/// --release</c>), lets it go. A lost slot, or a first one, needs a new base, which is taken at once while the journal
/// runs. Several nodes may run this on one database: one follows, the others wait for its slot. Left out: compression,
/// and a journal on two folders at once.
/// </remarks>
internal sealed class Journal(
    BackupSource source, BackupFolder folder, Func<BackupKeys> keys, GatewayFiles files, bool synchronous,
    TimeProvider time, ILogger logger)
{
    /// <summary>The slot, and the application name by which the server knows its synchronous standby.</summary>
    public const string Name = "securemail_journal";

    private const long LargestFile = 64L << 20;

    private static readonly TimeSpan AskAgain = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan BaseAgain = TimeSpan.FromSeconds(30);

    /// <summary>Octets of the log that were made durable by this process.</summary>
    public long Octets { get; private set; }

    /// <summary>Follows until cancelled; outlives a server or a folder that is away.</summary>
    public async Task RunAsync(CancellationToken stop)
    {
        string? said = null;
        while (!stop.IsCancellationRequested)
        {
            try
            {
                await FollowAsync(stop);
            }
            catch (Exception e)
                when (e
                        is NpgsqlException
                            or IOException
                            or UnauthorizedAccessException
                            or TimeoutException
                            or InvalidDataException
                            or SecretFileException
                            or BackupException
                            or StorageUnavailableException
                            or OperationCanceledException)
            {
                if (!stop.IsCancellationRequested && said != e.Message)
                {
                    BackupLog.JournalStopped(logger, said = e.Message);
                }
            }

            await Task.Delay(AskAgain, time, stop).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    /// <summary>An operator's decision, or an orderly end: commits no longer wait for a journal.</summary>
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

    /// <summary>Gives the slot up: the server need not keep anything for a journal that will not come back.</summary>
    public static async Task DropSlotAsync(BackupSource source, CancellationToken cancellationToken)
    {
        await using var connection = await source.OpenAsync(cancellationToken);
        await connection.ExecuteAsync(
            new CommandDefinition(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = @Name AND NOT "
                    + "active",
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
        // The first file is made before the server is asked to wait for us: a folder that cannot be written stops
        // nobody who did not wait yet.
        var writer = await OpenFileAsync(start, stop);
        using var ending = CancellationTokenSource.CreateLinkedTokenSource(stop);
        try
        {
            var channel = Channel.CreateBounded<(ulong Start, byte[] Octets)>(256);
            var receiving = ReceiveAsync(connection, start, channel.Writer, ending.Token);
            await WaitForUsAsync(maintenance, stop);
            BackupLog.JournalFollows(logger, ((NpgsqlLogSequenceNumber)from).ToString(), folder.Path);
            var basing = folder.NeedsBase ? TakeBaseAsync(ending.Token) : Task.CompletedTask;
            var position = from;
            using var release = stop.Register(() => channel.Writer.TryComplete());
            try
            {
                while (await channel.Reader.WaitToReadAsync(CancellationToken.None))
                {
                    while (channel.Reader.TryRead(out var piece))
                    {
                        writer.Write(piece.Start, piece.Octets);
                        position = piece.Start + (ulong)piece.Octets.Length;
                        Octets += piece.Octets.Length;
                    }

                    // The commit point of the journal: acknowledged is what the disk has.
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
                await Task.WhenAll(receiving, basing).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
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
            // A full disk must not be filled with beginnings of files.
            File.Delete(path);
            throw;
        }
    }

    /// <summary>Where to go on: what the slot still keeps. A slot that is new or was lost needs a base that begins
    /// after it.</summary>
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
        PhysicalReplicationConnection connection, WalPlace start, ChannelWriter<(ulong Start, byte[] Octets)> to,
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
                using var octets = new MemoryStream();
                await message.Data.CopyToAsync(octets, cancellationToken);
                await to.WriteAsync(((ulong)message.WalStart, octets.ToArray()), cancellationToken);
            }
        }
        catch (Exception e)
        {
            failure = e;
            throw;
        }
        finally
        {
            // What arrived is still written; then the follower fails with this and begins again.
            to.TryComplete(failure is OperationCanceledException or ChannelClosedException ? null : failure);
        }
    }

    private async Task WaitForUsAsync(NpgsqlConnection maintenance, CancellationToken cancellationToken)
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
            catch (Exception e)
                when (e
                        is NpgsqlException
                            or IOException
                            or UnauthorizedAccessException
                            or TimeoutException
                            or InvalidDataException
                            or SecretFileException
                            or BackupException
                            or StorageUnavailableException)
            {
                BackupLog.BaseFailed(logger, e.Message);
                await Task.Delay(BaseAgain, time, cancellationToken)
                    .ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }
    }
}
