using SecureMail.Gateway.Vocabulary;
using SecureMail.Ledger;
using SecureMail.Storage;

namespace SecureMail.Gateway.Jobs;

/// <summary>The jobs as people see them: asked for, listed, shown.</summary>
public sealed class JobRegister
{
    private readonly JobTable _table;
    private readonly StorageKeyRotation _rotation;

    internal JobRegister(JobTable table, StorageKeyRotation rotation) => (_table, _rotation) = (table, rotation);

    /// <summary>Asks for a job; a serving gateway does it. While one of the same kind is not at its end, that one is
    /// answered.</summary>
    /// <param name="kind">A <see cref="JobKind"/> without an argument.</param>
    public Task<Guid> RequestAsync(string kind, Authority by, CancellationToken cancellationToken) =>
        _table.RequestAsync(kind, argument: null, by, cancellationToken);

    /// <summary>Makes a storage key in this node's folder, and asks for the job that moves everything to it.</summary>
    /// <param name="makeKey">False: move to the current key.</param>
    public Task<Guid> RequestRotationAsync(bool makeKey, Authority by, CancellationToken cancellationToken) =>
        // After a crash in between, the key is there and nothing lies under it: the same with makeKey false goes on.
        _table.RequestAsync(JobKind.StorageRotation, _rotation.Prepare(makeKey), by, cancellationToken);

    /// <summary>Does the same at once and in this process.</summary>
    public async Task<RotationAnswer> RotateAsync(bool makeKey, Authority by, CancellationToken cancellationToken)
    {
        await _table.RecordRotationAsync(_rotation.Prepare(makeKey), by, cancellationToken);
        return await _rotation.RotateAsync(makeKey: false, cancellationToken);
    }

    /// <summary>The newest first.</summary>
    public Task<IReadOnlyList<JobRow>> ListAsync(int limit, CancellationToken cancellationToken) =>
        _table.ListAsync(limit, cancellationToken);

    /// <summary>Null: there is no such job.</summary>
    public Task<JobRow?> FindAsync(Guid id, CancellationToken cancellationToken) =>
        _table.FindAsync(id, cancellationToken);
}
