using System.Security.Cryptography.X509Certificates;
using SecureMail.Exchange;

namespace SecureMail.Gateway.Inbound;

/// <summary>Ties a message to the agency that it names, by the directory: agency ↔ certificate ↔ address, in force at
/// the earliest time at which the signature is proven to have been there. The time that it claims may refuse, and never
/// admits. The idea is RFC 3183's.</summary>
internal static class SenderBinding
{
    /// <summary>The agency named, where the certificate that signed is one of its own and its address stands in
    /// From.</summary>
    /// <param name="use">What the certificate must be listed for: one of <see cref="CertificateUse"/>.</param>
    /// <param name="reason">Why there is none, as a code.</param>
    public static Agency? Find(ValidatedMessage validated, Guid named, string use, out string reason)
    {
        var directory = validated.Directory;
        reason = ReasonCode.SenderNotInDirectory;
        if (directory.Find(named) is not { } agency || validated.Signer is not { } certificate)
        {
            return null;
        }

        reason = IsListed(directory, certificate) ? ReasonCode.SenderBinding : ReasonCode.SenderNotInDirectory;
        var name = agency.NameAt(validated.ProvenAt);
        return
            name is not null
            && agency.IsInForce(validated.SignedAt)
            && string.Equals(name.Address, validated.From, StringComparison.OrdinalIgnoreCase)
            && agency.CertificatesFor(use)
                .Any(c => c.Is(certificate) && c.HoldsAt(validated.ProvenAt) && c.HoldsAt(validated.SignedAt))
            ? agency
            : null;
    }

    private static bool IsListed(DirectorySnapshot directory, X509Certificate2 certificate) =>
        directory.Agencies.Any(a =>
            a.Record.Certificates.Any(c => c.Der.AsSpan().SequenceEqual(certificate.RawDataMemory.Span)));
}
