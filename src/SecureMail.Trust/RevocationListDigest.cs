namespace SecureMail.Trust;

/// <summary>What tells one CRL from others.</summary>
/// <param name="Sha256">SHA-256 of the encoded list.</param>
/// <param name="Scope">SHA-256 of what the list is about: its issuer, its distribution point (RFC 5280 §5.2.5), and
/// whether it is a delta CRL. A later list of the same scope replaces an earlier one.</param>
/// <param name="ThisUpdate">When its issuer made it.</param>
public sealed record RevocationListDigest(byte[] Sha256, byte[] Scope, DateTimeOffset ThisUpdate);
