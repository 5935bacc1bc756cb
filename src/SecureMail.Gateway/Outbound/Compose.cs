using SecureMail.Smime;

namespace SecureMail.Gateway.Outbound;

/// <summary>A dispatch as the mail that leaves, but for the ledger field that each sending puts before it.</summary>
internal sealed record ComposedDispatch(SignedDispatch Signed, Stream Message) : IAsyncDisposable
{
    public ValueTask DisposeAsync() => Message.DisposeAsync();
}

/// <summary>Signed → composed: encrypted once, to every addressee that can be reached, with the best cipher that all of them read.</summary>
internal static class Compose
{
    public static async Task<ComposedDispatch> ComposeAsync(SignedDispatch signed, CancellationToken cancellationToken)
    {
        // Ciphertext: a plain temporary file will do, gone when it is closed.
        var message = new FileStream(Path.GetTempFileName(), FileMode.Create, FileAccess.ReadWrite, FileShare.None, 64 * 1024, FileOptions.DeleteOnClose | FileOptions.Asynchronous);
        try
        {
            await using var inner = signed.Inner.OpenRead();
            await SmimeComposer.WriteEncryptedAsync(
                signed.Message, inner, signed.Prepared, signed.SignedData, signed.Authorised.EncryptTo, signed.Authorised.Cipher.Choice, message, cancellationToken);
            message.Position = 0;
            return new ComposedDispatch(signed, message);
        }
        catch
        {
            await message.DisposeAsync();
            throw;
        }
    }
}
