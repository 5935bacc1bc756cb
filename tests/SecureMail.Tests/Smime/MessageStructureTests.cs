using System.Security.Cryptography;
using System.Text;
using SecureMail.Cms;
using SecureMail.Mail.Mime;
using SecureMail.Trust;
using static SecureMail.Tests.Smime.SmimeBench;

namespace SecureMail.Tests.Smime;

/// <summary>Where the signed and the encrypted part stand in a message, as attackers and relays put them.</summary>
public sealed class MessageStructureTests
{
    private static readonly string Header =
        $"From: {Address}\r\nTo: xa@huyen.vn\r\nSubject: x\r\nMIME-Version: 1.0\r\n";
    private static readonly string Content = "Content-Type: text/plain; charset=utf-8\r\n\r\nPay 100.\r\n";
    private static readonly Lazy<Task<byte[]>> Detached = new(() => SignAsync(attached: false));
    private static readonly Lazy<Task<byte[]>> Attached = new(() => SignAsync(attached: true));
    private static readonly Lazy<Task<byte[]>> Sealed = new(SealAsync);

    private static string Lines(byte[] octets) =>
        Convert.ToBase64String(octets, Base64FormattingOptions.InsertLineBreaks);

    private static string Pem(byte[] cms) => PemEncoding.WriteString("CMS", cms).ReplaceLineEndings("\r\n");

    [Theory]
    [InlineData("Content-Type: application/pkcs7-signature", "base64", "Valid")]
    [InlineData("Content-Type: application/x-pkcs7-signature; name=smime.p7s", "base64", "Valid")]
    [InlineData("Content-Type: application/octet-stream; name=smime.p7s", "base64", "Valid")]
    [InlineData("Content-Disposition: attachment; filename=smime.p7s\r\nContent-Type: "
        + "application/octet-stream", "base64", "Valid")]
    [InlineData("Content-Type: application/pkcs7-signature", "binary", "Valid")]
    [InlineData("Content-Type: application/pkcs7-signature", "8bit", "Valid")]
    [InlineData("Content-Type: application/octet-stream; name=smime.pdf", "base64", "Partial")]
    [InlineData("Content-Type: application/pkcs7-mime", "base64", "Partial")]
    [InlineData("Content-Type: text/plain", "base64", "Partial")]
    [InlineData("Content-Type: text/html; name=smime.p7s", "base64", "Partial")]
    [InlineData("Content-Type: image/png; name=smime.p7s", "binary", "Partial")]
    [InlineData("X-Other: 1", "base64", "Partial")]
    public async Task The_signature_part_is_one_that_no_reader_shows(string fields, string encoding, string verdict)
    {
        var cms = await Detached.Value;
        var body = encoding == "base64" ? Lines(cms) : Text(cms);
        var part = $"{fields}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n{body}";
        (await VerdictAsync(Signed(part))).ToString().ShouldBe(verdict);
    }

    [Theory]
    [InlineData("application/pkcs7-signature", "{0}")]
    [InlineData("application/pkcs7-signature", "Pay 9999.\r\n{0}")]
    [InlineData("text/plain", "Pay 9999.\r\n\r\n{0}")]
    public async Task PEM_is_no_signature_inside_MIME(string type, string body)
    {
        var text = string.Format(System.Globalization.CultureInfo.InvariantCulture, body, Pem(await Detached.Value));
        (await VerdictAsync(Signed($"Content-Type: {type}\r\n\r\n{text}"))).ShouldBe(Verdict.Invalid);
        (await VerdictAsync(Octets($"{Header}Content-Type: application/pkcs7-mime\r\n\r\n{Pem(await Attached.Value)}")))
            .ShouldBe(Verdict.Unreadable);
    }

