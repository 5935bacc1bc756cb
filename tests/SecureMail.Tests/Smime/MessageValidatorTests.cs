using System.Security.Cryptography;
using System.Text;
using SecureMail.Cms;
using SecureMail.Mail.Mime;
using SecureMail.Smime;
using SecureMail.Trust;
using static SecureMail.Tests.Smime.SmimeBench;

namespace SecureMail.Tests.Smime;

public class MessageValidatorTests
{
    private static byte[] Replace(byte[] octets, string old, string with)
    {
        var text = Text(octets);
        text.ShouldContain(old);
        return Octets(text.Replace(old, with, StringComparison.Ordinal));
    }

    private static string HeaderOf(byte[] mail) =>
        Text(mail)[..(Text(mail).IndexOf("\r\n\r\n", StringComparison.Ordinal) + 2)];

    private static string BodyOf(byte[] mail) =>
        Text(mail)[(Text(mail).IndexOf("\r\n\r\n", StringComparison.Ordinal) + 4)..];

    /// <summary>The mail's own entity: its Content-… fields and body, without the fields that say who and
    /// when.</summary>
    private static string EntityOf(byte[] mail) =>
        Text(mail)[Text(mail).IndexOf("Content-Type:", StringComparison.Ordinal)..];

    private static string MixedWith(byte[] mail, string unsigned) =>
        $"From: {Address}\r\nSubject: x\r\nContent-Type: multipart/mixed; boundary=w\r\n\r\n--w\r\n\r\n{unsigned}\r\n"
        + $"--w\r\n{EntityOf(mail)}\r\n--w--\r\n";

    [Fact]
    public async Task Mail_without_a_signature_is_unsigned()
    {
        (await VerdictAsync(Octets($"From: {Address}\r\nSubject: x\r\n\r\nbody\r\n"))).ShouldBe(Verdict.Unsigned);
        using var validation = await ValidateAsync(
            Octets(
                $"From: {Address}\r\nContent-Type: multipart/signed; protocol=application/pgp-signature; boundary=x\r\n"
                    + "\r\n--x\r\n\r\na\r\n--x\r\nContent-Type: application/pgp-signature\r\n\r\nb\r\n--x--\r\n"));
        validation.Verdict.ShouldBe(Verdict.Unsigned);
        validation.Parts.Count.ShouldBe(2);
    }

    [Fact]
    public async Task Encryption_alone_is_no_signature()
    {
        var cms = new MemoryStream();
        await CmsEnveloper.EncryptAsync(
            new MemoryStream(Octets("Content-Type: text/plain\r\n\r\nsecret\r\n")), cms, [Recipient.Certificate],
            ContentCipher.Aes256Gcm);
        using var validation = await ValidateAsync(Wrapped(cms.ToArray(), "application/pkcs7-mime"));
        validation.Verdict.ShouldBe(Verdict.Unsigned);
        validation.Encrypted.ShouldBeTrue();
        Text(Read(validation.Parts.ShouldHaveSingleItem())).ShouldBe("secret\r\n");
    }

    [Fact]
    public async Task Unauthenticated_cleartext_is_shown_to_nobody_without_a_signature_over_it()
    {
        var cms = new MemoryStream();
        await CmsEnveloper.EncryptAsync(
            new MemoryStream(Octets("Content-Type: text/plain\r\n\r\nsecret\r\n")), cms, [Recipient.Certificate],
            ContentCipher.Aes256Cbc);
        using var validation = await ValidateAsync(Wrapped(cms.ToArray(), "application/pkcs7-mime"));
        validation.Verdict.ShouldBe(Verdict.Unsigned);
        validation.Parts.ShouldBeEmpty();
        validation.Payload.ShouldBeNull();
    }

