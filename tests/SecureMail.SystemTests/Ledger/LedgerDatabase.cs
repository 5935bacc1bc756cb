using Microsoft.Extensions.Logging.Abstractions;
using Npgsql;
using SecureMail.Exchange;
using SecureMail.Ledger;
using SecureMail.LedgerStore;
using SecureMail.Storage;

namespace SecureMail.SystemTests.Ledger;

/// <summary>A gateway's ledger with its own database and keys, as the tests of this folder need it.</summary>
internal sealed class LedgerDatabase : IAsyncDisposable
{
    private readonly string _directory;
    private int _entries;

    private LedgerDatabase(string connectionString, string directory, string name)
    {
        _directory = directory;
        OwnerString = connectionString;
        Owner = NpgsqlDataSource.Create(connectionString);
        Gateway = NpgsqlDataSource.Create(PostgresFixture.AsGateway(connectionString));
        LogKey = LedgerKey.Create(Path.Combine(directory, "log.pem"), $"{name}.example/ledger", NoteKeyKind.Log);
        CosignerKey = LedgerKey.Create(
            Path.Combine(directory, "cosigner.pem"), $"{name}.example/cosigner", NoteKeyKind.Cosigner);
        Peers = new PeerLedger(CosignerKey, Time, NullLogger.Instance);
    }

    public static async Task<LedgerDatabase> CreateAsync(PostgresFixture postgres, string name = "a")
    {
        var database = new LedgerDatabase(
            await postgres.CreateDatabaseAsync(), Directory.CreateTempSubdirectory("smledger").FullName, name);
        foreach (var (_, sql) in LedgerSchema.Migrations.Files)
        {
            await database.ExecuteAsync(sql);
        }

        return database;
    }

    public string OwnerString { get; }

    /// <summary>Who owns the tables: for damage, which the gateway's role could not do.</summary>
    public NpgsqlDataSource Owner { get; }

    public NpgsqlDataSource Gateway { get; }

    public LedgerKey LogKey { get; }

    public LedgerKey CosignerKey { get; }

    public PeerLedger Peers { get; }

    public ManualTime Time { get; } = new();

    public LedgerEntry NewEntry(string? objectId = null) =>
        new()
        {
            Time = Time.GetUtcNow(),
            Agency = Guid.Parse("0195536e-8f00-7000-8000-000000000001"),
            Kind = "dispatch.accepted",
            Object = objectId ?? $"dispatch-{Interlocked.Increment(ref _entries)}",
            Commitments = new Dictionary<string, string> { ["manifest"] = Commitment.Of(new byte[32], new byte[32]) },
        };

    public Sequencer NewSequencer(
        Func<NpgsqlTransaction, IReadOnlyList<long>, CancellationToken, Task>? onCovered = null,
        SequencerOptions? options = null,
        LedgerKey? key = null
    ) => new(Gateway, key ?? LogKey, options ?? new SequencerOptions(), Time, NullLogger.Instance, onCovered);

    public async Task<LedgerReceipt> AppendAsync(LedgerEntry? entry = null) =>
        await InTransactionAsync(transaction =>
            StoredLedger.AppendAsync(transaction, entry ?? NewEntry(), CancellationToken.None));

    /// <summary>Appends so many entries and covers them with one checkpoint.</summary>
    public async Task<Checkpoint> GrowAsync(int entries)
    {
        await InTransactionAsync(transaction =>
            StoredLedger.AppendManyAsync(
                transaction, [.. Enumerable.Range(0, entries).Select(_ => NewEntry())], CancellationToken.None));
        var sequencer = NewSequencer();
        return (await sequencer.RunOnceAsync(CancellationToken.None))!;
    }

    public async Task<T> InTransactionAsync<T>(Func<NpgsqlTransaction, Task<T>> work)
    {
        await using var connection = await Gateway.OpenConnectionAsync();
        await using var transaction = await connection.BeginTransactionAsync();
        var result = await work(transaction);
        await transaction.CommitAsync();
        return result;
    }

    public async Task<Dictionary<long, IReadOnlyList<byte[]>>> ProofsAsync(long to, params long[] from)
    {
        await using var connection = await Gateway.OpenConnectionAsync();
        var (_, proofs) = await StoredLedger.ProofsAsync(connection, 0, from, to, CancellationToken.None);
        return new(proofs);
    }

    public Task<PeerObservation> ObserveAsync(
        LedgerDatabase peer, Checkpoint checkpoint, Dictionary<long, IReadOnlyList<byte[]>>? proofs = null) =>
        InTransactionAsync(transaction =>
            Peers.ObserveAsync(transaction, peer.LogKey.Verifier, checkpoint.Note, proofs ?? [], CancellationToken.None)
        );

    public Task<LedgerReport> VerifyAsync(params Checkpoint[] seen) =>
        LedgerVerifier.VerifyAsync(Gateway, LogKey.Verifier, seen, CancellationToken.None);

    public async Task<int> ExecuteAsync(string sql, params object[] values)
    {
        await using var command = Owner.CreateCommand(sql);
        foreach (var value in values)
        {
            command.Parameters.Add(new() { Value = value });
        }

        return await command.ExecuteNonQueryAsync();
    }

    public async Task<T> ScalarAsync<T>(string sql)
    {
        await using var command = Owner.CreateCommand(sql);
        return (T)(await command.ExecuteScalarAsync())!;
    }

    public async ValueTask DisposeAsync()
    {
        await Gateway.DisposeAsync();
        await Owner.DisposeAsync();
        LogKey.Dispose();
        CosignerKey.Dispose();
        Directory.Delete(_directory, recursive: true);
    }
}

/// <summary>A clock that stands still until it is told to go on.</summary>
internal sealed class ManualTime : TimeProvider
{
    private DateTimeOffset _now = new(2026, 3, 1, 8, 0, 0, TimeSpan.Zero);

    public override DateTimeOffset GetUtcNow() => _now;

    public void Advance(TimeSpan by) => _now += by;
}
