using System.Net.Security;
using System.Runtime.CompilerServices;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;

namespace SecureMail.Mail.Smtp;

/// <summary>
/// TLS settings for both sides. The platform always builds a certificate chain. Here it builds one without trust,
/// network and revocation, and its result is ignored: only a delegate accepts a peer's certificate, by pin.
/// </summary>
internal static class Tls
{
    // To make a context costs as much as the handshake.
    private static readonly ConditionalWeakTable<X509Certificate2, SslStreamCertificateContext> Contexts = [];

    public static SslServerAuthenticationOptions Server(
        X509Certificate2 certificate, Func<X509Certificate2, bool>? acceptPeer) =>
        new()
        {
            ServerCertificateContext = ContextOf(certificate),
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
            ClientCertificateContext = certificate is null ? null : ContextOf(certificate),
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

    private static SslStreamCertificateContext ContextOf(X509Certificate2 certificate) =>
        Contexts.GetValue(
            certificate,
            static c => SslStreamCertificateContext.Create(c, additionalCertificates: null, offline: true));

    private static X509ChainPolicy NoChain() =>
        new()
        {
            TrustMode = X509ChainTrustMode.CustomRootTrust,
            DisableCertificateDownloads = true,
            RevocationMode = X509RevocationMode.NoCheck,
        };
}
