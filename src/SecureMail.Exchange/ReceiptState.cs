namespace SecureMail.Exchange;

/// <summary>What became of a dispatch at its addressee: the values of <c>state</c> of a receipt.</summary>
public static class ReceiptState
{
    /// <summary>It is in the inbox and waits for a person to take it in.</summary>
    public const string Arrived = "arrived";

    /// <summary>It is in quarantine. Not final.</summary>
    public const string Held = "held";

    /// <summary>A person took it in; it has an arrival number.</summary>
    public const string Registered = "registered";

    /// <summary>It was returned.</summary>
    public const string Returned = "returned";

    /// <summary>It was destroyed, because its sender recalled it.</summary>
    public const string Destroyed = "destroyed";

    /// <summary>Every value.</summary>
    public static IReadOnlyList<string> All { get; } = [Arrived, Held, Registered, Returned, Destroyed];

    /// <summary>The event of ETSI EN 319 522-1 that goes with a state; null for a text that is none.</summary>
    public static string? EventOf(string state) =>
        state switch
        {
            Arrived or Registered => ReceiptEvent.ContentConsignment,
            Held => ReceiptEvent.ContentConsignmentFailure,
            Returned or Destroyed => ReceiptEvent.RelayRejection,
            _ => null,
        };
}
