namespace SecureMail.Host.Services;

/// <summary>
/// Holds back everything that writes by itself until a restored gateway is proven and the clocks were compared once.
/// </summary>
internal sealed class WorkGate
{
    private readonly TaskCompletionSource _opened = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public void Open() => _opened.TrySetResult();

    /// <exception cref="OperationCanceledException">The host stops before the gate opened.</exception>
    public Task WaitAsync(CancellationToken stop) => _opened.Task.WaitAsync(stop);
}
