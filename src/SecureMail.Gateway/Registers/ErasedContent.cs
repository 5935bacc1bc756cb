using SecureMail.Exchange;
using SecureMail.Gateway.Words;

namespace SecureMail.Gateway.Registers;

/// <summary>What a register shows where the content was destroyed: who and when, and that the content is
/// gone.</summary>
internal static class ErasedContent
{
    private static readonly string Words =
        Catalogue.InBoth(static language => Catalogue.Text("Content.erased", language));

    public static DispatchCard CardOf(string number, DateTime time, Agency? sender) =>
        new(
            number, Words,
            new Party(sender?.Id ?? Guid.Empty, sender?.LastName.Code ?? "", sender?.LastName.Name ?? ""),
            new DateTimeOffset(time, TimeSpan.Zero), null, 0, null, []);
}
