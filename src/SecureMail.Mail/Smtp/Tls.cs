using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;

namespace SecureMail.Mail.Smtp;

/// <summary>
/// TLS settings for both sides. The platform always builds a certificate chain. Here it builds one without trust,
/// network and revocation, and its result is ignored: only a delegate accepts a peer's certificate, by pin.
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
            // A resumed session presents no certificate, so a peer removed from the directory could return with a
            // session ticket.
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

    // DESIGN §5: TLS 1.3 between gateways. TLS 1.2 is allowed with other servers, because some do not support 1.3.
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
