using System.Diagnostics.CodeAnalysis;
using System.Globalization;

namespace SecureMail.Mail.Smtp.Messages;

/// <summary>
/// The name given with EHLO or HELO (RFC 5321 §4.1.1.1): a domain or an address literal. The name is recorded, but not
/// verified.
/// </summary>
internal readonly record struct Hello(string Name)
{
    public static bool TryParse(string argument, [NotNullWhen(true)] out Hello? hello)
    {
        hello = null;
        if (argument.Length is 0 or > 255
            || !argument.All(c => char.IsAsciiLetterOrDigit(c) || c is '.' or '-' or '_' or '[' or ']' or ':'))
        {
            return false;
        }

        hello = new Hello(argument);
        return true;
    }

    public string ToWire() => $"EHLO {Name}";
}

/// <summary>
/// The capabilities that a server announces in its EHLO reply (RFC 5321 §4.1.1.1). Server and client use the same
/// names.
/// </summary>
public sealed class SmtpCapabilities
{
    internal const string StartTls = "STARTTLS";
    internal const string Pipelining = "PIPELINING";
    internal const string EightBitMime = "8BITMIME";
    internal const string EnhancedStatusCodes = "ENHANCEDSTATUSCODES";
    internal const string Size = "SIZE";

    internal SmtpCapabilities(IReadOnlyList<string> lines) => Lines = lines;

    /// <summary>The lines of the EHLO reply after the greeting.</summary>
    public IReadOnlyList<string> Lines { get; }

    /// <summary>Whether the keyword is offered; <paramref name="parameter"/> is the text after it, or empty.</summary>
    public bool Has(string keyword, out string parameter)
    {
        foreach (var line in Lines)
        {
            var space = line.IndexOf(' ', StringComparison.Ordinal);
            if ((space < 0 ? line : line[..space]).Equals(keyword, StringComparison.OrdinalIgnoreCase))
            {
                parameter = space < 0 ? "" : line[(space + 1)..];
                return true;
            }
        }

        parameter = "";
        return false;
    }

    public bool Has(string keyword) => Has(keyword, out _);

    /// <summary>
    /// The largest message that the server accepts, in bytes; null when the server gives no limit (RFC 1870 §3).
    /// </summary>
    public long? MaxSize =>
        Has(Size, out var text)
        && long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var size)
        && size > 0
            ? size
            : null;
}
