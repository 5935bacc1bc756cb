namespace SecureMail.Exchange;

/// <summary>What a dispatch does with those before it: <see cref="Manifest.RelatesTo"/>. A reader refuses an action
/// that it does not know.</summary>
public static class DispatchAction
{
    /// <summary>A document of its own.</summary>
    public const string New = "new";

    /// <summary>Asks that a dispatch be destroyed (thu hồi).</summary>
    public const string Recall = "recall";

    /// <summary>Adds to a dispatch (bổ sung).</summary>
    public const string Update = "update";

    /// <summary>Takes the place of a dispatch (thay thế).</summary>
    public const string Replace = "replace";

    /// <summary>Corrects a mistake of a dispatch (đính chính).</summary>
    public const string Correct = "correct";

    /// <summary>Every value.</summary>
    public static IReadOnlyList<string> All { get; } = [New, Recall, Update, Replace, Correct];
}
