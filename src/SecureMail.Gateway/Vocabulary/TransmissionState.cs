namespace SecureMail.Gateway.Vocabulary;

/// <summary>The states of a transmission: one dispatch or one receipt on its way to one recipient.</summary>
public static class TransmissionState
{
    /// <summary>The dispatch is not signed yet. Set when it is accepted.</summary>
    public const string Waiting = "waiting";

    /// <summary>The message is ready to be sent. Set by the queuing step, and for a receipt when it is
    /// signed.</summary>
    public const string Queued = "queued";

    /// <summary>The recipient's gateway took the message. Set after its answer 250 to DATA.</summary>
    public const string Sent = "sent";

    /// <summary>The connection broke after DATA, so the message may have arrived. Set by the sending step, which sends
    /// again.</summary>
    public const string Unknown = "unknown";

    /// <summary>The recipient's signed receipt says that the dispatch is in quarantine there. Not final. Set when the
    /// receipt is recorded.</summary>
    public const string Held = "held";

    /// <summary>The recipient's signed receipt says that the dispatch is in its inbox. Set when the receipt is
    /// recorded.</summary>
    public const string Acknowledged = "acknowledged";

    /// <summary>The recipient's signed receipt says that the dispatch was returned or destroyed. Set when the receipt
    /// is recorded.</summary>
    public const string Refused = "refused";

    /// <summary>The transmission is given up, with the reason. Set by the accepting, authorising, sending and giving-up
    /// steps.</summary>
    public const string Failed = "failed";

    /// <summary>Every value.</summary>
    public static IReadOnlyList<string> All { get; } =
        [Waiting, Queued, Sent, Unknown, Held, Acknowledged, Refused, Failed];
}
