using System.Security.Cryptography;
using MimeKit;
using Org.BouncyCastle.Asn1;
using Org.BouncyCastle.Asn1.Cms;
using Org.BouncyCastle.Cms;
using Org.BouncyCastle.Crypto;
using Org.BouncyCastle.Crypto.Encodings;
using Org.BouncyCastle.Crypto.Engines;
using Org.BouncyCastle.Crypto.Modes;
using Org.BouncyCastle.Crypto.Parameters;
using Org.BouncyCastle.OpenSsl;
using Org.BouncyCastle.X509;

namespace SecureMail.Tests.SecondReaders;

/// <summary>
/// Reads signed messages with MimeKit and BouncyCastle, which share no code with the product. It removes
/// multipart/signed,
/// enclosed signatures, EnvelopedData for one RSA key, and multiparts of one part, as a mail client does.
/// </summary>
internal sealed class SecondReader
{
    private readonly AsymmetricKeyParameter _key;

    static SecondReader() => SecureMail.Libcrypto.BouncyCastle.Configure();

    public SecondReader(string recipientKeyPem)
    {
        using var reader = new PemReader(new StringReader(recipientKeyPem));
        _key = reader.ReadObject() switch
        {
            AsymmetricCipherKeyPair pair => pair.Private,
            AsymmetricKeyParameter key => key,
            _ => throw new InvalidDataException("The recipient's key is not PEM."),
        };
    }

    /// <summary>The signed content; null when this reader finds no signature that verifies, or an envelope that it
    /// cannot
    /// open.</summary>
    public Reading? Read(byte[] mail)
    {
        List<string> signers = [];
        MimeEntity? entity = MimeMessage.Load(ParserOptions.Default, new MemoryStream(Strip(mail))).Body;
        for (var depth = 0; depth < 16 && entity is not null; depth++)
        {
            var next = Unwrap(entity, signers);
            if (next is null)
            {
                break;
            }

            entity = next;
        }

        if (signers.Count == 0 || entity is null)
        {
            return null;
        }

        List<string> leaves = [];
        Collect(entity, leaves);
        signers.Sort(StringComparer.Ordinal);
        return new Reading(signers, leaves);
    }

    /// <summary>SHA-256 of the certificates whose signatures of a SignedData verify, sorted; null when one does
    /// not.</summary>
    public static IReadOnlyList<string>? ReadSigners(byte[] cms, byte[]? detached)
    {
        List<string> signers = [];
        if (!Verify(cms, detached, signers))
        {
            return null;
        }

        signers.Sort(StringComparer.Ordinal);
        return signers;
    }

    private MimeEntity? Unwrap(MimeEntity entity, List<string> signers)
    {
        switch (entity)
        {
            case Multipart { Count: 2 } signed when signed.ContentType.IsMimeType("multipart", "signed"):
                return signed[1] is MimePart part && Verify(Octets(part), Raw(signed[0]), signers) ? signed[0] : null;
            case Multipart { Count: 1 } alone:
                return alone[0];
            case MimePart cms when IsCms(cms):
                return UnwrapCms(Octets(cms), signers);
            default:
                return null;
        }
    }

    private MimeEntity? UnwrapCms(byte[] cms, List<string> signers)
    {
        switch (ContentInfoOf(cms).ContentType.Id)
        {
            case "1.2.840.113549.1.7.2":
                var content = new CmsSignedData(new MemoryStream(cms)).SignedContent;
                var text = new MemoryStream();
                content?.Write(text);
                return content is not null && Verify(cms, null, signers) ? Load(text.ToArray()) : null;
            case "1.2.840.113549.1.7.3":
                var recipient = new CmsEnvelopedData(new MemoryStream(cms)).GetRecipientInfos().GetRecipients().First();
                return Load(recipient.GetContent(_key));
            case "1.2.840.113549.1.9.16.1.23":
                return Load(OpenGcm(cms));
            default:
                return null;
        }
    }

    private static ContentInfo ContentInfoOf(byte[] cms) =>
        ContentInfo.GetInstance(Asn1Object.FromStream(new MemoryStream(cms)));

