namespace SecureMail.Gateway.Keys;

/// <summary>What signatures are validated by: PEM or DER files, or folders of them.</summary>
public sealed record TrustOptions
{
    public IReadOnlyList<string> Anchors { get; init; } = [];

    public IReadOnlyList<string> Intermediates { get; init; } = [];

    public IReadOnlyList<string> Crls { get; init; } = [];
}
