namespace SecureMail.Gateway.Vocabulary;

/// <summary>What a notice to a clerk reports: the actions of RFC 3464 §2.3.3 that occur here, and one of our
/// own.</summary>
public static class NoticeAction
{
    /// <summary>The transmission has not left in the time allowed; it is still tried. Set by the giving-up
    /// step.</summary>
    public const string Delayed = "delayed";

    /// <summary>The transmission is given up. Set by the authorising, sending and giving-up steps.</summary>
    public const string Failed = "failed";

    /// <summary>The transmission was sent and no receipt came in the time allowed. Set by the overdue step.</summary>
    public const string Overdue = "overdue";

    /// <summary>Every value.</summary>
    public static IReadOnlyList<string> All { get; } = [Delayed, Failed, Overdue];
}