    [Fact]
    public async Task Without_the_key_an_encrypted_message_is_indeterminate()
    {
        using var validation = await ValidateAsync(
            await EncryptedAsync(), keys: [new RecipientKey(Stranger.Certificate, Stranger.Rsa)]);
        validation.Verdict.ShouldBe(Verdict.Indeterminate);
        validation.State.ShouldBe(FileState.Locked);
        validation.Problem!.Code.ShouldBe("no-key");
        validation.Parts.ShouldBeEmpty();
        (await VerdictAsync(await EncryptedAsync(), keys: [])).ShouldBe(Verdict.Indeterminate);
    }

    [Fact]
    public async Task Trust_decides_as_it_does_for_any_signature()
    {
        var mail = await SignedAsync();
        (await VerdictAsync(mail, Options with { Trust = new TrustMaterial([Stranger.Certificate]) })).ShouldBe(
            Verdict.Untrusted);
        (
            await VerdictAsync(
                mail,
                Options with
                {
                    Trust = new TrustMaterial([Pki.Root.Certificate], [Pki.Ca.Certificate]),
                })
        ).ShouldBe(Verdict.Indeterminate);
        (
            await VerdictAsync(
                mail,
                Options with
                {
                    Trust = new TrustMaterial([Pki.Root.Certificate]),
                    CheckRevocation = false,
                })
        ).ShouldBe(Verdict.Valid);
        (await VerdictAsync(mail, Options with { At = TestPki.Now.AddYears(10) })).ShouldBe(Verdict.Untrusted);
    }

    [Fact]
    public async Task Signed_content_inside_the_cms_is_validated_and_read()
    {
        var cms = new MemoryStream();
        var request = new SigningRequest(
            Sender.Certificate, [Pki.Ca.Certificate], HashAlgorithmName.SHA256, SignatureScheme.RsaPkcs1, TestPki.Now);
        await CmsSigner.SignAttachedAsync(
            new MemoryStream(Octets("Content-Type: text/plain\r\n\r\nopaque\r\n")), cms, request, Sender.Key);
        foreach (
            var type in new[]
            {
                "application/pkcs7-mime; smime-type=signed-data",
                "application/x-pkcs7-mime",
                "application/octet-stream; name=smime.p7m",
            })
        {
            using var validation = await ValidateAsync(Wrapped(cms.ToArray(), type));
            validation.Verdict.ShouldBe(Verdict.Valid);
            Text(Read(validation.Parts.ShouldHaveSingleItem())).ShouldBe("opaque\r\n");
        }
    }

    [Fact]
    public async Task Signed_encrypted_and_signed_again_has_two_findings()
    {
        var encrypted = await EncryptedAsync();
        var inner = Octets(EntityOf(encrypted));
        var request = new SigningRequest(
            Sender.Certificate, [Pki.Ca.Certificate], HashAlgorithmName.SHA256, SignatureScheme.RsaPkcs1, TestPki.Now);
        var signature = await CmsSigner.SignDetachedAsync(new MemoryStream(inner), request, Sender.Key);
        var mail = new MemoryStream();
        await MimeEntity
            .Multipart(
                "signed",
                [
                    MimeEntity.Written(() => new MemoryStream(inner)),
                    MimeEntity.Leaf(MimeContentType.Of("application/pkcs7-signature"), () =>
                        new MemoryStream(signature)),
                ],
                ("protocol", "application/pkcs7-signature"),
                ("micalg", "sha-256"))
            .Prepend(MimeEntity.Fields().AddMailboxes("From", [Message.From]))
            .WriteAsync(mail);
        using var validation = await ValidateAsync(mail.ToArray());
        validation.Verdict.ShouldBe(Verdict.Valid);
        validation.Findings.Count.ShouldBe(2);
        validation.Encrypted.ShouldBeTrue();
        validation.Parts.Count.ShouldBe(2);
    }

