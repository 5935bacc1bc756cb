using SecureMail.Cms;
using SecureMail.Exchange;
using SecureMail.Smime;

namespace SecureMail.Gateway.Outbound;

/// <summary>
/// A dispatch as the mail that leaves, without the ledger's header field that each sending puts before it:
/// RecipientInfos prefixes, and one body that stands behind each of them.
/// </summary>
/// <param name="WholePrefix">The prefix with every addressee's copy of the content key. With the body it is a message
/// for all.</param>
/// <param name="Prefixes">For each gateway the prefix with the keys of its agencies alone. Empty where there is one
/// gateway, which gets the whole prefix.</param>
/// <param name="Ciphertext">Read by <paramref name="Message"/> when the body is written.</param>
internal sealed record ComposedDispatch(
    SignedDispatch Signed, byte[] WholePrefix, IReadOnlyDictionary<string, byte[]> Prefixes, EnvelopedMessage Message,
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

/// <summary>Signed → composed: encrypted once, with the best cipher that all addressees read, and with a RecipientInfos
/// prefix for each gateway that serves addressees.</summary>
internal static class Compose
{
    public static async Task<ComposedDispatch> ComposeAsync(SignedDispatch signed, CancellationToken cancellationToken)
    {
        // The file holds ciphertext, so a plain temporary file will do. It is deleted when it is closed.
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
                .Authorised.Addressees.GroupBy(a => a.Agency.GatewayAt(signed.Message.Date), StringComparer.Ordinal)
                .ToList();
            Dictionary<string, byte[]> prefixes = new(StringComparer.Ordinal);
            foreach (var gateway in gateways.Count > 1 ? gateways : [])
            {
                prefixes[gateway.Key] = await PrefixAsync(message, gateway, cancellationToken);
            }

            return new ComposedDispatch(
                signed, await PrefixAsync(message, signed.Authorised.Addressees, cancellationToken), prefixes, message,
                ciphertext);
        }
        catch
        {
            message?.Dispose();
            await ciphertext.DisposeAsync();
            throw;
        }
    }

    private static async Task<byte[]> PrefixAsync(
        EnvelopedMessage message, IEnumerable<Addressee> addressees, CancellationToken cancellationToken)
    {
        using var head = new MemoryStream();
        await message.WritePrefixAsync(
            [.. addressees.Select(a => EnvelopeRecipient.Of(a.EncryptTo))], head, cancellationToken);
        return head.ToArray();
    }
}
