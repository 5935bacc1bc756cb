using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using SecureMail.Cms;
using SecureMail.Mail.Mime;

namespace SecureMail.Smime;

/// <summary>
/// Secures a message (RFC 8551): sign, then encrypt, in steps that may lie days apart.
/// <list type="number">
/// <item><see cref="PrepareAsync"/> writes the inner entity, which is what gets signed, and its signature minus the
/// value. The caller keeps the bytes; they are the message from here on and are never written anew.</item>
/// <item>The key signs <see cref="PreparedSignature.Digest"/>, wherever it is;
/// <see cref="PreparedSignature.Complete"/>.</item>
/// <item><see cref="WriteSignedAsync"/> or <see cref="WriteEncryptedAsync"/> writes the message;
/// <see cref="EnvelopAsync"/> encrypts it for many destinations at once.</item>
/// </list>
/// From, To, Subject, Date and Message-ID stand inside the signature (RFC 9788); outside an encrypted message the
/// subject is "[...]". It leaves out: choosing certificates, opaque signing, legacy display parts.
/// </summary>
public static class SmimeComposer
{
    /// <summary>Writes the inner entity and prepares the signature over it.</summary>
    /// <param name="willBeEncrypted">Says to the reader what protection was meant (hp="cipher" or "clear"); it must be
    /// kept in the last step.</param>
    /// <param name="inner">Written, not closed.</param>
    /// <exception cref="MimeException">A header, address or file name may not be written.</exception>
    public static async Task<PreparedSignature> PrepareAsync(
        OutgoingMessage message, bool willBeEncrypted, SigningRequest request, Stream inner,
        CancellationToken cancellationToken = default)
    {
        var fields = message.Fields(outsideOfEncrypted: false);
        if (willBeEncrypted)
        {
            // RFC 9788 §2.2: what will stand outside, so that the reader can tell what was hidden and what a relay
            // changed.
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
    /// <param name="inner">What <see cref="PrepareAsync"/> wrote, seekable; read from its start.</param>
    /// <param name="signedData">What <see cref="PreparedSignature.Complete"/> gave.</param>
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
    /// <param name="recipients">Certificates, chosen by the caller; the sender's own belongs among them if it is to
    /// read its copy.</param>
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
    /// Encrypts the signed message once, for any number of destinations: <see cref="EnvelopedMessage"/> then gives each of
    /// them a head with its own recipients before the one ciphertext. Who else is addressed stands in the signed part
    /// alone.
    /// </summary>
    /// <inheritdoc cref="WriteSignedAsync"/>
    /// <param name="ciphertext">The bare ciphertext is written here; the caller keeps it for
    /// <see cref="EnvelopedMessage.WriteBodyAsync"/>.</param>
    public static async Task<EnvelopedMessage> EnvelopAsync(
        OutgoingMessage message, Stream inner, PreparedSignature prepared, byte[] signedData, CipherChoice cipher,
        Stream ciphertext, CancellationToken cancellationToken = default)
    {
        await using var signed = await JoinSignedAsync(Rewound(inner), prepared, signedData, cancellationToken);
        return new EnvelopedMessage(
            message, cipher, await SealedContent.SealAsync(signed, ciphertext, cipher, cancellationToken));
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
    /// The multipart/signed as one seekable stream around the inner bytes, which may be large and are not copied: its
    /// length is known beforehand, so the envelope can be DER.
    /// </summary>
    private static async Task<JoinedStream> JoinSignedAsync(
        Stream inner, PreparedSignature prepared, byte[] signedData, CancellationToken cancellationToken)
    {
        var frame = new MemoryStream();
        var place = 0;
        var entity = SignedEntity(
            () =>
            {
                place = (int)frame.Position; // where the inner bytes belong
                return Stream.Null;
            },
            prepared,
            signedData);
        await entity.WriteAsync(frame, cancellationToken);
        var bytes = frame.ToArray();
        return new JoinedStream(
            new MemoryStream(bytes, 0, place), inner, new MemoryStream(bytes, place, bytes.Length - place));
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
