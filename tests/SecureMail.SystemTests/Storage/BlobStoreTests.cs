using System.Security.Cryptography;
using Npgsql;
using SecureMail.Gateway.Outbound;
using SecureMail.Host.Schema;
using SecureMail.Storage;

namespace SecureMail.SystemTests.Storage;

public sealed class BlobStoreTests(PostgresFixture postgres) : IClassFixture<PostgresFixture>, IAsyncLifetime
{
    private readonly string _keys = Directory.CreateTempSubdirectory("smkeys").FullName;
    private NpgsqlDataSource _database = null!;
    private NpgsqlDataSource _owner = null!;

    public async Task InitializeAsync()
    {
        var owner = await postgres.CreateDatabaseAsync();
        await HostSchema.Migrator.MigrateAsync(owner, CancellationToken.None);
        _owner = NpgsqlDataSource.Create(owner);
        _database = NpgsqlDataSource.Create(PostgresFixture.AsGateway(owner));
    }

    public async Task DisposeAsync()
    {
        await _database.DisposeAsync();
        await _owner.DisposeAsync();
        Directory.Delete(_keys, recursive: true);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(BlobRow.Size - 1)]
    [InlineData(BlobRow.Size)]
    [InlineData(BlobRow.Size + 1)]
    [InlineData(4 * BlobRow.Size)]
    public async Task A_blob_is_read_as_it_was_written_from_any_place(int size)
    {
        var (blobs, octets) = (Open(), RandomNumberGenerator.GetBytes(size));
        var stored = await WriteAsync(blobs, octets);
        stored.Length.ShouldBe(size);
        stored.Sha256.ShouldBe(SHA256.HashData(octets));
        (await blobs.ReadAllAsync(stored.Id, size, CancellationToken.None)).ShouldBe(octets);
        await using var stream = await blobs.OpenAsync(stored.Id, CancellationToken.None);
        foreach (var at in new[] { 0, size / 2, Math.Max(0, size - 1), Math.Min(size, BlobRow.Size), size, size + 10 })
        {
            stream.Seek(at, SeekOrigin.Begin).ShouldBe(at);
            using var rest = new MemoryStream();
            await stream.CopyToAsync(rest);
            rest.ToArray().ShouldBe(octets[Math.Min(at, size)..]);
        }

        if (size > 0)
        {
            await Should.ThrowAsync<InvalidDataException>(() =>
                blobs.ReadAllAsync(stored.Id, size - 1, CancellationToken.None));
        }
    }

    [Fact]
    public async Task A_message_behind_another_head_is_taken_up_at_its_body_and_nothing_before_is_read()
    {
        var (blobs, octets, head) = (
            Open(), RandomNumberGenerator.GetBytes((3 * BlobRow.Size) + 5), RandomNumberGenerator.GetBytes(1000));
        const int Cut = BlobRow.Size + 70;
        var stored = await WriteAsync(blobs, octets);
        await OwnerAsync($"DELETE FROM gateway.blob_chunk WHERE blob_id = '{stored.Id}' AND n = 0");
        await using var message = new ConcatenatedStream(
            head, await blobs.OpenAsync(stored.Id, CancellationToken.None), Cut);
        byte[] expected = [.. head, .. octets[Cut..]];
        message.Length.ShouldBe(expected.Length);
        // Read twice, as SMTP's client does, and from places of both pieces.
        foreach (var at in new[] { 0, 0, 999, 1000, expected.Length })
        {
            message.Position = at;
            using var rest = new MemoryStream();
            await message.CopyToAsync(rest);
            rest.ToArray().ShouldBe(expected[at..]);
        }

        await using var whole = new ConcatenatedStream([], await blobs.OpenAsync(stored.Id, CancellationToken.None), 0);
        await Should.ThrowAsync<InvalidDataException>(() => whole.ReadAsync(new byte[1]).AsTask());
    }

    [Fact]
    public async Task What_was_not_finished_or_not_committed_is_not_there()
    {
        var blobs = Open();
        await using var connection = await _database.OpenConnectionAsync();
        Guid finished;
        await using (var transaction = await connection.BeginTransactionAsync())
        {
            finished = (await blobs.WriteAsync(transaction, new MemoryStream(new byte[10]), CancellationToken.None)).Id;
            await transaction.RollbackAsync();
        }

        await Should.ThrowAsync<InvalidDataException>(() => blobs.OpenAsync(finished, CancellationToken.None));
        // A parent that was never written: the rows cannot be committed alone.
        await using var alone = await connection.BeginTransactionAsync();
        await using var writer = blobs.Create(alone);
        await writer.Content.WriteAsync(new byte[BlobRow.Size + 1]);
        (await Should.ThrowAsync<PostgresException>(() => alone.CommitAsync())).SqlState.ShouldBe(
            PostgresErrorCodes.ForeignKeyViolation);
        (await OwnerAsync("SELECT count(*) FROM gateway.blob_chunk")).ShouldBe(0L);
    }

