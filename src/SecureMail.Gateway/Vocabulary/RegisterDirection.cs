namespace SecureMail.Gateway.Vocabulary;

/// <summary>The two registers of an agency.</summary>
public static class RegisterDirection
{
    /// <summary>Sổ đăng ký văn bản đi.</summary>
    public const string Outgoing = "outgoing";

    /// <summary>Sổ đăng ký văn bản đến.</summary>
    public const string Incoming = "incoming";

    /// <summary>Every value.</summary>
    public static IReadOnlyList<string> All { get; } = [Outgoing, Incoming];
}
