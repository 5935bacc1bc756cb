using SecureMail.Exchange;

namespace SecureMail.Gateway.Registers;

/// <summary>What a register shows where the manifest was destroyed: who and when, and that the content is gone. Never
/// sent, never judged.</summary>
internal static class ErasedManifest
{
    public const string Words = "Đã hủy nội dung / Content erased";

    public static Manifest For(Guid dispatch, string number, DateTime time, Agency? sender) =>
        new()
        {
            DispatchId = dispatch,
            Issued = new DateTimeOffset(time, TimeSpan.Zero),
            Sender = new Party(sender?.Id ?? Guid.Empty, sender?.LastName.Code ?? "", sender?.LastName.Name ?? ""),
            Recipients = [],
            Fields = new DispatchFields { Number = number, Subject = Words },
            Documents = [],
            Salt = new byte[32],
        };
}
