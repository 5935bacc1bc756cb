using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using SecureMail.Cms;
using SecureMail.Mail.Mime;

namespace SecureMail.Smime;

/// <summary>
/// Signs and encrypts a message (RFC 8551) in steps that may be days apart.
/// <list type="number">
/// <item><see cref="PrepareAsync"/> writes the inner entity, which is the signed content, and prepares its signature
/// without the signature value. The caller stores the entity; later steps copy it and never write it again.</item>
/// <item>The key signs <see cref="PreparedSignature.Digest"/>, on a token or elsewhere, and
/// <see cref="PreparedSignature.Complete"/> makes the SignedData.</item>
/// <item><see cref="WriteSignedAsync"/> or <see cref="WriteEncryptedAsync"/> writes the message;
/// <see cref="EnvelopAsync"/> encrypts it for many destinations at once.</item>
/// </list>
/// From, To, Subject, Date and Message-ID are inside the signature (RFC 9788). The subject in the outer header of an
/// encrypted message is "[...]". This class leaves out: choosing certificates, opaque signing, legacy display parts.
/// </summary>
public static class SmimeComposer
{
    /// <summary>Writes the inner entity and prepares the signature over it.</summary>
    /// <param name="willBeEncrypted">Whether the last step encrypts. The entity tells the reader which protection was
    /// intended (hp="cipher" or "clear").</param>
    /// <param name="inner">The entity is written here; the stream is not closed.</param>
    /// <exception cref="MimeException">A header field, an address or a file name may not be written.</exception>
    public static async Task<PreparedSignature> PrepareAsync(
        OutgoingMessage message, bool willBeEncrypted, SigningRequest request, Stream inner,
        CancellationToken cancellationToken = default)
    {
        var fields = message.Fields(outsideOfEncrypted: false);
        if (willBeEncrypted)
        {
            // RFC 9788 §2.2: the fields of the outer header, so that the reader can tell which fields were hidden and
            // which a relay changed.
            fields.AddFieldsAs("HP-Outer", message.Fields(outsideOfEncrypted: true));
        }

        // RFC 9788 §2.1
        var entity = message.NewBody().AddTypeParameter("hp", willBeEncrypted ? "cipher" : "clear").Prepend(fields);
        using var hash = IncrementalHash.CreateHash(request.Digest);
        await using (var hashed = new HashingStream(inner, hash))
        {
            await entity.WriteAsync(hashed, cancellationToken);
        }

        return PreparedSignature.Prepare(request, hash.GetHashAndReset());
    }

    /// <summary>Writes a message signed in the clear (multipart/signed, RFC 8551 §3.5.3).</summary>
    /// <param name="inner">The entity that <see cref="PrepareAsync"/> wrote; seekable, read from its start.</param>
    /// <param name="signedData">The SignedData that <see cref="PreparedSignature.Complete"/> returned.</param>
    public static async Task WriteSignedAsync(
        OutgoingMessage message, Stream inner, PreparedSignature prepared, byte[] signedData, Stream output,
        CancellationToken cancellationToken = default)
    {
        var entity = SignedEntity(() => Rewound(inner), prepared, signedData);
        await entity
            .Prepend(message.Fields(outsideOfEncrypted: false).AddRaw("MIME-Version", "1.0"))
            .WriteAsync(output, cancellationToken);
    }

    /// <summary>Writes a message signed and then encrypted (application/pkcs7-mime, RFC 8551 §3.3, §3.4).</summary>
    /// <inheritdoc cref="WriteSignedAsync"/>
    /// <param name="recipients">The recipients' certificates, chosen by the caller. They include the sender's own
    /// certificate if the sender is to read its copy.</param>
    /// <exception cref="CmsException">A certificate cannot be encrypted to.</exception>
    public static async Task WriteEncryptedAsync(
        OutgoingMessage message, Stream inner, PreparedSignature prepared, byte[] signedData,
        IReadOnlyList<X509Certificate2> recipients, CipherChoice cipher, Stream output,
        CancellationToken cancellationToken = default)
    {
        await using var signed = await JoinSignedAsync(Rewound(inner), prepared, signedData, cancellationToken);
        await EncryptedEntity(cipher, (cms, token) => CmsEnveloper.EncryptAsync(signed, cms, recipients, cipher, token))
            .Prepend(message.Fields(outsideOfEncrypted: true).AddRaw("MIME-Version", "1.0"))
            .WriteAsync(output, cancellationToken);
    }

    /// <summary>
    /// Encrypts the signed message once for any number of destinations. <see cref="EnvelopedMessage"/> then writes for
    /// each destination a prefix with its own recipients before the common ciphertext. Only the signed part names the
    /// other recipients.
    /// </summary>
    /// <inheritdoc cref="WriteSignedAsync"/>
    /// <param name="ciphertext">The ciphertext is written here, without CMS structure; the caller stores it for
    /// <see cref="EnvelopedMessage.WriteBodyAsync"/>.</param>
    public static async Task<EnvelopedMessage> EnvelopAsync(
        OutgoingMessage message, Stream inner, PreparedSignature prepared, byte[] signedData, CipherChoice cipher,
        Stream ciphertext, CancellationToken cancellationToken = default)
    {
        await using var signed = await JoinSignedAsync(Rewound(inner), prepared, signedData, cancellationToken);
        return new EnvelopedMessage(
            message, cipher, await EncryptedContent.EncryptAsync(signed, ciphertext, cipher, cancellationToken));
    }

    // RFC 8551 §3.2.2
    internal static MimeEntity EncryptedEntity(CipherChoice cipher, Func<Stream, CancellationToken, Task> produce) =>
        MimeEntity.Produced(
            MimeContentType.Of("application/pkcs7-mime", ("smime-type", cipher.SmimeType)), produce, "smime.p7m");

    private static MimeEntity SignedEntity(Func<Stream> openInner, PreparedSignature prepared, byte[] signedData) =>
        MimeEntity.Multipart(
            "signed",
            [
                MimeEntity.Written(openInner),
                MimeEntity.Leaf(
                    MimeContentType.Of("application/pkcs7-signature"), () => new MemoryStream(signedData),
                    LeafEncoding.Base64, "smime.p7s"),
            ],
            ("protocol", "application/pkcs7-signature"),
            ("micalg", MicAlg(prepared.HashAlgorithm)));

    /// <summary>
    /// The multipart/signed as one seekable stream. The inner entity may be large and is not copied. The length of the
    /// stream is known beforehand, so the envelope can be written in DER.
    /// </summary>
    private static async Task<JoinedStream> JoinSignedAsync(
        Stream inner, PreparedSignature prepared, byte[] signedData, CancellationToken cancellationToken)
    {
        var frame = new MemoryStream();
        var innerOffset = 0;
        var entity = SignedEntity(
            () =>
            {
                innerOffset = (int)frame.Position;
                return Stream.Null;
            },
            prepared,
            signedData);
        await entity.WriteAsync(frame, cancellationToken);
        var bytes = frame.ToArray();
        return new JoinedStream(
            new MemoryStream(bytes, 0, innerOffset), inner,
            new MemoryStream(bytes, innerOffset, bytes.Length - innerOffset));
    }

    private static LeaveOpenStream Rewound(Stream inner)
    {
        inner.Position = 0;
        return new LeaveOpenStream(inner);
    }

    // RFC 8551 §3.5.3.2
    private static string MicAlg(HashAlgorithmName digest) =>
        digest.Name switch
        {
            "SHA256" => "sha-256",
            "SHA384" => "sha-384",
            "SHA512" => "sha-512",
            _ => throw new ArgumentException("No micalg is known for this digest.", nameof(digest)),
        };
}
