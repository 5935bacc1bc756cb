namespace SecureMail.Gateway.Vocabulary;

/// <summary>What a received message is, as the acceptance policy found it.</summary>
public static class MessageKind
{
    /// <summary>A signed dispatch in the format of docs/formats.md.</summary>
    public const string Dispatch = "dispatch";

    /// <summary>A signed receipt for a dispatch of ours.</summary>
    public const string Receipt = "receipt";

    /// <summary>Anything else, and everything whose signature is not valid.</summary>
    public const string Other = "other";

    /// <summary>Every value.</summary>
    public static IReadOnlyList<string> All { get; } = [Dispatch, Receipt, Other];
}