    [Fact]
    public async Task A_signature_around_an_unauthenticated_envelope_does_not_vouch_for_what_is_inside()
    {
        var cms = new MemoryStream();
        await CmsEnveloper.EncryptAsync(
            new MemoryStream(Octets("Content-Type: text/plain\r\n\r\nsecret\r\n")), cms, [Recipient.Certificate],
            ContentCipher.Aes256Cbc);
        var inner = Octets(EntityOf(Wrapped(cms.ToArray(), "application/pkcs7-mime")));
        var request = new SigningRequest(
            Sender.Certificate, [Pki.Ca.Certificate], HashAlgorithmName.SHA256, SignatureScheme.RsaPkcs1, TestPki.Now);
        var signature = await CmsSigner.SignDetachedAsync(new MemoryStream(inner), request, Sender.Key);
        var mail = new MemoryStream();
        await MimeEntity
            .Multipart(
                "signed",
                [
                    MimeEntity.Written(() => new MemoryStream(inner)),
                    MimeEntity.Leaf(MimeContentType.Of("application/pkcs7-signature"), () =>
                        new MemoryStream(signature)),
                ],
                ("protocol", "application/pkcs7-signature"),
                ("micalg", "sha-256"))
            .Prepend(MimeEntity.Fields().AddMailboxes("From", [Message.From]))
            .WriteAsync(mail);
        using var validation = await ValidateAsync(mail.ToArray());
        validation.Findings.ShouldHaveSingleItem().Intact.ShouldBeTrue();
        validation.Payload.ShouldBeNull();
        validation.Parts.ShouldBeEmpty();
        validation.EnvelopeIsProven.ShouldBeFalse();
        validation.OpenEnvelope().ShouldBeNull();
    }

    [Theory]
    [InlineData(ContentCipher.Aes256Gcm)]
    [InlineData(ContentCipher.Aes256Cbc)]
    public async Task The_inner_entity_saved_by_itself_is_validated_by_the_sender_it_protects(ContentCipher cipher)
    {
        using var validation = await ValidateAsync(await EncryptedAsync(cipher));
        validation.EnvelopeIsProven.ShouldBeTrue();
        var inner = new MemoryStream();
        await using (var envelope = validation.OpenEnvelope()!)
        {
            await envelope.CopyToAsync(inner);
        }

        (await VerdictAsync(inner.ToArray())).ShouldBe(Verdict.Valid);
        (await VerdictAsync([.. Octets("Subject: x\r\n"), .. inner.ToArray()])).ShouldBe(Verdict.WrongSender);
    }

    [Fact]
    public async Task Whoever_signed_must_be_whoever_sent()
    {
        (await VerdictAsync(await SignedAsync(Stranger))).ShouldBe(Verdict.WrongSender);
        (await VerdictAsync(await EncryptedAsync(signer: Stranger))).ShouldBe(Verdict.WrongSender);
    }

    [Theory]
    [InlineData("From: =?UTF-8?B?", "From: boss@gov.vn\r\nFrom: =?UTF-8?B?")]
    [InlineData("From: =?UTF-8?B?", "From: boss@gov.vn, =?UTF-8?B?")]
    [InlineData("From: =?UTF-8?B?", "X-From: =?UTF-8?B?")]
    [InlineData("<vanthu@tinhuy.vn>\r\n", "<boss@gov.vn>\r\n")]
    [InlineData("<vanthu@tinhuy.vn>\r\n", "<vanthu@tinhuy.vn> <boss@gov.vn>\r\n")]
    public async Task From_outside_must_be_the_one_inside(string old, string with)
    {
        foreach (var mail in new[] { await SignedAsync(), await EncryptedAsync() })
        {
            var header = HeaderOf(mail);
            header.ShouldContain(old);
            var changed = Octets(header.Replace(old, with, StringComparison.Ordinal) + Text(mail)[header.Length..]);
            (await VerdictAsync(changed)).ShouldBe(Verdict.WrongSender);
        }
    }

