using SecureMail.Storage.Queue;

namespace SecureMail.Gateway.Vocabulary;

/// <summary>The kinds of work in <c>gateway.work</c>. The stored names are older than the names used here.</summary>
public static class WorkKind
{
    /// <summary>Signs an accepted dispatch, encrypts it and queues its transmissions. Enqueued when a dispatch is
    /// accepted.</summary>
    public const string SignAndEncrypt = "seal";

    /// <summary>Sends one transmission to its destination. Enqueued when a dispatch or a receipt is queued.</summary>
    public const string Send = DestinationQueues.KindOfWork;

    /// <summary>Validates a received message and records it. Enqueued when a message is received.</summary>
    public const string Validate = "judge";

    /// <summary>Signs the receipt that is due for a recorded dispatch. Enqueued when the dispatch is
    /// recorded.</summary>
    public const string SendReceipt = "receipt";

    /// <summary>A timer: marks what is overdue, late, or too old to be sent. Started by every node.</summary>
    public const string Overdue = "overdue";

    /// <summary>A timer: raises the alarm over peers' checkpoints that no proof joins. Started by every node.</summary>
    public const string PeerAlarms = "peer-alarms";

    /// <summary>A timer: asks again for jobs that nobody does. Started by every node.</summary>
    public const string LostJobs = "lost-jobs";

    /// <summary>Validates a quarantined message again, because what it waits for came. Enqueued by
    /// <see cref="Arrivals"/>.</summary>
    public const string ValidateAgain = "judge-again";

    /// <summary>A timer: looks what came that quarantined messages wait for. Started by every node.</summary>
    public const string Arrivals = "awaited-arrivals";

    /// <summary>Every value.</summary>
    public static IReadOnlyList<string> All { get; } =
        [SignAndEncrypt, Send, Validate, SendReceipt, Overdue, PeerAlarms, LostJobs, ValidateAgain, Arrivals];
}
