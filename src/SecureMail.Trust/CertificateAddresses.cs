using System.Security.Cryptography.X509Certificates;

namespace SecureMail.Trust;

/// <summary>
/// The mail addresses in a certificate: rfc822Name and SmtpUTF8Mailbox (RFC 9598), and emailAddress in the subject (RFC
/// 8550 §3).
/// </summary>
public static class CertificateAddresses
{
    /// <summary>The addresses as written; empty when there is none or the certificate cannot be read.</summary>
    public static IReadOnlyList<string> Of(X509Certificate2 certificate) =>
        ParsedCertificate.TryRead(certificate) is { } parsed ? [.. parsed.Emails] : [];

    /// <summary>
    /// Whether the certificate contains an address. The local part is compared exactly (RFC 5280 §7.5). The domain is
    /// compared without case and in A-labels, so that <c>văn.vn</c> equals <c>xn--vn-hoa.vn</c>.
    /// </summary>
    /// <param name="certificate">The signer's certificate.</param>
    /// <param name="address">A bare address, <c>local@domain</c>, without a display name.</param>
    public static bool Contains(X509Certificate2 certificate, string address) =>
        EmailAddress.Parse(address) is { } wanted && Of(certificate).Any(own => EmailAddress.Parse(own) == wanted);
}
