using System.Text;
using SecureMail.Exchange;
using SecureMail.Trust;
using SecureMail.Verification;

namespace SecureMail.Tests.Verification;

public sealed class FileFormatTests
{
    private static readonly ValidationOptions Options = new() { Trust = new TrustMaterial([]), At = TestPki.Now };

    [Theory]
    [InlineData("", FileFormat.Unknown)]
    [InlineData("xin chào", FileFormat.Unknown)]
    [InlineData("Note: no field of mail\n\nFrom: later, in the text", FileFormat.Unknown)]
    [InlineData("From: a@b.vn\r\n\r\nbody", FileFormat.Mime)]
    [InlineData("X-First: 1\nsubject : x\n\n", FileFormat.Mime)]
    [InlineData("Content-Type: multipart/signed; boundary=x\r\n\r\n", FileFormat.Mime)]
    [InlineData("Subject: %PDF-1.7\r\n\r\n", FileFormat.Mime)]
    [InlineData("%PDF-1.7\n", FileFormat.Pdf)]
    [InlineData("junk before\n%PDF-1.4\n", FileFormat.Pdf)]
    [InlineData("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", FileFormat.Unknown)]
    public void The_kind_is_found_from_the_octets(string text, FileFormat format) =>
        FileFormats.Detect(Encoding.UTF8.GetBytes(text)).ShouldBe(format);

    [Fact]
    public void Every_cms_vector_is_cms_and_every_mail_vector_is_mail()
    {
        foreach (
            var file in Directory
                .GetFiles(Vectors.Folder("cms"))
                .Where(f =>
                    Path.GetExtension(f) is ".der" or ".ber"
                    || Path.GetFileName(f) is "attached-rsa.pem" or "enveloped-cbc128.pem"))
        {
            FileFormats.Detect(File.ReadAllBytes(file)).ShouldBe(FileFormat.Cms, file);
        }

        foreach (
            var file in Directory
                .GetFiles(Vectors.Folder("smime"), "*.eml")
                .Concat(Directory.GetFiles(Vectors.Folder("mail"), "*.eml")))
        {
            FileFormats.Detect(File.ReadAllBytes(file)).ShouldBe(FileFormat.Mime, file);
        }
    }

    [Theory]
    [InlineData("%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj\n", "unsigned")]
    [InlineData("%PDF-1.7\n<</ByteRangeX[0 1]>>", "unsigned")]
    [InlineData("%PDF-1.7\n<</Type/Sig/ByteRange[0 1 2 3]>>", "indeterminate")]
    [InlineData("%PDF-1.7\n<</#42yte#52ang#65 [0 1 2 3]>>", "indeterminate")]
    [InlineData("%PDF-1.7\n<<//ByteRange", "indeterminate")]
    [InlineData("%PDF-1.7\n<</ByteRang#", "unsigned")]
    public async Task A_pdf_is_never_valid(string pdf, string verdict)
    {
        using var judgement = await FileValidator.ValidateAsync(
            "x.pdf", new MemoryStream(Encoding.ASCII.GetBytes(pdf)), null, [], Options);
        judgement.Format.ShouldBe(FileFormat.Pdf);
        SecureMail.Exchange.FindingJson.Name(judgement.Verdict).ShouldBe(verdict);
        (judgement.Error?.Code).ShouldBe(verdict == "indeterminate" ? "pdf-not-judged" : null);
    }

    [Fact]
    public async Task A_signature_is_seen_wherever_it_lies_in_a_pdf()
    {
        for (var at = 65500; at < 65580; at++)
        {
            byte[] pdf = [.. "%PDF-1.7\n"u8, .. Enumerable.Repeat((byte)' ', at), .. "/#42yteRange "u8];
            (await PdfSignatures.MayBePresentAsync(new MemoryStream(pdf), CancellationToken.None)).ShouldBeTrue(
                $"at {at}");
        }
    }
}
