using System.Text;
using SecureMail.Mail.Mime;
using SecureMail.Smime;
using SecureMail.Trust;
using static SecureMail.Tests.Smime.SmimeBench;

namespace SecureMail.Tests.Smime;

/// <summary>The outer header against the protected one (RFC 9788).</summary>
public sealed class ProtectedHeaderTests
{
    private const string Signed = "signed";
    private const string Encrypted = "encrypted";

    [Theory]
    [InlineData(Signed, "Subject: ", "Subject: Khác", "Subject")]
    [InlineData(Encrypted, "Subject: ", "Subject: Chuyển tiền gấp", "Subject")]
    [InlineData(Signed, "To: ", "To: ke.khac@huyen.vn", "To")]
    [InlineData(Encrypted, "To: ", "To: ke.khac@huyen.vn", "To")]
    [InlineData(Signed, "Date: ", "Date: Thu, 01 Jan 1998 00:00:00 +0700", "Date")]
    [InlineData(Encrypted, "Date: ", "Date: Thu, 01 Jan 1998 00:00:00 +0700", "Date")]
    [InlineData(Encrypted, "Date: ", "Date: hôm qua", "Date")]
    [InlineData(Encrypted, "MIME-Version: ", "Cc: ke.khac@huyen.vn\r\nMIME-Version: 1.0", "Cc")]
    [InlineData(Encrypted, "MIME-Version: ", "Subject: [...]\r\nMIME-Version: 1.0", "Subject")]
    [InlineData(Signed, "MIME-Version: ", "Cc: ke.khac@huyen.vn\r\nSubject: [x]\r\nMIME-Version: 1.0", "Subject")]
    public async Task An_outer_field_that_contradicts_the_signed_one_is_a_finding_and_the_signed_one_is_shown(
        string form, string field, string instead, string name)
    {
        using var validation = await ValidateAsync(await ChangedAsync(form, field, instead));
        validation.Verdict.ShouldBe(Verdict.Valid);
        var finding = validation.HeaderFindings.ShouldHaveSingleItem();
        finding.Code.ShouldBe("outer-header-contradicts");
        finding.En.ShouldContain($"The field {name} ");
        // The words are kept in clear, so they have neither value.
        (finding.Vi + finding.En).ShouldNotContain("khac");
        validation.Headers!.Subject.ShouldBe(Subject);
        validation.Headers.To.ShouldBe(Message.To);
        validation.Headers.Date.ShouldBe(Message.Date);
    }

    [Theory]
    [InlineData(Signed, "Subject: ", null)]
    [InlineData(Encrypted, "Subject: ", null)]
    [InlineData(Encrypted, "To: ", null)]
    [InlineData(Encrypted, "To: ", "To: undisclosed-recipients:;")]
    [InlineData(Encrypted, "To: ", "To: =?utf-8?q?X=C3=A3?= <XA@huyen.vn>")]
    [InlineData(Encrypted, "Date: ", null)]
    [InlineData(Encrypted, "Subject: ", "Subject:   [...]")]
    [InlineData(Encrypted, "MIME-Version: ", "Received: from a; Thu, 01 Jan 1998 00:00:00 +0700\r\nMIME-Version: 1.0")]
    public async Task A_relay_that_leaves_out_writes_anew_or_adds_what_is_its_own_contradicts_nothing(
        string form, string field, string? instead)
    {
        using var validation = await ValidateAsync(await ChangedAsync(form, field, instead));
        validation.Verdict.ShouldBe(Verdict.Valid);
        validation.HeaderFindings.ShouldBeEmpty();
    }

    [Fact]
    public async Task The_same_moment_in_another_time_zone_is_the_same_date()
    {
        var utc = Message.Date.ToUniversalTime();
        var text = utc.ToString("ddd, dd MMM yyyy HH:mm:ss", System.Globalization.CultureInfo.InvariantCulture);
        using var validation = await ValidateAsync(await ChangedAsync(Signed, "Date: ", $"Date: {text} +0000"));
        validation.HeaderFindings.ShouldBeEmpty();
    }

    [Theory]
    // The form of before (RFC 8551 §3.1), which repeats nothing: what stands inside is expected outside.
    [InlineData("Subject: a\r\nTo: xa@huyen.vn", "Subject: a\r\nTo: xa@huyen.vn", "")]
    [InlineData("Subject: ...", "Subject: a", "")]
    [InlineData("Subject: [...]", "Subject: a", "")]
    [InlineData("Subject: b", "Subject: a", "Subject")]
    [InlineData("Subject: =?utf-8?B?YQ==?=", "Subject: a", "")]
    [InlineData("Cc: a@b.vn", "Subject: a", "")]
    [InlineData("Cc: a@b.vn", "Cc: c@d.vn", "Cc")]
    [InlineData("Cc: a@b.vn", "Cc: c@d.vn, a@b.vn", "")]
    [InlineData("Cc: @@", "Cc: a@b.vn", "Cc")]
    public void Without_a_list_of_what_was_written_outside_the_fields_are_expected_to_be_the_same(
        string outside, string inside, string contradicted)
    {
        var text =
            $"From: a@b.vn\r\n{outside}\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
            + $"--b\r\nContent-Type: message/rfc822; forwarded=no\r\n\r\nFrom: a@b.vn\r\n{inside}\r\n\r\nx\r\n"
            + "--b--\r\n";
        var message = MailMessage.Parse(Encoding.UTF8.GetBytes(text));
        string.Join(' ', MessageHeaders.Of(message, message.Root.Children[0]).Contradicted).ShouldBe(contradicted);
    }

    /// <summary>The message with the first line that begins so replaced, or left out.</summary>
    private static async Task<byte[]> ChangedAsync(string form, string field, string? instead)
    {
        var octets = form == Signed ? await SignedAsync() : await EncryptedAsync();
        var text = Encoding.Latin1.GetString(octets);
        var end = text.IndexOf("\r\n\r\n", StringComparison.Ordinal);
        var at = text.IndexOf(field, StringComparison.Ordinal);
        at.ShouldBeInRange(0, end);
        var next = text.IndexOf("\r\n", at, StringComparison.Ordinal) + 2;
        while (text[next] is ' ' or '\t')
        {
            next = text.IndexOf("\r\n", next, StringComparison.Ordinal) + 2;
        }

        var line = instead is null ? "" : Encoding.Latin1.GetString(Encoding.UTF8.GetBytes(instead)) + "\r\n";
        return Encoding.Latin1.GetBytes(text[..at] + line + text[next..]);
    }
}
