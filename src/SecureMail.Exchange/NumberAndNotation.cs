using System.Globalization;

namespace SecureMail.Exchange;

/// <summary>
/// The number and notation of a document (số và ký hiệu), as printed: Party form <c>36-HD/VPTW</c>, State form
/// <c>15/QĐ-BNV</c>. A text is parsed and printed exactly, with its leading zeros.
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

    /// <summary>The n-th number of a series, with at least two digits as the office writes it (01).</summary>
    public static NumberAndNotation Of(int n, char separator, string notation) =>
        new(n.ToString("00", CultureInfo.InvariantCulture), separator, notation);

    /// <summary>Reads either form. Returns null for any other text.</summary>
    public static NumberAndNotation? TryParse(string text)
    {
        var digits = text.TakeWhile(char.IsAsciiDigit).Count();
        return
            digits is > 0 and <= LongestNumber
            && digits < text.Length
            && text[digits] is '-' or '/'
            && IsNotation(text[(digits + 1)..])
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

    public override string ToString() => $"{Number}{Separator}{Notation}";
}