    [Fact]
    public async Task Other_headers_changed_outside_change_nothing_that_is_shown()
    {
        foreach (var mail in new[] { await SignedAsync(), await EncryptedAsync() })
        {
            using var before = await ValidateAsync(mail);
            var header = HeaderOf(mail)
                .Replace("Message-ID: <1@tinhuy.vn>", "Message-ID: <2@evil.vn>", StringComparison.Ordinal)
                .Replace("2026", "2027", StringComparison.Ordinal);
            var subject = header.IndexOf("Subject:", StringComparison.Ordinal);
            header = header[..subject] + "Subject: Khac\r\nX-Old-" + header[subject..];
            using var after = await ValidateAsync(
                Octets("Received: from relay\r\n\tby mx\r\n" + header + "\r\n" + BodyOf(mail)));
            after.Verdict.ShouldBe(Verdict.Valid);
            Shown(after).ShouldBe(Shown(before));
        }
    }

    [Fact]
    public async Task A_relay_that_folds_headers_anew_breaks_nothing_outside_and_everything_inside()
    {
        var mail = await SignedAsync();
        var header = HeaderOf(mail)
            .Replace(" boundary=", "\r\n\tboundary=", StringComparison.Ordinal)
            .Replace("\r\n\r\n\t", "\r\n\t", StringComparison.Ordinal);
        (await VerdictAsync(Octets(header + "\r\n" + BodyOf(mail)))).ShouldBe(Verdict.Valid);
        (
            await VerdictAsync(
                Octets(
                    HeaderOf(mail)
                        + "\r\n"
                        + BodyOf(mail).Replace("Message-ID: <", "Message-ID:  <", StringComparison.Ordinal)))
        ).ShouldBe(Verdict.Invalid);
    }

    [Fact]
    public async Task A_footer_put_on_by_a_relay_is_never_valid()
    {
        var signed = await SignedAsync();
        (await VerdictAsync(Octets(Text(signed) + "-- \r\nGui tu nhom thu\r\n"))).ShouldBe(Verdict.Partial);
        (await VerdictAsync(Octets(Text(signed) + "\r\n \r\n"))).ShouldBe(Verdict.Valid);
        (await VerdictAsync(Octets(Text(await EncryptedAsync()) + "-- \r\nGui tu nhom thu\r\n"))).ShouldBe(
            Verdict.Unreadable);
    }

    [Fact]
    public async Task A_signature_beside_unsigned_text_is_partial()
    {
        var mail = await SignedAsync();
        using var validation = await ValidateAsync(Octets(MixedWith(mail, "Pay this account instead.")));
        validation.Verdict.ShouldBe(Verdict.Partial);
        validation.Findings.ShouldHaveSingleItem().Intact.ShouldBeTrue();
        validation.Headers!.AreProtected.ShouldBeFalse();
    }

    [Fact]
    public async Task A_signed_message_forwarded_is_not_the_forwarders()
    {
        var mail = await SignedAsync();
        (
            await VerdictAsync(
                Octets($"From: {Address}\r\nSubject: Fwd\r\nContent-Type: message/rfc822\r\n\r\n{Text(mail)}"))
        ).ShouldBe(Verdict.Partial);
    }

    [Fact]
    public async Task A_third_part_in_a_signed_multipart_is_outside_the_signature()
    {
        var mail = await SignedAsync();
        var boundary = MailMessage.Parse(mail).Root.ContentType.Parameters["boundary"];
        (await VerdictAsync(Replace(mail, $"--{boundary}--", $"--{boundary}\r\n\r\nmore\r\n--{boundary}--"))).ShouldBe(
            Verdict.Partial);
    }

    [Fact]
    public async Task Ciphertext_among_other_parts_is_not_opened()
    {
        var mixed = MixedWith(await EncryptedAsync(), "<img src=\"http://evil/");
        using var validation = await ValidateAsync(Octets(mixed));
        validation.Verdict.ShouldBe(Verdict.Indeterminate);
        validation.Encrypted.ShouldBeTrue();
        validation.Problem!.Code.ShouldBe("envelope-among-parts");
        validation.Parts.ShouldBeEmpty();
    }

