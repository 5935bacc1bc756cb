using System.Text;

namespace SecureMail.Mail.Smtp.Messages;

internal enum SmtpVerb
{
    Helo,
    Ehlo,
    StartTls,
    Mail,
    Rcpt,
    Data,
    Rset,
    Noop,
    Vrfy,
    Quit,
    Unknown,
}

/// <summary>
/// A command line split into verb and argument (RFC 5321 §4.1.1). <see cref="MailFrom"/>, <see cref="RcptTo"/> and
/// <see cref="Hello"/> read the arguments of MAIL, RCPT and EHLO; the client writes them with the same types.
/// </summary>
/// <param name="Word">The verb as received, in upper case, by which a private command is found.</param>
internal readonly record struct SmtpCommand(SmtpVerb Verb, string Argument, string Word = "")
{
    public static SmtpCommand Parse(ReadOnlySpan<byte> line)
    {
        // A line with bytes beyond US-ASCII or control characters is not a command, because SMTPUTF8 is not offered.
        if (line.IndexOfAnyExceptInRange((byte)' ', (byte)'~') >= 0)
        {
            return new SmtpCommand(SmtpVerb.Unknown, "");
        }

        var text = Encoding.ASCII.GetString(line).TrimEnd(' ');
        var space = text.IndexOf(' ', StringComparison.Ordinal);
        var word = space < 0 ? text : text[..space];
        var argument = space < 0 ? "" : text[(space + 1)..];
        var upper = word.ToUpperInvariant();
        var verb = upper switch
        {
            "HELO" => SmtpVerb.Helo,
            "EHLO" => SmtpVerb.Ehlo,
            "STARTTLS" => SmtpVerb.StartTls,
            "MAIL" => SmtpVerb.Mail,
            "RCPT" => SmtpVerb.Rcpt,
            "DATA" => SmtpVerb.Data,
            "RSET" => SmtpVerb.Rset,
            "NOOP" => SmtpVerb.Noop,
            "VRFY" => SmtpVerb.Vrfy,
            "QUIT" => SmtpVerb.Quit,
            _ => SmtpVerb.Unknown,
        };
        return new SmtpCommand(verb, argument, upper);
    }

    /// <summary>Whether the verb takes no argument and has one, or needs one and has none.</summary>
    public bool HasWrongArgument =>
        Verb switch
        {
            SmtpVerb.Helo or SmtpVerb.Ehlo or SmtpVerb.Mail or SmtpVerb.Rcpt or SmtpVerb.Vrfy => Argument.Length == 0,
            SmtpVerb.Noop or SmtpVerb.Unknown => false,
            _ => Argument.Length > 0,
        };
}
