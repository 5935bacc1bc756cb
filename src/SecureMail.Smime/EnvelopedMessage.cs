using SecureMail.Cms;
using SecureMail.Mail.Mime;

namespace SecureMail.Smime;

/// <summary>
/// A message signed and encrypted once (<see cref="SmimeComposer.EnvelopAsync"/>), of which each destination gets a copy:
/// a small head of its own (<see cref="WritePrefixAsync"/>: the fields outside, and the content's key for that
/// destination's recipients), then a body that is the same text in every copy (<see cref="WriteBodyAsync"/>) and need
/// be kept once. The fields outside are the same too, as the signed part says they are. Dispose it when every head is
/// written: that wipes the key.
/// </summary>
public sealed class EnvelopedMessage : IDisposable
{
    private readonly OutgoingMessage _message;
    private readonly CipherChoice _cipher;
    private readonly SealedContent _content;

    internal EnvelopedMessage(OutgoingMessage message, CipherChoice cipher, SealedContent content)
    {
        _message = message;
        _cipher = cipher;
        _content = content;
    }

    /// <summary>Writes what stands before the body in the copy of one destination. Heads may be written at
    /// once.</summary>
    /// <param name="recipients">Those of this destination.</param>
    /// <param name="output">Written, not closed.</param>
    public async Task WritePrefixAsync(
        IReadOnlyList<EnvelopeRecipient> recipients, Stream output, CancellationToken cancellationToken = default)
    {
        // RFC 4648 §4: three bytes are four characters, so a head of such threes ends without padding, and the body
        // begins a line.
        var head = _content.WriteHead(recipients, inTriples: true);
        await SmimeComposer
            .EncryptedEntity(_cipher, async (cms, token) => await cms.WriteAsync(head, token))
            .Prepend(_message.Fields(outsideOfEncrypted: true).AddRaw("MIME-Version", "1.0"))
            .WriteAsync(output, cancellationToken);
    }

    /// <summary>Writes what stands behind any head.</summary>
    /// <param name="ciphertext">What <see cref="SmimeComposer.EnvelopAsync"/> wrote, seekable.</param>
    /// <param name="output">Written, not closed.</param>
    /// <exception cref="IOException">The ciphertext is of another length than was written.</exception>
    public async Task WriteBodyAsync(Stream ciphertext, Stream output, CancellationToken cancellationToken = default)
    {
        if (ciphertext.Length != _content.CiphertextLength)
        {
            throw new IOException("the ciphertext is not what was written");
        }

        await using var bytes = new JoinedStream(new LeaveOpenStream(ciphertext), new MemoryStream(_content.Tail.ToArray()));
        await MimeEntity.WriteBase64Async(bytes, output, cancellationToken);
    }

    public void Dispose() => _content.Dispose();
}
