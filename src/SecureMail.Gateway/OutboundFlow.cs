using Npgsql;
using SecureMail.Gateway.Clock;
using SecureMail.Gateway.Health;
using SecureMail.Gateway.Keys;
using SecureMail.Gateway.Outbound;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Storage;
using SecureMail.Storage.Queue;

namespace SecureMail.Gateway;

/// <summary>
/// What goes out, in order: accept → authorise → sign → compose → enqueue → send → (the peer's receipt) acknowledge.
/// Each step takes what the one before it made, so none can be left out. Durable between them: accepted, awaiting
/// signature, queued, sent or unknown, acknowledged; everything else is done in one run and done again after a crash.
/// </summary>
internal sealed class OutboundFlow(
    GatewayDatabase database, BlobStore blobs, Accept accept, Authorise authorise, Sign sign, Enqueue enqueue,
    Send send, AgencyKeys keys, ClockWatch clock, Admission admission)
{
    /// <summary>Submission → accepted. When this returns, the dispatch is durable.</summary>
    /// <exception cref="SubmissionRefusedException">The dispatch cannot be sent; nothing was kept.</exception>
    /// <exception cref="StorageUnavailableException">New work is not taken now, or the database went away or filled
    /// meanwhile; nothing was kept.</exception>
    public async Task<SubmissionAnswer> SubmitAsync(Submission submission, CancellationToken cancellationToken)
    {
        await admission.RequireForSubmissionAsync(cancellationToken);
        try
        {
            return await accept.AcceptAsync(submission, cancellationToken);
        }
        // Not every DatabaseFault: an IOException may be that of a document that the caller cannot read.
        catch (Exception e) when (e is NpgsqlException or TimeoutException)
        {
            if (DatabaseFault.IsDiskFull(e))
            {
                admission.SawDiskFull();
            }

            throw StorageUnavailableException.Of(e);
        }
    }

    /// <summary>Work of <see cref="WorkKind.SignAndEncrypt"/>: accepted → queued.</summary>
    public async Task<WorkOutcome> SignAndEncryptAsync(WorkItem item, CancellationToken cancellationToken)
    {
        if (clock.IsDoubted)
        {
            // No signature may bear a time that is known to be doubtful, and no certificate may count as expired
            // because a clock is wrong.
            await sign.AwaitAsync(item.Subject, ClockSuspectException.Code, cancellationToken);
            return new WorkOutcome.Snooze(clock.AskAgain, ClockSuspectException.Code);
        }

        var accepted = await AcceptedDispatch.LoadAsync(database, blobs, item.Subject, cancellationToken);
        var authorised = accepted is null ? null : await authorise.AuthoriseAsync(accepted, cancellationToken);
        if (authorised is null)
        {
            return await item.DropAsync(database.Source, cancellationToken);
        }

        try
        {
            if (item.ActedAt is { } acted)
            {
                keys.PersonActed(acted);
            }

            await using var signed = await sign.SignAsync(authorised, cancellationToken);
            await using var composed = await Compose.ComposeAsync(signed, cancellationToken);
            await enqueue.EnqueueAsync(composed, item, cancellationToken);
            return new WorkOutcome.Done();
        }
        catch (KeyUnavailableException e)
        {
            await sign.AwaitAsync(authorised.Accepted.Id, e.Code, cancellationToken);
            return e.NeedsPerson ? new WorkOutcome.Hold(e.Code) : new WorkOutcome.Retry(e.Code);
        }
        catch (SelfCheckException e)
        {
            await sign.AwaitAsync(authorised.Accepted.Id, e.Code, cancellationToken);
            return new WorkOutcome.Hold(e.Code);
        }
    }

    /// <summary>Work of <see cref="WorkKind.Send"/>: queued → sent or unknown.</summary>
    public Task<WorkOutcome> SendAsync(WorkItem item, CancellationToken cancellationToken) =>
        send.SendAsync(item, cancellationToken);
}
