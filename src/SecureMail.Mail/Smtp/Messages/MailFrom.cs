using System.Globalization;
using SecureMail.Mail.Mime;

namespace SecureMail.Mail.Smtp.Messages;

/// <summary>MAIL FROM (RFC 5321 §4.1.1.2).</summary>
/// <param name="Address">The return path. Null is the null path &lt;&gt;, which reports carry so that they are not
/// answered.</param>
/// <param name="Size">The declared size in bytes (RFC 1870), or null.</param>
/// <param name="EightBit">BODY=8BITMIME (RFC 6152).</param>
public sealed record MailFrom(string? Address, long? Size = null, bool EightBit = false)
{
    /// <summary>
    /// Reads "FROM:&lt;path&gt; parameters". On failure <paramref name="error"/> is the reply to send.
    /// </summary>
    internal static bool TryParse(string argument, out MailFrom mail, out SmtpReply error)
    {
        mail = new MailFrom(Address: null);
        if (!SmtpPath.TryParse(argument, "FROM:", out var path, out var parameters, out error))
        {
            return false;
        }

        long? size = null;
        string? body = null;
        foreach (var parameter in parameters)
        {
            var equals = parameter.IndexOf('=', StringComparison.Ordinal);
            var value = equals < 0 ? "" : parameter[(equals + 1)..];
            switch ((equals < 0 ? parameter : parameter[..equals]).ToUpperInvariant())
            {
                // RFC 1870 §4: up to 20 digits.
                case "SIZE"
                    when size is null
                        && long.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out var number):
                    size = number;
                    break;
                case "BODY" when body is null && value.ToUpperInvariant() is "7BIT" or "8BITMIME":
                    body = value.ToUpperInvariant();
                    break;
                case "SIZE" or "BODY":
                    error = new SmtpReply(501, "5.5.4", "A parameter of MAIL is wrong or stands twice");
                    return false;
                default:
                    error = new SmtpReply(555, "5.5.4", "A parameter of MAIL is not known here");
                    return false;
            }
        }

        mail = new MailFrom(path.Length == 0 ? null : path, size, body == "8BITMIME");
        return true;
    }

    /// <exception cref="MimeException">InvalidAddress, UnsafeHeader.</exception>
    internal string ToWire(SmtpCapabilities capabilities)
    {
        var line = $"MAIL FROM:<{(Address is null ? "" : SmtpPath.RequireSendable(Address))}>";
        if (Size is { } size && capabilities.Has(SmtpCapabilities.Size))
        {
            line += string.Create(CultureInfo.InvariantCulture, $" SIZE={size}");
        }

        if (EightBit)
        {
            line += " BODY=8BITMIME";
        }

        return line;
    }
}
