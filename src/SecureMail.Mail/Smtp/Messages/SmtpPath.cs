using System.Text;
using SecureMail.Mail.Mime;

namespace SecureMail.Mail.Smtp.Messages;

/// <summary>Reads a path in angle brackets and the parameters after it (RFC 5321 §4.1.2).</summary>
internal static class SmtpPath
{
    private const int MaxPath = 256; // RFC 5321 §4.5.3.1.3
    private const int MaxParameters = 10;

    public static bool TryParse(
        string argument, string prefix, out string path, out IReadOnlyList<string> parameters, out SmtpReply error)
    {
        path = "";
        parameters = [];
        error = new SmtpReply(501, "5.5.4", $"Syntax: {prefix}<address>");
        if (!argument.StartsWith(prefix, StringComparison.OrdinalIgnoreCase))
        {
            return false;
        }

        var rest = argument[prefix.Length..].TrimStart(' '); // older clients write a space here, which is harmless
        var close = EndOfPath(rest);
        if (close < 0)
        {
            return false;
        }

        var behind = rest[(close + 1)..];
        if (behind.Length > 0 && behind[0] != ' ')
        {
            return false;
        }

        var words = behind.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        if (words.Length > MaxParameters)
        {
            return false;
        }

        var inner = rest[1..close];
        // RFC 5321 §4.1.2, appendix C: a source route is accepted and ignored.
        if (inner.StartsWith('@') && inner.IndexOf(':', StringComparison.Ordinal) is > 0 and var colon)
        {
            inner = inner[(colon + 1)..];
        }

        if (inner.Length > MaxPath || !TryNormalise(inner, out path))
        {
            error = new SmtpReply(501, prefix == "TO:" ? "5.1.3" : "5.1.7", "The address is not one");
            return false;
        }

        parameters = words;
        return true;
    }

    /// <summary>Checks an address that is to be written into a command, and returns it in its normal form.</summary>
    /// <exception cref="MimeException">InvalidAddress, UnsafeHeader.</exception>
    public static string RequireSendable(string address)
    {
        if (address.Equals("postmaster", StringComparison.OrdinalIgnoreCase))
        {
            return address;
        }

        var checkedAddress = Mailbox.Parse(address).Address;
        HeaderText.RequireSafe(checkedAddress);
        return Ascii.IsValid(checkedAddress) && checkedAddress.Length <= MaxPath - 2
            ? checkedAddress
            : throw new MimeException(
                MimeReason.InvalidAddress, "An address beyond US-ASCII or longer than 254 characters cannot be sent.");
    }

    private static bool TryNormalise(string address, out string path)
    {
        path = "";
        if (address.Length == 0)
        {
            return true;
        }

        if (address.Equals("postmaster", StringComparison.OrdinalIgnoreCase))
        {
            path = "postmaster"; // RFC 5321 §4.5.1
            return true;
        }

        try
        {
            path = Mailbox.Parse(address).Address;
            return true;
        }
        catch (MimeException)
        {
            return false;
        }
    }

    /// <summary>
    /// The index of the bracket that closes a path, or -1. Brackets inside a quoted local part do not count.
    /// </summary>
    private static int EndOfPath(string text)
    {
        if (text.Length < 2 || text[0] != '<')
        {
            return -1;
        }

        var quoted = false;
        for (var i = 1; i < text.Length; i++)
        {
            switch (text[i])
            {
                case '\\' when quoted:
                    i++;
                    break;
                case '"':
                    quoted = !quoted;
                    break;
                case '>' when !quoted:
                    return i;
            }
        }

        return -1;
    }
}
