using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using SecureMail.Trust;

namespace SecureMail.Tests.Trust;

/// <summary>Certificates and CRLs in files as authorities and editors leave them.</summary>
public sealed class TrustFileTests : IDisposable
{
    private static readonly TestPki Pki = TestPki.Shared;
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("trustfile");

    public void Dispose() => _folder.Delete(recursive: true);

    public static TheoryData<string, Func<string, byte[]>> Forms() =>
        new()
        {
            { "as it is", Encoding.ASCII.GetBytes },
            { "line ends of Windows", s => Encoding.ASCII.GetBytes(s.Replace("\n", "\r\n", StringComparison.Ordinal)) },
            { "UTF-8 with a byte order mark", s => [0xEF, 0xBB, 0xBF, .. Encoding.UTF8.GetBytes(s)] },
            { "UTF-16 little endian", s => [0xFF, 0xFE, .. Encoding.Unicode.GetBytes(s)] },
            { "UTF-16 big endian", s => [0xFE, 0xFF, .. Encoding.BigEndianUnicode.GetBytes(s)] },
            { "text around", s => Encoding.UTF8.GetBytes($"Chứng thư số của cơ quan:\n{s}\n-- hết --\n") },
        };

    [Theory]
    [MemberData(nameof(Forms))]
    public void PEM_is_read_in_every_form(string what, Func<string, byte[]> write)
    {
        var certificate = Write("c.pem", write(Pki.Root.Certificate.ExportCertificatePem() + "\n"));
        var crl = Write("c.crl", write(PemEncoding.WriteString("X509 CRL", Pki.Crl()) + "\n"));
        var bag = Write("c.p7b", write(PemEncoding.WriteString("PKCS7", Bag()) + "\n"));
        var material = TrustMaterial.Load([certificate], [bag], [crl]);
        material.Anchors.ShouldHaveSingleItem(what).RawData.ShouldBe(Pki.Root.Certificate.RawData);
        material.Intermediates.Select(c => c.Subject).ShouldBe(
            [Pki.Ca.Subject, Pki.Root.Subject], ignoreOrder: true, customMessage: what);
        material.CrlCount.ShouldBe(1, what);
    }

    [Fact]
    public void A_bag_of_certificates_is_read_in_DER_and_its_CRLs_too()
    {
        var bag = Write("c.p7b", Bag());
        TrustMaterial.LoadCertificates(bag).Count.ShouldBe(2);
        TrustMaterial.LoadCertificates(_folder.FullName).Count.ShouldBe(2);
        Should.Throw<InvalidDataException>(() => TrustMaterial.Load([bag], [], [bag]));
        var withCrl = Write("crl.p7b", WithCrl(Pki.Crl()));
        TrustMaterial.Load([bag], [], [withCrl]).CrlCount.ShouldBe(1);
    }

    [Fact]
    public void A_bag_under_the_label_of_a_certificate_is_a_bag()
    {
        var bag = Write("c.pem", Encoding.ASCII.GetBytes(PemEncoding.WriteString("CERTIFICATE", Bag())));
        TrustMaterial.LoadCertificates(bag).Count.ShouldBe(2);
    }

    [Fact]
    public void What_is_no_bag_holds_nothing()
    {
        var truncated = Bag()[..^40];
        foreach (var data in new[] { truncated, [0x30, 0x00], [0x30, 0x03, 0x02, 0x01, 0x01], [0xEF, 0xBB, 0xBF], [] })
        {
            Should.Throw<InvalidDataException>(() => TrustMaterial.LoadCertificates(Write("x.p7b", data)));
        }
    }

    private static byte[] Bag()
    {
        X509Certificate2Collection certificates = [Pki.Root.Certificate, Pki.Ca.Certificate];
        return certificates.Export(X509ContentType.Pkcs7)!;
    }

    /// <summary>A SignedData without signer that holds one CRL (RFC 5652 §5.1).</summary>
    private static byte[] WithCrl(byte[] crl)
    {
        var writer = new System.Formats.Asn1.AsnWriter(System.Formats.Asn1.AsnEncodingRules.DER);
        var context0 = new System.Formats.Asn1.Asn1Tag(System.Formats.Asn1.TagClass.ContextSpecific, 0);
        var context1 = new System.Formats.Asn1.Asn1Tag(System.Formats.Asn1.TagClass.ContextSpecific, 1);
        using (writer.PushSequence())
        {
            writer.WriteObjectIdentifier("1.2.840.113549.1.7.2");
            using (writer.PushSequence(context0))
            using (writer.PushSequence())
            {
                writer.WriteInteger(1);
                writer.PushSetOf().Dispose();
                using (writer.PushSequence())
                {
                    writer.WriteObjectIdentifier("1.2.840.113549.1.7.1");
                }

                using (writer.PushSetOf(context1))
                {
                    writer.WriteEncodedValue(crl);
                }

                writer.PushSetOf().Dispose();
            }
        }

        return writer.Encode();
    }

    private string Write(string name, byte[] data)
    {
        var path = Path.Combine(_folder.FullName, name);
        File.WriteAllBytes(path, data);
        return path;
    }
}
