using System.Buffers.Text;
using System.Security.Cryptography;
using System.Security.Cryptography.Pkcs;
using System.Security.Cryptography.X509Certificates;
using System.Text;

namespace SecureMail.Benchmarks;

/// <summary>
/// The other peer: .NET's SignedCms and EnvelopedCms. They know no GCM, so they are measured with AES-256-CBC on both
/// sides; they read no mail, so what S/MIME text needs besides is done here in the shortest way.
/// </summary>
internal sealed class PlatformCms(Materials materials)
{
    private readonly X509Certificate2 _signer = materials.Signer.Certificate.CopyWithPrivateKey(materials.Signer.Key);

    public byte[] SignEncrypt(byte[] content)
    {
        var signed = new SignedCms(new ContentInfo(content), detached: false);
        signed.ComputeSignature(
            new CmsSigner(_signer)
            {
                IncludeOption = X509IncludeOption.EndCertOnly,
                DigestAlgorithm = new Oid("2.16.840.1.101.3.4.2.1"),
            });
        var enveloped = new EnvelopedCms(
            new ContentInfo(signed.Encode()), new AlgorithmIdentifier(new Oid("2.16.840.1.101.3.4.1.42")));
        enveloped.Encrypt(new CmsRecipient(materials.Recipient.Certificate, RSAEncryptionPadding.Pkcs1));
        return enveloped.Encode();
    }

    public byte[] DecryptVerify(byte[] sealedSigned)
    {
        var signed = new SignedCms();
        signed.Decode(Decrypt(sealedSigned));
        signed.CheckSignature(verifySignatureOnly: true);
        return signed.ContentInfo.Content;
    }

    /// <summary>The signed entity of an encrypted message that has a multipart/signed inside.</summary>
    public byte[] DecryptVerifyText(byte[] message)
    {
        var body = message.AsSpan(message.AsSpan().IndexOf("\r\n\r\n"u8));
        var inner = Decrypt(FromBase64(body));
        var head = Encoding.ASCII.GetString(inner, 0, inner.AsSpan().IndexOf("\r\n\r\n"u8));
        var delimiter = Encoding.ASCII.GetBytes(
            "\r\n--" + head[(head.IndexOf("boundary=\"", StringComparison.Ordinal) + 10)..].Split('"')[0]);
        var start = inner.AsSpan().IndexOf(delimiter) + delimiter.Length + 2;
        var length = inner.AsSpan(start).IndexOf(delimiter);
        var rest = inner.AsSpan(start + length + delimiter.Length);
        rest = rest[rest.IndexOf("\r\n\r\n"u8)..];
        var content = inner[start..(start + length)];
        var signed = new SignedCms(new ContentInfo(content), detached: true);
        signed.Decode(FromBase64(rest[..rest.IndexOf(delimiter)]));
        signed.CheckSignature(verifySignatureOnly: true);
        return content;
    }

    private byte[] Decrypt(byte[] encrypted)
    {
        var enveloped = new EnvelopedCms();
        enveloped.Decode(encrypted);
        enveloped.Decrypt(enveloped.RecipientInfos[0], materials.Recipient.Key);
        return enveloped.ContentInfo.Content;
    }

    private static byte[] FromBase64(ReadOnlySpan<byte> text)
    {
        var octets = new byte[Base64.GetMaxDecodedFromUtf8Length(text.Length)];
        Base64.DecodeFromUtf8(text, octets, out _, out var written);
        return octets[..written];
    }
}
