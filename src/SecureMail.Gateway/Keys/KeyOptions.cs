using System.ComponentModel;
using System.ComponentModel.DataAnnotations;
using Microsoft.Extensions.Configuration;

namespace SecureMail.Gateway.Keys;

/// <summary>Where the gateway's own keys lie, and the tokens of its agencies.</summary>
public sealed record KeyOptions
{
    /// <summary>The folder of the gateway's own keys: ledger, cosigner, storage, and TLS unless configured.</summary>
    [Browsable(false)]
    public required string Folder { get; init; }

    /// <summary>PEM: the certificate that the gateway shows on both ends of TLS. The directory pins its key. Null: the
    /// one in the key folder.</summary>
    [ConfigurationKeyName("Tls:Certificate"), DataType("file")]
    public string? TlsCertificate { get; init; }

    /// <summary>PEM, mode 0600. Null: the one in the key folder.</summary>
    [ConfigurationKeyName("Tls:Key"), DataType("file")]
    public string? TlsKey { get; init; }

    public IReadOnlyList<TokenOptions> Tokens { get; init; } = [];
}

/// <summary>A token that holds keys of our agencies. The directory says, through its certificate, which agency a key
/// belongs to.</summary>
/// <param name="Uri">RFC 7512; names the token and its module:
/// <c>pkcs11:token=VanThu?module-path=/usr/lib/…</c>.</param>
/// <param name="PinFile">A file of mode 0600 that holds the PIN. Null: <paramref name="PinEnv"/> names a
/// variable.</param>
public sealed record TokenOptions(
    [property: Required] string Uri, [property: DataType("path")] string? PinFile = null, string? PinEnv = null);