    /// <summary>Opens AuthEnvelopedData (RFC 5083, RFC 5084), for which BouncyCastle has no public reader.</summary>
    private byte[] OpenGcm(byte[] cms)
    {
        var data = AuthEnvelopedData.GetInstance(ContentInfoOf(cms).Content);
        var recipient = KeyTransRecipientInfo.GetInstance(RecipientInfo.GetInstance(data.RecipientInfos[0]).Info);
        var rsa = new Pkcs1Encoding(new RsaEngine());
        rsa.Init(forEncryption: false, _key);
        var wrapped = recipient.EncryptedKey.GetOctets();
        var key = rsa.ProcessBlock(wrapped, 0, wrapped.Length);
        var content = data.AuthEncryptedContentInfo;
        var nonce = GcmParameters.GetInstance(content.ContentEncryptionAlgorithm.Parameters).GetNonce();
        var tag = data.Mac.GetOctets();
        var cipher = new GcmBlockCipher(AesUtilities.CreateEngine());
        cipher.Init(forEncryption: false, new AeadParameters(new KeyParameter(key), tag.Length * 8, nonce));
        byte[] input = [.. content.EncryptedContent.GetOctets(), .. tag];
        var output = new byte[cipher.GetOutputSize(input.Length)];
        var count = cipher.ProcessBytes(input, 0, input.Length, output, 0);
        count += cipher.DoFinal(output, count);
        return output[..count];
    }

    private static bool Verify(byte[] cms, byte[]? detached, List<string> signers)
    {
        var data = detached is null
            ? new CmsSignedData(new MemoryStream(cms))
            : new CmsSignedData(new CmsProcessableByteArray(detached), new MemoryStream(cms));
        var found = false;
        foreach (var signer in data.GetSignerInfos().GetSigners())
        {
            // BouncyCastle compares names more strictly than RFC 5280 §7.1. The identifier is not signed, so the serial
            // number is enough to find the certificate that the value is verified with.
            X509Certificate? certificate = data.GetCertificates().EnumerateMatches(signer.SignerID)
                .Concat(
                    data.GetCertificates().EnumerateMatches(null)
                        .Where(c => c.SerialNumber.Equals(signer.SignerID.SerialNumber)))
                .FirstOrDefault();
            if (certificate is null || !signer.Verify(certificate))
            {
                return false;
            }

            signers.Add(Convert.ToHexStringLower(SHA256.HashData(certificate.GetEncoded())));
            found = true;
        }

        return found;
    }

    private static void Collect(MimeEntity entity, List<string> leaves)
    {
        switch (entity)
        {
            case Multipart multipart:
                foreach (var child in multipart)
                {
                    Collect(child, leaves);
                }

                break;
            case MessagePart message:
                var raw = new MemoryStream();
                message.Message?.WriteTo(Canonical, raw);
                leaves.Add(Reading.Leaf(message.ContentType.MimeType, raw.ToArray()));
                break;
            case MimePart part:
                leaves.Add(Reading.Leaf(part.ContentType.MimeType, Octets(part)));
                break;
        }
    }

    private static FormatOptions Canonical
    {
        get
        {
            var options = FormatOptions.Default.Clone();
            options.NewLineFormat = NewLineFormat.Dos;
            return options;
        }
    }

    /// <summary>The part in canonical form (RFC 8551 §3.1.1), as MimeKit verifies it.</summary>
    private static byte[] Raw(MimeEntity entity)
    {
        var options = Canonical;
        options.EnsureNewLine = false;
        var output = new MemoryStream();
        entity.WriteTo(options, output);
        return output.ToArray();
    }

    private static byte[] Octets(MimePart part)
    {
        var output = new MemoryStream();
        part.Content?.DecodeTo(output);
        return output.ToArray();
    }

    private static MimeEntity Load(byte[] entity) => MimeEntity.Load(ParserOptions.Default, new MemoryStream(entity));

    private static bool IsCms(MimePart part) =>
        part.ContentType.MimeType.ToLowerInvariant().Replace("/x-", "/", StringComparison.Ordinal)
            is "application/pkcs7-mime" or "application/pkcs7-signature" or "application/pkcs7"
        || (
            part.ContentType.IsMimeType("application", "octet-stream")
            && part.FileName?.Contains(".p7", StringComparison.OrdinalIgnoreCase) == true);

    /// <summary>The message without a byte order mark, which MimeKit does not pass over.</summary>
    private static byte[] Strip(byte[] mail) => mail is [0xEF, 0xBB, 0xBF, ..] ? mail[3..] : mail;
}
