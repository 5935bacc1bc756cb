namespace SecureMail.Gateway.Vocabulary;

/// <summary>Where a recorded message went: the column <c>place</c> of <c>gateway.incoming</c>.</summary>
public static class Disposition
{
    /// <summary>A new, valid dispatch for the agency; it has an arrival number. Set by the recording step.</summary>
    public const string Inbox = "inbox";

    /// <summary>A person must decide about the message. Set by the recording step, with the reason.</summary>
    public const string Quarantine = "quarantine";

    /// <summary>A valid dispatch that the agency does not take: for another agency, or marked secret. Set by the
    /// recording step.</summary>
    public const string Returned = "returned";

    /// <summary>A dispatch that came before with the same content. Set by the recording step.</summary>
    public const string Duplicate = "duplicate";

    /// <summary>A receipt that belongs to a transmission of ours. Set by the recording step.</summary>
    public const string Matched = "matched";

    /// <summary>Every value.</summary>
    public static IReadOnlyList<string> All { get; } = [Inbox, Quarantine, Returned, Duplicate, Matched];
}
