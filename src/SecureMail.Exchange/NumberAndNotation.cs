using System.Globalization;
using System.Text;

namespace SecureMail.Exchange;

/// <summary>
/// The number and notation of a document (số và ký hiệu), as printed: Party form <c>36-HD/VPTW</c>, State form
/// <c>15/QĐ-BNV</c>. A text is parsed and printed exactly, with its leading zeros and blanks. Two texts are the same
/// number when <see cref="Value"/>, <see cref="Type"/> and <see cref="Body"/> are the same.
/// </summary>
/// <param name="Number">The number as written, e.g. <c>07</c>.</param>
/// <param name="Separator">The character between the number and the notation: <c>-</c> (Party) or <c>/</c>
/// (State).</param>
/// <param name="Notation">The notation, e.g. <c>HD/VPTW</c>.</param>
public sealed record NumberAndNotation(string Number, char Separator, string Notation)
{
    // DOMAIN.md, Annex VI: CodeNumber 11, CodeNotation 30.
    private const int LongestNumber = 11;
    private const int LongestNotation = 30;

    /// <summary>The number as a value: 36 of <c>36</c> and of <c>036</c>.</summary>
    public long Value => long.Parse(Number, CultureInfo.InvariantCulture);

    /// <summary>The type of document in capitals (NFC, without blanks): <c>HD</c> of both <c>HD/VPTW</c> and
    /// <c>hd / vptw</c>. Empty where the notation names none, such as <c>06/ĐU</c>.</summary>
    public string Type => Parts().Type;

    /// <summary>The issuing body, written as <see cref="Type"/> is: <c>VPTW</c> of <c>HD/VPTW</c>, <c>BNV</c> of the
    /// State form <c>QĐ-BNV</c>.</summary>
    public string Body => Parts().Body;

    /// <summary>A type or a body as it is compared: NFC, capitals, without blanks.</summary>
    public static string Compared(string text) =>
        text.Replace(" ", "", StringComparison.Ordinal).Normalize(NormalizationForm.FormC).ToUpperInvariant();

    /// <summary>The n-th number of a series, with at least two digits as the office writes it (01).</summary>
    public static NumberAndNotation Of(long n, char separator, string notation) =>
        new(n.ToString("00", CultureInfo.InvariantCulture), separator, notation);

    /// <summary>Reads either form, also with blanks before the notation (<c>94- KH/BTGDVTW</c>). Returns null for any
    /// other text.</summary>
    public static NumberAndNotation? TryParse(string text)
    {
        var digits = text.TakeWhile(char.IsAsciiDigit).Count();
        return
            digits is > 0 and <= LongestNumber
            && digits < text.Length
            && text[digits] is '-' or '/'
            && IsNotation(text[(digits + 1)..].TrimStart(' '))
            && text.Length - digits - 1 <= LongestNotation
            ? new NumberAndNotation(text[..digits], text[digits], text[(digits + 1)..])
            : null;
    }

    /// <summary>Whether a text can be a notation: letters, digits, <c>- / .</c> and spaces inside.</summary>
    public static bool IsNotation(string text) =>
        text.Length is > 0 and <= LongestNotation
        && char.IsLetterOrDigit(text[0])
        && char.IsLetterOrDigit(text.LastOrDefault(c => !IsMark(c)))
        && text.All(c => char.IsLetterOrDigit(c) || IsMark(c) || c is '-' or '/' or '.' or ' ');

    // Decomposed (NFD) Vietnamese letters are a base letter and its marks.
    private static bool IsMark(char c) => char.GetUnicodeCategory(c) == UnicodeCategory.NonSpacingMark;

    /// <summary>The type stands before the first slash of the Party form, and before the first hyphen of the State
    /// form.</summary>
    private (string Type, string Body) Parts()
    {
        var notation = Compared(Notation);
        var at = notation.IndexOf(Separator == '-' ? '/' : '-', StringComparison.Ordinal);
        return at < 0 ? ("", notation) : (notation[..at], notation[(at + 1)..]);
    }

    public override string ToString() => $"{Number}{Separator}{Notation}";
}