    [Theory]
    [InlineData("\0\0\r\n", "Valid")]
    [InlineData("\r\n\r\n", "Valid")]
    [InlineData("Pay 9999.", "Partial")]
    [InlineData("\0\0 ", "Partial")]
    public async Task Only_zeros_and_line_ends_may_stand_behind_the_signature(string behind, string verdict)
    {
        byte[] detached = [.. await Detached.Value, .. Octets(behind)];
        (await VerdictAsync(Signed(SignaturePart(detached)))).ToString().ShouldBe(verdict);
        byte[] attached = [.. await Attached.Value, .. Octets(behind)];
        (await VerdictAsync(Opaque(attached))).ToString().ShouldBe(verdict);
        byte[] opened = [.. await Sealed.Value, .. Octets(behind)];
        (await VerdictAsync(Opaque(opened))).ToString().ShouldBe(verdict);
    }

    [Theory]
    [InlineData("", "Valid")]
    [InlineData(" \t\r\n\r\n", "Valid")]
    [InlineData("Pay 9999.\r\n", "Partial")]
    [InlineData("\0", "Partial")]
    public async Task Text_behind_the_last_delimiter_is_looked_for_to_the_end(string text, string verdict)
    {
        foreach (var blank in new[] { 0, 1, 2000, 8192, 20_000 })
        {
            var behind = string.Concat(Enumerable.Repeat("\r\n", blank)) + text;
            var signed = Text(Signed(SignaturePart(await Detached.Value)));
            (await VerdictAsync(Octets(signed + behind))).ToString().ShouldBe(verdict);
            (await VerdictAsync(Octets(signed.Replace("\r\n", "\n") + behind))).ToString().ShouldBe(verdict);
            var wrapped = Wrapped("mixed", EntityOf(signed));
            (await VerdictAsync(Octets(wrapped + behind))).ToString().ShouldBe(verdict);
            (await VerdictAsync(Octets(Wrapped("mixed", EntityOf(signed) + behind)))).ToString().ShouldBe(verdict);
            (await VerdictAsync(Octets(Wrapped("mixed", EntityOf(Wrapped("related", EntityOf(signed)) + behind)))))
                .ToString().ShouldBe(verdict);
        }
    }

    [Fact]
    public async Task A_preamble_is_no_reason()
    {
        var signed = Text(Signed(SignaturePart(await Detached.Value)));
        var start = signed.IndexOf("--s\r\n", StringComparison.Ordinal);
        (await VerdictAsync(Octets(signed.Insert(start, "This is an S/MIME message.\r\n")))).ShouldBe(Verdict.Valid);
    }

    [Theory]
    [InlineData("Content-Type: application/pkcs7-mime")]
    [InlineData("Content-Type: application/x-pkcs7-mime; smime-type=enveloped-data; name=x.p7m")]
    [InlineData("Content-Type: application/pkcs7-signature; name=smime.p7s")]
    [InlineData("Content-Type: application/x-pkcs7-signature")]
    [InlineData("Content-Type: application/pkcs7")]
    [InlineData("Content-Type: application/octet-stream; name=smime.p7m")]
    [InlineData("Content-Type: application/octet-stream; name=smime.P7S")]
    [InlineData("Content-Type: application/octet-stream; name=smime.p7z")]
    public async Task An_opaque_signature_is_found_by_type_or_name(string fields)
    {
        var mail = Octets(
            $"{Header}{fields}\r\nContent-Transfer-Encoding: base64 (as "
                + $"always);\r\n\r\n{Lines(await Attached.Value)}\r\n");
        (await VerdictAsync(mail)).ShouldBe(Verdict.Valid);
        var damaged = Octets($"{Header}{fields}\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAAAAAA\r\n");
        (await VerdictAsync(damaged)).ShouldBe(Verdict.Unreadable);
    }

    [Fact]
    public async Task A_detached_signature_without_its_content_waits_for_it()
    {
        var part = SignaturePart(await Detached.Value);
        using (var alone = await ValidateAsync(Octets(Header + part)))
        {
            alone.Verdict.ShouldBe(Verdict.Indeterminate);
            alone.Findings.ShouldHaveSingleItem().Reason.Code.ShouldBe("content-missing");
        }

        using var beside = await ValidateAsync(Octets(Wrapped("mixed", "\r\ntext", part)));
        beside.Verdict.ShouldBe(Verdict.Indeterminate);
        beside.Findings.ShouldHaveSingleItem().CoversWhole.ShouldBeFalse();
    }

