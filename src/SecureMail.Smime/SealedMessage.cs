using SecureMail.Cms;

namespace SecureMail.Smime;

/// <summary>
/// A message signed and encrypted once (<see cref="SmimeComposer.SealAsync"/>), of which each destination gets a copy with its own small header. The fields
/// outside are the same in every copy, as the signed part says they are. Dispose it when every copy is written: that wipes the key.
/// </summary>
public sealed class SealedMessage : IDisposable
{
    private readonly OutgoingMessage _message;
    private readonly CipherChoice _cipher;
    private readonly SealedContent _content;

    internal SealedMessage(OutgoingMessage message, CipherChoice cipher, SealedContent content)
    {
        _message = message;
        _cipher = cipher;
        _content = content;
    }

    /// <summary>Writes the copy of one destination. Copies may be written at once, each from a stream of its own.</summary>
    /// <param name="recipients">Those of this destination.</param>
    /// <param name="ciphertext">What <see cref="SmimeComposer.SealAsync"/> wrote, from its beginning; read to its end.</param>
    /// <param name="output">Written, not closed.</param>
    /// <exception cref="IOException">The ciphertext is of another length than was written.</exception>
    public async Task WriteAsync(IReadOnlyList<EnvelopeRecipient> recipients, Stream ciphertext, Stream output, CancellationToken ct = default)
    {
        var head = _content.WriteHead(recipients);
        await SmimeComposer.EncryptedEntity(_cipher, WriteCmsAsync)
            .Prepend(_message.Fields(outsideOfEncrypted: true).AddRaw("MIME-Version", "1.0")).WriteAsync(output, ct);

        async Task WriteCmsAsync(Stream cms, CancellationToken token)
        {
            await cms.WriteAsync(head, token);
            var buffer = new byte[64 * 1024];
            long copied = 0;
            for (int count; (count = await ciphertext.ReadAsync(buffer, token)) > 0; copied += count)
                await cms.WriteAsync(buffer.AsMemory(0, count), token);
            if (copied != _content.CiphertextLength)
                throw new IOException("the ciphertext is not what was written");
            await cms.WriteAsync(_content.Tail, token);
        }
    }

    public void Dispose() => _content.Dispose();
}
