using System.Security.Cryptography;
using System.Text;
using SecureMail.Cms;
using SecureMail.Tests.Cms;
using SecureMail.Tests.Smime;
using SecureMail.Trust;
using SecureMail.Verification;
using CmsSigner = SecureMail.Cms.CmsSigner;

namespace SecureMail.Tests.Verification;

/// <summary>What stands before and behind the signature in a file of its own.</summary>
public sealed class SurroundingTextTests
{
    private static readonly byte[] Document = "Pay 100.\r\n"u8.ToArray();

    [Theory]
    [InlineData("", "", "Valid")]
    [InlineData("\uFEFF", "\r\n \t\r\n", "Valid")]
    [InlineData("\r\n\r\n", "\0", "Valid")]
    [InlineData("Pay 9999.\r\n", "", "Partial")]
    [InlineData("", "Pay 9999.\r\n", "Partial")]
    [InlineData("", "-----BEGIN CERTIFICATE-----\r\n", "Partial")]
    public async Task Text_around_the_armour_is_not_signed(string before, string behind, string verdict)
    {
        var cms = await SignAsync();
        var pem = PemEncoding.WriteString("PKCS7", cms) + "\r\n";
        (await VerdictAsync(Encoding.UTF8.GetBytes(before + pem + behind))).ToString().ShouldBe(verdict);
    }

    [Fact]
    public async Task Nothing_may_stand_in_the_lines_of_the_armour()
    {
        var cms = await SignAsync();
        var pem = PemEncoding.WriteString("CMS", cms) + "\n";
        foreach (
            var (old, with) in new[]
            {
                ("BEGIN CMS-----", "BEGIN CMS----- Pay 9999. -----"),
                ("END CMS-----", "END CMS-----\nPay 9999."),
            })
        {
            (await VerdictAsync(Encoding.UTF8.GetBytes(pem.Replace(old, with)))).ShouldNotBe(Verdict.Valid);
        }
    }

    [Theory]
    [InlineData("\0\0\0\0", "Valid")]
    [InlineData("\r\n", "Valid")]
    [InlineData("Pay 9999.", "Partial")]
    public async Task Zeros_and_line_ends_behind_the_end_are_passed_over(string behind, string verdict) =>
        (await VerdictAsync([.. await SignAsync(), .. Encoding.UTF8.GetBytes(behind)])).ToString().ShouldBe(verdict);

    [Fact]
    public async Task A_mail_with_a_byte_order_mark_and_a_line_of_mbox_is_mail()
    {
        var mail = await SmimeBench.SignedAsync();
        byte[] stored = [.. "\uFEFFFrom vanthu@tinhuy.vn Mon Jun  1 00:00:00 2026\r\n"u8, .. mail];
        using var report = await FileValidator.ValidateAsync(
            "x", new MemoryStream(stored), null, [], SmimeBench.Options);
        report.Format.ShouldBe(FileFormat.Mime);
        report.Verdict.ShouldBe(Verdict.Valid);
    }

    private static async Task<byte[]> SignAsync()
    {
        var output = new MemoryStream();
        await CmsSigner.SignAttachedAsync(
            new MemoryStream(Document), output, CmsSignedDataTests.Request(SmimeBench.Sender), SmimeBench.Sender.Rsa);
        return output.ToArray();
    }

    private static async Task<Verdict> VerdictAsync(byte[] file)
    {
        using var report = await FileValidator.ValidateAsync(
            "x", new MemoryStream(file), null, [], SmimeBench.Options);
        return report.Verdict;
    }
}