    [Fact]
    public async Task A_signed_message_of_one_part_has_lost_its_signature()
    {
        var mail = Octets(
            $"{Header}Content-Type: multipart/signed; protocol=\"application/pkcs7-signature\"; boundary=s\r\n\r\n"
            + $"--s\r\n{Content}\r\n--s--\r\n");
        (await VerdictAsync(mail)).ShouldBe(Verdict.Invalid);
        var header = Header
            + "Content-Type: multipart/signed; protocol=\"application/pkcs7-signature\"; boundary=s\r\n";
        (await VerdictAsync(Octets(header))).ShouldBe(Verdict.Invalid);
        (await VerdictAsync(Octets(Wrapped("mixed", EntityOf(header) + "\r\n")))).ShouldBe(Verdict.Unreadable);
    }

    [Fact]
    public async Task An_envelope_alone_in_a_multipart_is_the_whole()
    {
        var sealedPart = EnvelopePart(await Sealed.Value);
        var once = Wrapped("mixed", sealedPart);
        foreach (var mail in new[] { once, Wrapped("mixed", EntityOf(once)) })
        {
            using var validation = await ValidateAsync(Octets(mail));
            validation.Verdict.ShouldBe(Verdict.Valid);
            validation.Encrypted.ShouldBeTrue();
            Text(Read(validation.Parts.ShouldHaveSingleItem())).ShouldBe("Pay 100.\r\n");
        }

        using var footed = await ValidateAsync(Octets(Wrapped("mixed", sealedPart) + "A footer.\r\n"));
        footed.Verdict.ShouldBe(Verdict.Indeterminate);
        footed.Encrypted.ShouldBeTrue();
    }

    [Theory]
    [InlineData("before")]
    [InlineData("behind")]
    [InlineData("twice")]
    public async Task An_envelope_beside_other_parts_is_reported_and_not_opened(string where)
    {
        var envelope = EnvelopePart(await Sealed.Value);
        const string footer = "Content-Type: text/plain\r\n\r\nA footer.";
        using var validation = await ValidateAsync(
            Octets(
                where switch
                {
                    "before" => Wrapped("mixed", footer, envelope),
                    "behind" => Wrapped("mixed", envelope, footer),
                    _ => Wrapped("mixed", envelope, envelope),
                }));
        validation.Verdict.ShouldBe(Verdict.Indeterminate);
        validation.Encrypted.ShouldBeTrue();
        validation.Problem!.Code.ShouldBe("envelope-among-parts");
        validation.EnvelopeFindings.ShouldHaveSingleItem().Code.ShouldBe("envelope-among-parts");
        validation.Parts.ShouldBeEmpty();
    }

    [Fact]
    public async Task An_envelope_beside_other_parts_under_a_signature_is_reported_and_the_signature_counts()
    {
        var content = EntityOf(
            Wrapped("mixed", "Content-Type: text/plain\r\n\r\ntext", EnvelopePart(await Sealed.Value)));
        var signature = SignaturePart(await SignAsync(attached: false, content));
        using var validation = await ValidateAsync(Signed(signature, content));
        validation.Verdict.ShouldBe(Verdict.Valid);
        validation.Encrypted.ShouldBeTrue();
        validation.EnvelopeFindings.ShouldHaveSingleItem().Code.ShouldBe("envelope-among-parts");
    }

    [Theory]
    [InlineData("base64", "!!!!")]
    [InlineData("x-own", "text")]
    [InlineData("7bit", "no CMS")]
    public async Task A_damaged_attachment_under_a_signature_is_as_its_signer_sent_it(string encoding, string body)
    {
        var attachment = $"Content-Type: application/pkcs7-mime\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n{body}";
        var parts = Wrapped("mixed", "Content-Type: text/plain\r\n\r\ntext", attachment);
        (await VerdictAsync(Octets(parts))).ShouldBe(Verdict.Unreadable);
        var content = EntityOf(parts);
        (await VerdictAsync(Signed(SignaturePart(await SignAsync(attached: false, content)), content)))
            .ShouldBe(Verdict.Valid);
    }

