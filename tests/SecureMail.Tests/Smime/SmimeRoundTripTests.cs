using System.Security.Cryptography;
using System.Text;
using SecureMail.Cms;
using SecureMail.Mail.Mime;
using SecureMail.Smime;
using SecureMail.Trust;
using static SecureMail.Tests.Smime.SmimeBench;
using Mailbox = SecureMail.Mail.Mime.Mailbox;

namespace SecureMail.Tests.Smime;

public class SmimeRoundTripTests
{
    public static TheoryData<string, SignatureScheme, string> Combinations()
    {
        var data = new TheoryData<string, SignatureScheme, string>();
        foreach (var form in new[] { "signed", "gcm", "cbc" })
        {
            foreach (var scheme in new[] { SignatureScheme.RsaPkcs1, SignatureScheme.RsaPss, SignatureScheme.Ecdsa })
            {
                foreach (var digest in new[] { "SHA256", "SHA384", "SHA512" })
                {
                    data.Add(form, scheme, digest);
                }
            }
        }

        return data;
    }

    [Theory]
    [MemberData(nameof(Combinations))]
    public async Task What_is_composed_is_validated_valid_and_comes_back_whole(
        string form, SignatureScheme scheme, string digest)
    {
        var signer = scheme == SignatureScheme.Ecdsa ? EcSender : Sender;
        var octets =
            form == "signed"
                ? await SignedAsync(signer, scheme, digest)
                : await EncryptedAsync(
                    form == "gcm" ? ContentCipher.Aes256Gcm : ContentCipher.Aes256Cbc, signer, scheme, digest);
        using var validation = await ValidateAsync(octets);
        validation.Verdict.ShouldBe(Verdict.Valid);
        validation.Encrypted.ShouldBe(form != "signed");
        validation.Problem.ShouldBeNull();
        var finding = validation.Findings.ShouldHaveSingleItem();
        (finding.Intact, finding.CoversWhole, finding.SignerIsSender).ShouldBe((true, true, (bool?)true));
        validation.Headers!.AreProtected.ShouldBeTrue();
        validation.Headers.Subject.ShouldBe(Subject);
        validation.Headers.From.ShouldHaveSingleItem().ShouldBe(Message.From);
        validation.Headers.To.ShouldBe(Message.To);
        validation.Headers.Date.ShouldBe(Message.Date);
        validation.Headers.MessageId.ShouldBe(Message.MessageId);
        validation
            .Parts.Select(p => p.ContentType.MediaType)
            .ShouldBe(["application/vnd.securemail.dispatch+json", "application/pdf"]);
        validation.Parts[1].FileName.ShouldBe("Công văn số 36.pdf");
        Read(validation.Parts[1]).ShouldBe(Document);
        validation.Message!.Subject.ShouldBe(form == "signed" ? Subject : "[...]");
    }

    [Fact]
    public async Task The_digest_is_of_the_octets_signed()
    {
        var (inner, prepared, signature) = await SignAsync(encrypted: true);
        foreach (var _ in new[] { 1, 2 })
        {
            var output = new MemoryStream();
            await SmimeComposer.WriteEncryptedAsync(
                Message, inner, prepared, signature, [Recipient.Certificate], ContentCipher.Aes256Gcm, output);
            using var validation = await ValidateAsync(output.ToArray());
            validation.SignedBytesDigest.ShouldBe(SHA256.HashData(inner.ToArray()));
        }
    }

    [Fact]
    public async Task Nothing_of_an_encrypted_message_is_seen_from_outside_but_who_and_when()
    {
        var octets = Encoding.ASCII.GetString(await EncryptedAsync());
        octets.ShouldContain("Subject: [...]\r\n");
        octets.ShouldContain("smime-type=authEnveloped-data");
        octets.ShouldNotContain("=?UTF-8?B?" + Convert.ToBase64String("Về"u8)[..4]);
        octets.ShouldNotContain("vnd.securemail");
        octets.Split("\r\n").ShouldAllBe(line => line.Length <= 76);
    }

