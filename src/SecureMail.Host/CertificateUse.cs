using System.Security.Cryptography.X509Certificates;
using SecureMail.Cms;
using SecureMail.Host.Words;

namespace SecureMail.Host;

/// <summary>
/// What a file command checks of a certificate before it works with its key: its dates and its key usage. Not its path,
/// which the reader validates by its own anchors.
/// </summary>
internal static class CertificateUse
{
    /// <exception cref="NotPermittedException">It is not valid now.</exception>
    public static void RequireValid(X509Certificate2 certificate, DateTimeOffset now)
    {
        if (now.UtcDateTime < certificate.NotBefore.ToUniversalTime()
            || now.UtcDateTime > certificate.NotAfter.ToUniversalTime())
        {
            throw new NotPermittedException(
                Phrase.Of(
                    "certificate.not-valid",
                    certificate.Subject,
                    certificate.NotBefore.ToUniversalTime(),
                    certificate.NotAfter.ToUniversalTime()));
        }
    }

    /// <exception cref="NotPermittedException">It is not valid now, or was not issued for encryption.</exception>
    public static void RequireEncryption(X509Certificate2 certificate, DateTimeOffset now)
    {
        RequireValid(certificate, now);
        // RFC 5280 §4.2.1.3: no extension allows everything.
        if (
            certificate
                .Extensions.OfType<X509KeyUsageExtension>()
                .Any(u => (u.KeyUsages & EnvelopeRecipient.RequiredKeyUsage(certificate)) == X509KeyUsageFlags.None))
        {
            throw new NotPermittedException(Phrase.Of("certificate.not-for-encryption", certificate.Subject));
        }
    }
}

/// <summary>What was asked may not be done.</summary>
internal sealed class NotPermittedException(string message) : Exception(message);
