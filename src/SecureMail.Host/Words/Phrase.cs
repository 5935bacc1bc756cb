using System.Globalization;
using System.Resources;
using SecureMail.Host.Words;

namespace SecureMail.Host.Words;

/// <summary>
/// What the executable says, in both languages: Words.resx (Vietnamese) and Words.en.resx (English). A test holds that
/// every key is there in both, that every key is used and that every used key is there.
/// </summary>
internal sealed record Phrase(string Vi, string En)
{
    private static readonly ResourceManager Resources = new("SecureMail.Host.Words.Words", typeof(Phrase).Assembly);
    private static readonly CultureInfo Vietnamese = CultureInfo.GetCultureInfo("vi");
    private static readonly CultureInfo English = CultureInfo.GetCultureInfo("en");

    /// <summary>The words of a key with its arguments, which are written as the invariant culture writes them. A phrase
    /// among the arguments is put in by its language.</summary>
    public static Phrase Of(string key, params object?[] arguments) =>
        new(
            Format(key, Vietnamese, arguments, static p => p.Vi),
            Format(key, English, arguments, static p => p.En));

    /// <summary>What a command is for, with examples of how it is called.</summary>
    public static string Help(string key, params IEnumerable<string> examples) =>
        $"{Of(key)}\n{Phrase.Of("help.example")}: {string.Join("\n                 ", examples)}";

    /// <summary>Vietnamese, then English, in one line.</summary>
    public override string ToString() => $"{Vi} / {En}";

    public static implicit operator string(Phrase phrase) => phrase.ToString();

    private static string Format(string key, CultureInfo language, object?[] arguments, Func<Phrase, string> side)
    {
        // A key that is missing fails a test. At run time its name is shown.
        var words = Resources.GetString(key, language) ?? key;
        return arguments.Length == 0
            ? words
            : string.Format(
                CultureInfo.InvariantCulture, words, [.. arguments.Select(a => a is Phrase p ? side(p) : a)]);
    }
}
