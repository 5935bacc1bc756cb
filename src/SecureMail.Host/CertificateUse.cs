using System.Security.Cryptography.X509Certificates;
using SecureMail.Cms;

namespace SecureMail.Host;

/// <summary>
/// What a file command checks of a certificate before it works with its key: its dates and its key usage. Not its path,
/// which the reader judges by its own anchors.
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
                $"Chứng thư {certificate.Subject} không trong thời hạn hiệu lực "
                    + $"({certificate.NotBefore.ToUniversalTime():u} – {certificate.NotAfter.ToUniversalTime():u}); hãy "
                    + $"dùng chứng thư còn hạn. / The certificate is not valid now: use one that is.");
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
            throw new NotPermittedException(
                $"Chứng thư {certificate.Subject} không được cấp để mã hóa; hãy dùng chứng thư mã hóa của nơi nhận. / "
                    + $"The certificate was not issued for encryption: use the recipient's encryption certificate.");
        }
    }
}

/// <summary>What was asked may not be done.</summary>
internal sealed class NotPermittedException(string message) : Exception(message);
