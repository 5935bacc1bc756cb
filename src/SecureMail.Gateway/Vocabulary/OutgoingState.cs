namespace SecureMail.Gateway.Vocabulary;

/// <summary>The states of a dispatch in <c>gateway.outgoing</c>.</summary>
public static class OutgoingState
{
    /// <summary>The dispatch is registered under its number. Set when it is accepted.</summary>
    public const string Accepted = "accepted";

    /// <summary>The key or token that must sign is not available. Set by the signing step, with the reason.</summary>
    public const string AwaitingSignature = "awaiting-signature";

    /// <summary>The dispatch is signed, encrypted and queued for its recipients. Set by the queuing step.</summary>
    public const string Queued = "queued";

    /// <summary>Policy refuses the dispatch, or no recipient can be reached. Set by the authorising step, with the
    /// reason.</summary>
    public const string Refused = "refused";

    /// <summary>Every value.</summary>
    public static IReadOnlyList<string> All { get; } = [Accepted, AwaitingSignature, Queued, Refused];
}
