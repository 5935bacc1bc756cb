namespace SecureMail.Exchange;

/// <summary>What a document is in its dispatch: <see cref="DocumentDigest.Role"/>.</summary>
public static class DocumentRole
{
    /// <summary>The document that the number is of.</summary>
    public const string Main = "main";

    /// <summary>An attachment (phụ lục, văn bản kèm theo).</summary>
    public const string Attachment = "attachment";

    /// <summary>Every value.</summary>
    public static IReadOnlyList<string> All { get; } = [Main, Attachment];
}

/// <summary>What kind of a certified copy a document is (Decree 30/2020 art. 25): <see cref="DocumentDigest.Copy"/>. An
/// original is none.</summary>
public static class DocumentCopy
{
    /// <summary>The whole of an original, by its issuer (sao y).</summary>
    public const string SaoY = "sao-y";

    /// <summary>The whole of a copy, by a receiver (sao lục).</summary>
    public const string SaoLuc = "sao-luc";

    /// <summary>A part (trích sao).</summary>
    public const string TrichSao = "trich-sao";

    /// <summary>Every value.</summary>
    public static IReadOnlyList<string> All { get; } = [SaoY, SaoLuc, TrichSao];
}
