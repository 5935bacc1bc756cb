namespace SecureMail.Storage;

/// <summary>Keeps the lease of work in the database while the work is done.</summary>
public static class LeaseRenewal
{
    /// <summary>Renews four times within the lease until the work is finished.</summary>
    /// <param name="renew">Answers false when the lease is another's.</param>
    /// <param name="lost">Cancelled when the lease is lost, or may be over because the database did not answer.</param>
    /// <param name="finished">Cancelled by the caller at the end of the work.</param>
    public static async Task KeepAsync(
        TimeSpan lease, Func<CancellationToken, Task<bool>> renew, CancellationTokenSource lost, TimeProvider time,
        CancellationToken finished)
    {
        var failures = 0;
        while (!finished.IsCancellationRequested)
        {
            await Task.Delay(lease / 4, time, finished).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            if (finished.IsCancellationRequested)
            {
                return;
            }

            try
            {
                if (!await renew(finished))
                {
                    await lost.CancelAsync();
                    return;
                }

                failures = 0;
            }
            catch (Exception e)
                when (DatabaseFault.Is(e) || e is OperationCanceledException)
            {
                // Three renewals were missed, so the lease may end before the fourth.
                if (++failures >= 3)
                {
                    await lost.CancelAsync();
                    return;
                }
            }
        }
    }
}
