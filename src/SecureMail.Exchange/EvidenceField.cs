using System.Text;
using SecureMail.Ledger;
using SecureMail.Mail.Mime;

namespace SecureMail.Exchange;

/// <summary>
/// The header field of a message that carries ledger evidence: <c>SecureMail-Ledger</c>, folded base64 of the JSON that
/// docs/ledger.md gives. The field is outside the message's signature, because it is made when the message is sent,
/// after a checkpoint covers the entry. It needs no signature of its own, because the checkpoint in it is signed.
/// </summary>
public static class EvidenceField
{
    public const string Name = "SecureMail-Ledger";

    /// <summary>The private SMTP capability with which a receiver announces the sizes of the sender's ledger that it
    /// has seen (RFC 5321 §2.2.2).</summary>
    public const string Capability = "XLEDGER";

    private const int LineLength = 72;

    /// <summary>The whole field with its CRLF, as it is prepended to a message.</summary>
    public static byte[] Write(LedgerEvidence evidence)
    {
        var base64 = Convert.ToBase64String(evidence.ToBytes());
        var text = new StringBuilder(Name).Append(':');
        for (var at = 0; at < base64.Length; at += LineLength)
        {
            text.Append("\r\n ").Append(base64, at, Math.Min(LineLength, base64.Length - at));
        }

        return Encoding.ASCII.GetBytes(text.Append("\r\n").ToString());
    }

    /// <summary>The evidence of a message. Null if the message has no such field, or several.</summary>
    /// <exception cref="LedgerException">The field cannot be read.</exception>
    public static LedgerEvidence? Read(MailMessage message)
    {
        if (message.Headers.Where(h => h.Is(Name)).ToList() is not [var field])
        {
            return null;
        }

        var base64 = string.Concat(field.Value.Where(c => !char.IsWhiteSpace(c)));
        var bytes = new byte[Math.Max(3, base64.Length / 4 * 3)];
        return Convert.TryFromBase64String(base64, bytes, out var length)
            ? LedgerEvidence.Parse(bytes.AsMemory(0, length))
            : throw new LedgerException(LedgerFault.Malformed, "The ledger evidence is not base64.");
    }

    /// <summary>
    /// The size from which the lines of an EHLO reply asked the peer for a proof. 0: they said that nothing was seen
    /// yet. Null: they asked nothing, because the peer sent HELO. A peer that was asked nothing must bring its evidence
    /// nevertheless.
    /// </summary>
    public static long? AskedIn(IReadOnlyList<string> announced) =>
        announced.FirstOrDefault(l => l == Capability || l.StartsWith(Capability + " ", StringComparison.Ordinal))
            is not { } line
            ? null
        : ReadSizes(line[Capability.Length..]) is [var highest, ..] ? highest
        : 0;

    /// <summary>The sizes in a capability's parameter. A word that is not a number is skipped, because the parameter is
    /// only a hint.</summary>
    public static IReadOnlyList<long> ReadSizes(string parameter) =>
        [
            .. parameter
                .Split(' ', StringSplitOptions.RemoveEmptyEntries)
                .Take(LedgerEvidence.MaxProofs)
                .Select(s => long.TryParse(s, out var n) ? n : 0)
                .Where(n => n > 0),
        ];
}