    [Fact]
    public async Task What_is_handed_out_is_what_was_verified()
    {
        // The signature is over CRLF. A reader of the stored file would see its LF, which nobody signed.
        var content = "Content-Type: text/plain\r\nContent-Transfer-Encoding: binary\r\n\r\none\r\ntwo\r\n";
        var mail = Text(Signed(SignaturePart(await SignAsync(attached: false, content)), content));
        using var stored = await ValidateAsync(Octets(mail.Replace("\r\n", "\n")));
        stored.Verdict.ShouldBe(Verdict.Valid);
        Text(Read(stored.Parts.ShouldHaveSingleItem())).ShouldBe("one\r\ntwo\r\n");
        stored.SignedBytesDigest.ShouldBe(SHA256.HashData(Octets(content)));
        using (var raw = stored.Payload!.OpenRaw())
        {
            SHA256.HashData(raw).ShouldBe(stored.SignedBytesDigest);
        }

        // A signature over LF is one over LF.
        var local = content.Replace("\r\n", "\n");
        var asSigned = Text(Signed(SignaturePart(await SignAsync(attached: false, local)), local));
        using var lf = await ValidateAsync(Octets(asSigned));
        lf.Verdict.ShouldBe(Verdict.Valid);
        Text(Read(lf.Parts.ShouldHaveSingleItem())).ShouldBe("one\ntwo\n");
    }

    private static string SignaturePart(byte[] cms) =>
        "Content-Type: application/pkcs7-signature; name=smime.p7s\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        + Lines(cms);

    private static string EnvelopePart(byte[] cms) =>
        $"Content-Type: application/pkcs7-mime; smime-type=enveloped-data\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        + Lines(cms);

    private static byte[] Signed(string signaturePart, string? content = null) =>
        Octets(
            $"{Header}Content-Type: multipart/signed; protocol=\"application/pkcs7-signature\"; micalg=sha-256;\r\n"
            + $" boundary=s\r\n\r\n--s\r\n{content ?? Content}\r\n--s\r\n{signaturePart}\r\n--s--\r\n");

    private static byte[] Opaque(byte[] cms) =>
        Octets(
            $"{Header}Content-Type: application/pkcs7-mime\r\nContent-Transfer-Encoding: "
                + $"base64\r\n\r\n{Lines(cms)}\r\n");

    private static string Wrapped(string subtype, params string[] parts)
    {
        var boundary = "w" + parts.Sum(p => (long)p.Length);
        return $"{Header}Content-Type: multipart/{subtype}; boundary={boundary}\r\n\r\n"
            + string.Concat(parts.Select(p => $"--{boundary}\r\n{p}\r\n")) + $"--{boundary}--\r\n";
    }

    private static string EntityOf(string mail) => mail[mail.IndexOf("Content-Type:", StringComparison.Ordinal)..];

    private static async Task<byte[]> SignAsync(bool attached, string? content = null)
    {
        var request = new SigningRequest(
            Sender.Certificate, [Pki.Ca.Certificate], HashAlgorithmName.SHA256, SignatureScheme.RsaPkcs1, TestPki.Now);
        var text = new MemoryStream(Octets(content ?? Content));
        if (!attached)
        {
            return await CmsSigner.SignDetachedAsync(text, request, Sender.Key);
        }

        var cms = new MemoryStream();
        await CmsSigner.SignAttachedAsync(text, cms, request, Sender.Key);
        return cms.ToArray();
    }

    private static async Task<byte[]> SealAsync()
    {
        var cms = new MemoryStream();
        var inner = Text(Signed(SignaturePart(await Detached.Value)));
        await CmsEnveloper.EncryptAsync(
            new MemoryStream(Octets(EntityOf(inner))), cms, [Recipient.Certificate], ContentCipher.Aes256Gcm);
        return cms.ToArray();
    }
}