    [Fact]
    public async Task The_inner_entity_says_what_stands_outside()
    {
        var (inner, _, _) = await SignAsync(encrypted: true);
        var part = MailMessage.Parse(inner.ToArray()).Root;
        part.ContentType.Parameters["hp"].ShouldBe("cipher");
        part.Headers.Where(h => h.Is("HP-Outer"))
            .Select(h => h.Value.Split(':')[0])
            .ShouldBe(["From", "To", "Subject", "Date", "Message-ID"]);
        part.Headers.Single(h => h.Is("HP-Outer") && h.Value.StartsWith("Subject", StringComparison.Ordinal))
            .Value.ShouldBe("Subject: [...]");
        var outer = MailMessage.Parse(await EncryptedAsync());
        part.Headers.Single(h => h.Is("HP-Outer") && h.Value.StartsWith("From", StringComparison.Ordinal))
            .Value.ShouldBe($"From: {outer.Root.Header("From")!.Value}");
    }

    [Fact]
    public async Task Of_several_addressees_none_is_named_outside()
    {
        var message = Message with { To = [.. Message.To, new Mailbox("Phường", "phuong@huyen.vn")] };
        var (inner, _, _) = await SignAsync(encrypted: true, message: message);
        MailMessage
            .Parse(inner.ToArray())
            .Root.Headers.Where(h => h.Is("HP-Outer"))
            .ShouldContain(h => h.Value == "To: undisclosed-recipients:;");
        var octets = await EncryptedAsync(message: message);
        Encoding.ASCII.GetString(octets).ShouldNotContain("huyen.vn");
        using var validation = await ValidateAsync(octets);
        validation.Verdict.ShouldBe(Verdict.Valid);
        validation.Headers!.To.Select(t => t.Address).ShouldBe(["xa@huyen.vn", "phuong@huyen.vn"]);
        // One is who gets it anyway.
        Encoding.ASCII.GetString(await EncryptedAsync()).ShouldContain("xa@huyen.vn");
    }

    [Fact]
    public async Task A_dispatch_to_a_whole_province_fits()
    {
        var message = Message with
        {
            To = [.. Enumerable.Range(0, 3300).Select(i => new Mailbox($"Ủy ban xã số {i}", $"xa{i}@tinh.vn"))],
        };
        using var validation = await ValidateAsync(await EncryptedAsync(message: message));
        validation.Verdict.ShouldBe(Verdict.Valid);
        validation.Headers!.To.Count.ShouldBe(3300);
        validation.Message!.Mailboxes("To").ShouldBeEmpty();
    }

    [Fact]
    public async Task A_report_is_signed_like_any_body()
    {
        var report = Message with
        {
            AutoSubmitted = "auto-replied",
            InReplyTo = "<0@b.vn>",
            Body = () =>
                MailReport.DispositionNotification("Đã nhận.", "SecureMail", Message.From, "<0@b.vn>", "processed"),
        };
        var octets = await SignedAsync(message: report);
        using var validation = await ValidateAsync(octets);
        validation.Verdict.ShouldBe(Verdict.Valid);
        validation.Headers!.AutoSubmitted.ShouldBe("auto-replied");
        validation.Headers.InReplyTo.ShouldBe("<0@b.vn>");
        MailReport
            .Read(validation.Payload!)!
            .Field("Disposition")
            .ShouldBe("automatic-action/MDN-sent-automatically; processed");
    }

    [Theory]
    [InlineData("x\r\nBcc: a@b.vn")]
    [InlineData("x\0")]
    public async Task A_subject_that_would_begin_another_field_is_refused(string subject) =>
        (
            await Should.ThrowAsync<MimeException>(() => SignedAsync(message: Message with { Subject = subject }))
        ).Reason.ShouldBe(MimeReason.UnsafeHeader);

    [Theory]
    [InlineData("1@b.vn")]
    [InlineData("<1@b.vn>\r\nX: y")]
    [InlineData("<a b@c>")]
    public async Task A_message_id_that_is_none_is_refused(string id) =>
        (
            await Should.ThrowAsync<MimeException>(() => SignedAsync(message: Message with { MessageId = id }))
        ).Reason.ShouldBe(MimeReason.UnsafeHeader);

    [Fact]
    public async Task A_large_message_is_composed_and_validated_without_being_held_in_memory()
    {
        var large = new byte[20_000_000];
        new Random(1).NextBytes(large);
        var message = Message with
        {
            Parts =
            [
                new OutgoingPart(MimeContentType.Of("application/octet-stream"), "lớn.bin", () =>
                    new MemoryStream(large)),
            ],
        };
        var octets = await EncryptedAsync(message: message);
        using var validation = await ValidateAsync(octets);
        validation.Verdict.ShouldBe(Verdict.Valid);
        SHA256.HashData(Read(validation.Parts[0])).ShouldBe(SHA256.HashData(large));
    }
}
