namespace SecureMail.Gateway.Vocabulary;

/// <summary>What became of a number of the register of outgoing documents.</summary>
public static class NumberState
{
    /// <summary>A dispatch has it.</summary>
    public const string Used = "used";

    /// <summary>Hủy số: it was drawn and not issued.</summary>
    public const string Cancelled = "cancelled";

    /// <summary>It is that of a document with a mark of secrecy, which stands in a register of its own.</summary>
    public const string Reserved = "reserved";

    /// <summary>Every value.</summary>
    public static IReadOnlyList<string> All { get; } = [Used, Cancelled, Reserved];
}