    [Fact]
    public async Task The_content_inside_a_detached_signature_is_never_used()
    {
        var mail = await SignedAsync();
        var cms = new MemoryStream();
        var request = new SigningRequest(
            Sender.Certificate, [Pki.Ca.Certificate], HashAlgorithmName.SHA256, SignatureScheme.RsaPkcs1, TestPki.Now);
        await CmsSigner.SignAttachedAsync(new MemoryStream("another content"u8.ToArray()), cms, request, Sender.Key);
        var output = new MemoryStream();
        var content = new MemoryStream();
        MailMessage.Parse(mail).Root.Children[0].OpenRaw().CopyTo(content);
        await MimeEntity
            .Multipart(
                "signed",
                [
                    MimeEntity.Written(() => new MemoryStream(content.ToArray())),
                    MimeEntity.Leaf(MimeContentType.Of("application/pkcs7-signature"), () =>
                        new MemoryStream(cms.ToArray())),
                ],
                ("protocol", "application/pkcs7-signature"))
            .Prepend(MimeEntity.Fields().AddMailboxes("From", [Message.From]))
            .WriteAsync(output);
        using var validation = await ValidateAsync(output.ToArray());
        validation.Verdict.ShouldBe(Verdict.Invalid);
        validation.Findings[0].SubIndication.ShouldBe(SubIndication.HashFailure);
    }

    [Fact]
    public async Task A_signature_part_that_is_damaged_is_invalid_and_not_unsigned()
    {
        var mail = await SignedAsync();
        var start = Text(mail).LastIndexOf("\r\n\r\n", Text(mail).Length - 200, StringComparison.Ordinal) + 4;
        var text = Text(mail);
        (await VerdictAsync(Octets(text[..start] + "AAAA" + text[(start + 4)..]))).ShouldBe(Verdict.Invalid);
        // What does not decode says nothing about the signature.
        (await VerdictAsync(Octets(text[..start] + "!!!!" + text[(start + 4)..]))).ShouldBe(Verdict.Unreadable);
    }

    [Fact]
    public async Task A_copy_stored_with_local_line_ends_is_still_valid()
    {
        var stored = Octets(Text(await SignedAsync()).Replace("\r\n", "\n", StringComparison.Ordinal));
        using var validation = await ValidateAsync(stored);
        validation.Verdict.ShouldBe(Verdict.Valid);
        Read(validation.Parts[1]).ShouldBe(Document);
        (
            await VerdictAsync(
                Octets(Text(stored).Replace("Message-ID: <", "Message-ID:  <", StringComparison.Ordinal)))
        ).ShouldBe(Verdict.Invalid);
    }

    [Theory]
    [InlineData("Kính gửi các đồng chí\r\nNoi dung: thu\r\n")]
    [InlineData("Noi dung: thu\r\nKính gửi")]
    [InlineData("one line")]
    public async Task Plain_text_signed_without_a_header_of_its_own_is_validated(string text)
    {
        var content = Encoding.UTF8.GetBytes(text);
        var request = new SigningRequest(
            Sender.Certificate, [Pki.Ca.Certificate], HashAlgorithmName.SHA256, SignatureScheme.RsaPkcs1, TestPki.Now);
        var signature = await CmsSigner.SignDetachedAsync(new MemoryStream(content), request, Sender.Key);
        byte[] mail =
        [
            .. Octets(
                $"From: {Address}\r\nContent-Type: multipart/signed; protocol=\"application/pkcs7-signature\"; "
                    + "boundary=b\r\n\r\n--b\r\n"),
            .. content,
            .. Octets(
                "\r\n--b\r\nContent-Type: application/pkcs7-signature\r\nContent-Transfer-Encoding: base64\r\n\r\n"
                    + $"{Convert.ToBase64String(signature, Base64FormattingOptions.InsertLineBreaks)}\r\n--b--\r\n"),
        ];
        using var validation = await ValidateAsync(mail);
        validation.Verdict.ShouldBe(Verdict.Valid);
        Read(validation.Parts.ShouldHaveSingleItem()).ShouldBe(content);
    }

