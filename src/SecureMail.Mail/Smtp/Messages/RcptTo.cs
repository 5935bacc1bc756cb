using SecureMail.Mail.Mime;

namespace SecureMail.Mail.Smtp.Messages;

/// <summary>RCPT TO (RFC 5321 §4.1.1.3).</summary>
/// <param name="Address">The mailbox; "postmaster" needs no domain.</param>
public sealed record RcptTo(string Address)
{
    /// <summary>Reads "TO:&lt;path&gt;". On failure <paramref name="error"/> is the reply to send.</summary>
    internal static bool TryParse(string argument, out RcptTo recipient, out SmtpReply error)
    {
        recipient = new RcptTo("");
        if (!SmtpPath.TryParse(argument, "TO:", out var path, out var parameters, out error))
        {
            return false;
        }

        if (path.Length == 0)
        {
            error = new SmtpReply(501, "5.1.3", "A recipient is needed");
            return false;
        }

        if (parameters.Count > 0)
        {
            error = new SmtpReply(555, "5.5.4", "A parameter of RCPT is not known here");
            return false;
        }

        recipient = new RcptTo(path);
        return true;
    }

    /// <exception cref="MimeException">InvalidAddress, UnsafeHeader.</exception>
    internal string ToWire() => $"RCPT TO:<{SmtpPath.RequireSendable(Address)}>";
}