    [Theory]
    [InlineData(
        "UPDATE gateway.blob_chunk SET n = CASE n WHEN 0 THEN 100 ELSE 101 END WHERE n < 2 AND blob_id = @b; "
            + "UPDATE gateway.blob_chunk SET n = 101 - n WHERE n >= 100 AND blob_id = @b"
    )]
    [InlineData("DELETE FROM gateway.blob_chunk WHERE n = 1 AND blob_id = @b")]
    [InlineData("UPDATE gateway.blob_chunk SET octets = substring(octets for 100) WHERE n = 0 AND blob_id = @b")]
    [InlineData("UPDATE gateway.blob_chunk SET octets = ''::bytea WHERE n = 0 AND blob_id = @b")]
    [InlineData(
        "UPDATE gateway.blob_chunk SET octets = set_byte(octets, 5, get_byte(octets, 5) # 1) WHERE n = 0 AND "
            + "blob_id = @b"
    )]
    [InlineData(
        "DELETE FROM gateway.blob_chunk WHERE n = 2 AND blob_id = @b; UPDATE gateway.blob SET length = 2 * "
            + "262144 WHERE blob_id = @b"
    )]
    [InlineData("UPDATE gateway.blob SET length = 0 WHERE blob_id = @b")]
    [InlineData("UPDATE gateway.blob SET length = length - 1 WHERE blob_id = @b")]
    [InlineData("UPDATE gateway.blob SET length = length + 262144 WHERE blob_id = @b")]
    [InlineData(
        "UPDATE gateway.blob_chunk c SET octets = o.octets FROM gateway.blob_chunk o WHERE c.blob_id = @b AND "
            + "o.blob_id = @o AND c.n = o.n"
    )]
    [InlineData(
        "UPDATE gateway.blob c SET wrapped_key = o.wrapped_key FROM gateway.blob o WHERE c.blob_id = @b AND "
            + "o.blob_id = @o"
    )]
    [InlineData("UPDATE gateway.blob SET wrapped_key = ''::bytea WHERE blob_id = @b")]
    [InlineData("UPDATE gateway.blob SET storage_key = 'storage-9999' WHERE blob_id = @b")]
    public async Task A_blob_changed_in_the_database_is_refused(string damage)
    {
        var blobs = Open();
        var stored = await WriteAsync(blobs, RandomNumberGenerator.GetBytes((2 * BlobRow.Size) + 100));
        var other = await WriteAsync(blobs, RandomNumberGenerator.GetBytes((2 * BlobRow.Size) + 100));
        await OwnerAsync(
            damage
                .Replace("@b", $"'{stored.Id}'", StringComparison.Ordinal)
                .Replace("@o", $"'{other.Id}'", StringComparison.Ordinal));
        (
            await Should.ThrowAsync<Exception>(() =>
                blobs.ReadAllAsync(stored.Id, int.MaxValue, CancellationToken.None))
        ).ShouldSatisfyAllConditions(IsRefusal);
        Should
            .Throw<Exception>(() =>
            {
                using var stream = blobs.Open(stored.Id);
                stream.CopyTo(Stream.Null);
            })
            .ShouldSatisfyAllConditions(IsRefusal);

        static void IsRefusal(Exception e) =>
            (e is InvalidDataException or SecretFileException).ShouldBeTrue(e.Message);
    }

    [Fact]
    public async Task A_new_storage_key_wraps_what_is_new_and_what_is_old_stays_readable()
    {
        var first = await WriteAsync(Open(), [1, 2, 3]);
        var path = Path.Combine(_keys, "storage-0002.key");
        await File.WriteAllBytesAsync(path, RandomNumberGenerator.GetBytes(32));
        File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        var rotated = Open();
        var second = await WriteAsync(rotated, [4, 5, 6]);
        (await OwnerAsync($"SELECT storage_key FROM gateway.blob WHERE blob_id = '{second.Id}'")).ShouldBe(
            "storage-0002");
        (await rotated.ReadAllAsync(first.Id, 10, CancellationToken.None)).ShouldBe([1, 2, 3]);
        (await rotated.ReadAllAsync(second.Id, 10, CancellationToken.None)).ShouldBe([4, 5, 6]);

        // Without the old key, or with another one under its name, what it wrapped is lost: nobody reads it with the
        // database alone.
        await File.WriteAllBytesAsync(Path.Combine(_keys, "storage-0001.key"), RandomNumberGenerator.GetBytes(32));
        (
            await Should.ThrowAsync<SecretFileException>(() =>
                Open().ReadAllAsync(first.Id, 10, CancellationToken.None))
        ).Fault.ShouldBe(SecretFileFault.KeyWrong);
        File.Delete(Path.Combine(_keys, "storage-0001.key"));
        (
            await Should.ThrowAsync<SecretFileException>(() =>
                Open().ReadAllAsync(first.Id, 10, CancellationToken.None))
        ).Fault.ShouldBe(SecretFileFault.KeyAbsent);
        (await Open().ReadAllAsync(second.Id, 10, CancellationToken.None)).ShouldBe([4, 5, 6]);
    }

    [Fact]
    public async Task A_key_file_that_is_damaged_or_open_to_others_is_refused()
    {
        var path = Path.Combine(_keys, "storage-0001.key");
        Open();
        File.GetUnixFileMode(path).ShouldBe(UnixFileMode.UserRead | UnixFileMode.UserWrite);
        File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.GroupRead);
        Should.Throw<SecretFileException>(() => Open()).Message.ShouldContain("0600");
        File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        await File.WriteAllBytesAsync(path, new byte[31]);
        Should.Throw<SecretFileException>(() => Open()).Message.ShouldContain("storage-0001.key");
    }

    private BlobStore Open() => new(_database, StorageKeys.Open(_keys));

    private async Task<StoredBlob> WriteAsync(BlobStore blobs, byte[] octets)
    {
        await using var connection = await _database.OpenConnectionAsync();
        await using var transaction = await connection.BeginTransactionAsync();
        var stored = await blobs.WriteAsync(transaction, new MemoryStream(octets), CancellationToken.None);
        await transaction.CommitAsync();
        return stored;
    }

    private async Task<object?> OwnerAsync(string sql)
    {
        await using var command = _owner.CreateCommand(sql);
        return await command.ExecuteScalarAsync();
    }
}
