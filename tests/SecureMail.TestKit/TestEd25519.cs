using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using SecureMail.Cms;
using SecureMail.Libcrypto;

namespace SecureMail.TestKit;

/// <summary>An Ed25519 key and its certificate (RFC 8410), issued by a CA of <see cref="TestPki"/>; .NET has no type
/// for such a key.</summary>
public sealed record TestEd25519(X509Certificate2 Certificate, byte[] Seed)
{
    public static TestEd25519 Issue(TestPki pki, string subject, params string[] emails)
    {
        var seed = Ed25519.GenerateSeed();
        var key = new PublicKey(new Oid("1.3.101.112"), null, new AsnEncodedData(Ed25519.PublicKeyOf(seed)));
        TestIdentity issued = pki.Issue(subject, emails, TestKey.P256, publicKey: key);
        return new TestEd25519(issued.Certificate, seed);
    }

    /// <summary>PKCS#8 (RFC 8410 §7) in PEM.</summary>
    public string Pem =>
        PemEncoding.WriteString(
            "PRIVATE KEY",
            [0x30, 0x2E, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2B, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20, .. Seed]);

    public byte[] Sign(PreparedSignature prepared) => Ed25519.Sign(Seed, prepared.ToBeSigned.Span);
}
