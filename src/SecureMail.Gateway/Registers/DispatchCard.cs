using System.Text.Json;
using SecureMail.Exchange;
using SecureMail.Ledger;
using SecureMail.Storage;

namespace SecureMail.Gateway.Registers;

/// <summary>What a register lists of a dispatch. It lies encrypted in the dispatch's row.</summary>
/// <param name="Number">Number and notation, e.g. <c>36-HD/VPTW</c>.</param>
/// <param name="Documents">Names of the documents, in order.</param>
public sealed record DispatchCard(
    string Number, string Subject, Party Sender, DateTimeOffset Issued, string? TypeName, int Priority, string? Secrecy,
    IReadOnlyList<string> Documents)
{
    public static DispatchCard Of(Manifest manifest) =>
        new(
            manifest.Fields.Number, manifest.Fields.Subject, manifest.Sender, manifest.Issued, manifest.Fields.TypeName,
            manifest.Fields.Priority, manifest.Fields.Secrecy, [.. manifest.Documents.Select(d => d.Name)]);

    /// <param name="row">The id of the row that gets the card.</param>
    internal EncryptedCard Encrypt(CardCipher cipher, Guid row) =>
        cipher.Encrypt(row, JsonSerializer.SerializeToUtf8Bytes(this, WireJson.Options));

    /// <exception cref="InvalidDataException">The row was changed, or its storage key is absent.</exception>
    internal static DispatchCard Decrypt(CardCipher cipher, Guid row, EncryptedCard card) =>
        JsonSerializer.Deserialize<DispatchCard>(cipher.Decrypt(row, card), WireJson.Options)
        ?? throw new InvalidDataException($"The card of {row} is empty.");
}
