using System.ComponentModel;
using System.ComponentModel.DataAnnotations;

namespace SecureMail.Gateway.Keys;

/// <summary>What signatures are validated by: PEM or DER files, or folders of them.</summary>
[Category("Trust")]
public sealed record TrustOptions
{
    [DataType("files")]
    public IReadOnlyList<string> Anchors { get; init; } = [];

    [DataType("files")]
    public IReadOnlyList<string> Intermediates { get; init; } = [];

    [DataType("files")]
    public IReadOnlyList<string> Crls { get; init; } = [];

    /// <summary>Bytes of the revocation lists inside one message that are used, together.</summary>
    [Range(0, 64 << 20)]
    public int MaxEnclosedCrlBytes { get; init; } = 1 << 20;
}
