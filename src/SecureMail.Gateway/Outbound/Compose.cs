using SecureMail.Cms;
using SecureMail.Exchange;
using SecureMail.Smime;

namespace SecureMail.Gateway.Outbound;

/// <summary>
/// A dispatch as the mail that leaves, but for the ledger field that each sending puts before it: heads, and one body
/// that stands behind any of them.
/// </summary>
/// <param name="WholeHead">With every addressee's copy of the content's key: with the body, a message for all.</param>
/// <param name="Heads">By gateway, with the keys of the agencies behind it alone. None when there is but one gateway:
/// the whole head is its head.</param>
/// <param name="Ciphertext">Read by <paramref name="Message"/> when the body is written.</param>
internal sealed record ComposedDispatch(
    SignedDispatch Signed, byte[] WholeHead, IReadOnlyDictionary<string, byte[]> Heads, EnvelopedMessage Message,
    Stream Ciphertext) : IAsyncDisposable
{
    public Task WriteBodyAsync(Stream output, CancellationToken cancellationToken) =>
        Message.WriteBodyAsync(Ciphertext, output, cancellationToken);

    public async ValueTask DisposeAsync()
    {
        Message.Dispose();
        await Ciphertext.DisposeAsync();
    }
}

/// <summary>Signed → composed: encrypted once, with the best cipher that all addressees read, and a head for each
/// gateway behind which there are some.</summary>
internal static class Compose
{
    public static async Task<ComposedDispatch> ComposeAsync(SignedDispatch signed, CancellationToken cancellationToken)
    {
        // Ciphertext: a plain temporary file will do, gone when it is closed.
        var ciphertext = new FileStream(
            Path.GetTempFileName(), FileMode.Create, FileAccess.ReadWrite, FileShare.None, 64 * 1024,
            FileOptions.DeleteOnClose | FileOptions.Asynchronous);
        EnvelopedMessage? message = null;
        try
        {
            await using var inner = signed.Inner.OpenRead();
            message = await SmimeComposer.EnvelopAsync(
                signed.Message, inner, signed.Prepared, signed.SignedData, signed.Authorised.Cipher.Choice, ciphertext,
                cancellationToken);
            ciphertext.Position = 0;
            var gateways = signed
                .Authorised.Addressees.GroupBy(a => a.Agency.Record.Gateway, StringComparer.Ordinal)
                .ToList();
            Dictionary<string, byte[]> heads = new(StringComparer.Ordinal);
            foreach (var gateway in gateways.Count > 1 ? gateways : [])
            {
                heads[gateway.Key] = await HeadAsync(message, gateway, cancellationToken);
            }

            return new ComposedDispatch(
                signed, await HeadAsync(message, signed.Authorised.Addressees, cancellationToken), heads, message,
                ciphertext);
        }
        catch
        {
            message?.Dispose();
            await ciphertext.DisposeAsync();
            throw;
        }
    }

    private static async Task<byte[]> HeadAsync(
        EnvelopedMessage message, IEnumerable<Addressee> addressees, CancellationToken cancellationToken)
    {
        using var head = new MemoryStream();
        await message.WritePrefixAsync(
            [.. addressees.Select(a => EnvelopeRecipient.Of(a.EncryptTo))], head, cancellationToken);
        return head.ToArray();
    }
}
