using SecureMail.Gateway.Vocabulary;
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
    public Task<Guid> RequestAsync(string kind, CancellationToken cancellationToken) =>
        _table.RequestAsync(kind, argument: null, person: null, cancellationToken);

    /// <summary>Makes a storage key in this node's folder, and asks for the job that moves everything to it.</summary>
    /// <param name="makeKey">False: move to the current key.</param>
    public Task<Guid> RequestRotationAsync(bool makeKey, CancellationToken cancellationToken) =>
        // After a crash in between, the key is there and nothing lies under it: the same with makeKey false goes on.
        _table.RequestAsync(
            JobKind.StorageRotation, _rotation.Prepare(makeKey), person: null, cancellationToken);

    /// <summary>Has dispatches signed at once that a person released (<c>queue retry</c>).</summary>
    public Task SignReleasedAsync(CancellationToken cancellationToken) => _table.SignReleasedAsync(cancellationToken);

    /// <summary>The newest first.</summary>
    public Task<IReadOnlyList<JobRow>> ListAsync(int limit, CancellationToken cancellationToken) =>
        _table.ListAsync(limit, cancellationToken);

    /// <summary>Null: there is no such job.</summary>
    public Task<JobRow?> FindAsync(Guid id, CancellationToken cancellationToken) =>
        _table.FindAsync(id, cancellationToken);
}
