using SecureMail.Cms;
using SecureMail.Mail.Mime;

namespace SecureMail.Smime;

/// <summary>
/// A message signed and encrypted once (<see cref="SmimeComposer.EnvelopAsync"/>) for many destinations. Each
/// destination gets a copy: a small prefix of its own (<see cref="WritePrefixAsync"/>: the outer header and the
/// RecipientInfos for the recipients of that destination), then a body that is the same text in every copy
/// (<see cref="WriteBodyAsync"/>) and is stored once. The outer header is also the same in every copy, because the
/// signed part repeats it (HP-Outer). Dispose this object when every prefix is written: that erases the
/// content-encryption key.
/// </summary>
public sealed class EnvelopedMessage : IDisposable
{
    private readonly OutgoingMessage _message;
    private readonly CipherChoice _cipher;
    private readonly EncryptedContent _content;

    internal EnvelopedMessage(OutgoingMessage message, CipherChoice cipher, EncryptedContent content)
    {
        _message = message;
        _cipher = cipher;
        _content = content;
    }

    /// <summary>
    /// Writes the prefix of one destination's copy: everything before the body. Several prefixes may be written at the
    /// same time.
    /// </summary>
    /// <param name="recipients">The recipients of this destination.</param>
    /// <param name="output">Written, not closed.</param>
    public async Task WritePrefixAsync(
        IReadOnlyList<EnvelopeRecipient> recipients, Stream output, CancellationToken cancellationToken = default)
    {
        // RFC 4648 §4: three octets become four characters. The prefix is a multiple of three octets, so its base64
        // text ends without padding, and the body begins on a new line.
        var prefix = _content.EncodePrefix(recipients, alignToBase64: true);
        await SmimeComposer
            .EncryptedEntity(_cipher, async (cms, token) => await cms.WriteAsync(prefix, token))
            .Prepend(_message.Fields(outsideOfEncrypted: true).AddRaw("MIME-Version", "1.0"))
            .WriteAsync(output, cancellationToken);
    }

    /// <summary>Writes the body, which follows every prefix.</summary>
    /// <param name="ciphertext">The ciphertext that <see cref="SmimeComposer.EnvelopAsync"/> wrote; seekable.</param>
    /// <param name="output">Written, not closed.</param>
    /// <exception cref="IOException">The ciphertext has another length than the one written.</exception>
    public async Task WriteBodyAsync(Stream ciphertext, Stream output, CancellationToken cancellationToken = default)
    {
        if (ciphertext.Length != _content.CiphertextLength)
        {
            throw new IOException("The ciphertext has another length than the one written.");
        }

        await using var content = new JoinedStream(
            new LeaveOpenStream(ciphertext), new MemoryStream(_content.Suffix.ToArray()));
        await MimeEntity.WriteBase64Async(content, output, cancellationToken);
    }

    public void Dispose() => _content.Dispose();
}