    [Fact]
    public async Task What_was_encrypted_without_being_mail_is_unsigned_unless_it_is_a_signature()
    {
        async Task<byte[]> MailOf(byte[] content)
        {
            var cms = new MemoryStream();
            await CmsEnveloper.EncryptAsync(
                new MemoryStream(content), cms, [Recipient.Certificate], ContentCipher.Aes256Gcm);
            return Wrapped(cms.ToArray(), "application/pkcs7-mime");
        }

        (await VerdictAsync(await MailOf(Octets("no mail\r\n")))).ShouldBe(Verdict.Unsigned);
        var request = new SigningRequest(
            Sender.Certificate, [], HashAlgorithmName.SHA256, SignatureScheme.RsaPkcs1, TestPki.Now);
        (
            await VerdictAsync(await MailOf(await CmsSigner.SignDetachedAsync(new MemoryStream(), request, Sender.Key)))
        ).ShouldBe(Verdict.Unreadable);
    }

    [Theory]
    [InlineData("", "mail-truncated")]
    [InlineData("no mail at all\r\n", "mail-malformed")]
    [InlineData("From: a@b.vn\r\nContent-Type: multipart/signed; boundary=x\r\n\r\n--x\r\n\r\na", "mail-truncated")]
    [InlineData(
        "From: a@b.vn\r\nContent-Type: application/pkcs7-mime\r\nContent-Transfer-Encoding: base64\r\n\r\n!!!!\r\n",
        "mail-encoding")]
    [InlineData(
        "From: a@b.vn\r\nContent-Type: application/pkcs7-mime\r\nContent-Transfer-Encoding: base64\r\n\r\nQUJD\r\n",
        "mail-malformed")]
    public async Task What_cannot_be_read_says_why(string mail, string code)
    {
        using var validation = await ValidateAsync(Octets(mail));
        validation.Verdict.ShouldBe(Verdict.Unreadable);
        validation.Problem!.Code.ShouldBe(code);
        validation.Problem.Vi.ShouldNotBeEmpty();
        validation.Parts.ShouldBeEmpty();
    }

    [Fact]
    public async Task Layers_without_end_are_refused()
    {
        var entity = Octets("Content-Type: text/plain\r\n\r\nx\r\n");
        for (var i = 0; i < 12; i++)
        {
            var cms = new MemoryStream();
            await CmsEnveloper.EncryptAsync(
                new MemoryStream(entity), cms, [Recipient.Certificate], ContentCipher.Aes256Gcm);
            entity = Wrapped(cms.ToArray(), "application/pkcs7-mime");
        }

        using var validation = await ValidateAsync(entity);
        (validation.Verdict, validation.Problem!.Code).ShouldBe((Verdict.Unreadable, "mail-beyond-limits"));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task One_octet_changed_anywhere_is_not_valid_or_changes_nothing_that_is_shown(bool encrypted)
    {
        var mail = encrypted ? await EncryptedAsync() : await SignedAsync();
        using var before = await ValidateAsync(mail);
        var shown = Shown(before);
        var invalid = 0;
        for (var position = 0; position < mail.Length; position += encrypted ? 97 : 61)
        {
            var changed = mail.ToArray();
            changed[position] ^= 0x01;
            using var validation = await ValidateAsync(changed);
            if (validation.Verdict == Verdict.Valid)
            {
                Shown(validation).ShouldBe(shown, $"octet {position}");
            }
            else
            {
                invalid++;
            }
        }

        invalid.ShouldBeGreaterThan(50);
    }

    [Fact]
    public async Task Truncated_anywhere_it_is_not_valid()
    {
        foreach (var mail in new[] { await SignedAsync(), await EncryptedAsync() })
        {
            for (var length = 0; length < mail.Length - 8; length += 211)
            {
                (await VerdictAsync(mail[..length])).ShouldNotBe(Verdict.Valid);
            }
        }
    }

    private static byte[] Wrapped(byte[] cms, string type) =>
        Octets(
            $"From: {Address}\r\nSubject: x\r\nContent-Type: {type}\r\nContent-Transfer-Encoding: base64\r\n\r\n"
                + $"{Convert.ToBase64String(cms, Base64FormattingOptions.InsertLineBreaks)}\r\n");
}
