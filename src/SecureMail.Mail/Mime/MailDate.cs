using System.Globalization;

namespace SecureMail.Mail.Mime;

/// <summary>Reads and writes the dates of RFC 5322 §3.3.</summary>
public static class MailDate
{
    private static readonly string[] Months =
    [
        "Jan",
        "Feb",
        "Mar",
        "Apr",
        "May",
        "Jun",
        "Jul",
        "Aug",
        "Sep",
        "Oct",
        "Nov",
        "Dec",
    ];

    /// <summary>Formats a date with its own offset, such as "Fri, 21 Nov 2025 09:30:00 +0700".</summary>
    public static string Format(DateTimeOffset date) =>
        date.ToString("ddd, dd MMM yyyy HH:mm:ss ", CultureInfo.InvariantCulture)
        + date.ToString("zzz", CultureInfo.InvariantCulture).Replace(":", "", StringComparison.Ordinal);

    /// <summary>
    /// Reads a date. Comments and the day of the week are ignored. Every zone name is read as +0000 (RFC 5322 §4.3).
    /// </summary>
    public static bool TryParse(string value, out DateTimeOffset date)
    {
        date = default;
        var comment = value.IndexOf('(', StringComparison.Ordinal);
        var text = comment < 0 ? value : value[..comment];
        var comma = text.IndexOf(',', StringComparison.Ordinal);
        var words = text[(comma + 1)..].Split([' ', '\t'], StringSplitOptions.RemoveEmptyEntries);
        if (words.Length is < 4 or > 5)
        {
            return false;
        }

        var month = Array.FindIndex(Months, m => m.Equals(words[1], StringComparison.OrdinalIgnoreCase)) + 1;
        var clock = words[3].Split(':');
        if (month == 0
            || clock.Length is < 2 or > 3
            || words[2].Length != 4
            || !TryReadNumber(words[0], 31, out var day)
            || !TryReadNumber(words[2], 9999, out var year)
            || !TryReadNumber(clock[0], 23, out var hour)
            || !TryReadNumber(clock[1], 59, out var minute))
        {
            return false;
        }

        var second = 0;
        if (clock.Length == 3 && !TryReadNumber(clock[2], 60, out second))
        {
            return false;
        }

        if (year < 1900
            || day < 1
            || day > DateTime.DaysInMonth(year, month)
            || !TryReadZone(words.Length == 5 ? words[4] : "-0000", out var offset))
        {
            return false;
        }
        // A leap second is read as the second before it, because DateTimeOffset cannot hold 60 seconds.
        date = new DateTimeOffset(year, month, day, hour, minute, Math.Min(second, 59), offset);
        return true;
    }

    private static bool TryReadNumber(string text, int max, out int value) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out value) && value <= max;

    private static bool TryReadZone(string zone, out TimeSpan offset)
    {
        offset = TimeSpan.Zero;
        if (zone.Length == 5
            && zone[0] is '+' or '-'
            && TryReadNumber(zone[1..3], 13, out var hours)
            && TryReadNumber(zone[3..5], 59, out var minutes))
        {
            offset = new TimeSpan(hours, minutes, 0) * (zone[0] == '-' ? -1 : 1);
            return true;
        }

        return zone.Length > 0 && zone.All(char.IsAsciiLetter);
    }
}
