using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;

namespace SecureMail.Mail.Smtp;

/// <summary>
/// The settings of TLS for both sides. The platform builds a chain whatever one says: here it gets no trust, no network
/// and no revocation, and its opinion is not asked. A delegate alone judges, by pin.
/// </summary>
internal static class Tls
{
    public static SslServerAuthenticationOptions Server(
        X509Certificate2 certificate, Func<X509Certificate2, bool>? acceptPeer) =>
        new()
        {
            ServerCertificateContext = SslStreamCertificateContext.Create(
                certificate, additionalCertificates: null, offline: true),
            ClientCertificateRequired = acceptPeer is not null,
            EnabledSslProtocols = Protocols(mutual: acceptPeer is not null),
            CertificateRevocationCheckMode = X509RevocationMode.NoCheck,
            CertificateChainPolicy = NoChain(),
            // A resumed session shows no certificate to judge: a peer struck from the directory must not come back by
            // ticket.
            AllowTlsResume = acceptPeer is null,
            AllowRenegotiation = false,
            RemoteCertificateValidationCallback = (_, peer, _, _) =>
                acceptPeer is null || (peer is X509Certificate2 shown && acceptPeer(shown)),
        };

    public static SslClientAuthenticationOptions Client(
        string host, X509Certificate2? certificate, Func<X509Certificate2, bool> acceptServer) =>
        new()
        {
            TargetHost = host,
            ClientCertificateContext = certificate is null
                ? null
                : SslStreamCertificateContext.Create(certificate, additionalCertificates: null, offline: true),
            EnabledSslProtocols = Protocols(mutual: certificate is not null),
            CertificateRevocationCheckMode = X509RevocationMode.NoCheck,
            CertificateChainPolicy = NoChain(),
            AllowTlsResume = certificate is null,
            AllowRenegotiation = false,
            RemoteCertificateValidationCallback = (_, peer, _, _) =>
                peer is X509Certificate2 shown && acceptServer(shown),
        };

    // DESIGN §5: between gateways 1.3; with others 1.2 is still met.
    private static SslProtocols Protocols(bool mutual) =>
        mutual ? SslProtocols.Tls13 : SslProtocols.Tls12 | SslProtocols.Tls13;

    private static X509ChainPolicy NoChain() =>
        new()
        {
            TrustMode = X509ChainTrustMode.CustomRootTrust,
            DisableCertificateDownloads = true,
            RevocationMode = X509RevocationMode.NoCheck,
        };
}
