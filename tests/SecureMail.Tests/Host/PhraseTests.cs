using System.Collections;
using System.Globalization;
using System.Resources;
using System.Text.RegularExpressions;
using SecureMail.Exchange;
using SecureMail.Host.Settings;
using SecureMail.Host.Words;
using SecureMail.Trust;

namespace SecureMail.Tests.Host;

/// <summary>Holds the words of the executable together: both languages, and the code that asks for them.</summary>
public sealed partial class PhraseTests
{
    private static readonly ResourceManager Resources = new("SecureMail.Host.Words.Words", typeof(Phrase).Assembly);

    [Fact]
    public void Each_key_is_there_in_both_languages_and_English_takes_no_other_arguments()
    {
        var (vietnamese, english) = (Words(CultureInfo.InvariantCulture), Words(CultureInfo.GetCultureInfo("en")));
        english.Keys.ShouldBe(vietnamese.Keys, ignoreOrder: true);
        foreach (var (key, words) in vietnamese)
        {
            words.ShouldNotBeNullOrWhiteSpace(key);
            english[key].ShouldNotBeNullOrWhiteSpace(key);
            Places(english[key]).Except(Places(words)).ShouldBeEmpty(key);
        }
    }

    [Fact]
    public void Each_key_is_used_and_each_used_key_is_there()
    {
        var there = Words(CultureInfo.InvariantCulture).Keys;
        there.Except(Used()).ShouldBeEmpty("there and not used");
        Used().Except(there).ShouldBeEmpty("used and not there");
    }

    [Fact]
    public void A_phrase_among_the_arguments_speaks_the_language_of_the_sentence()
    {
        var phrase = Phrase.Of("configuration.fault", "Http", Phrase.Of("configuration.unknown"));
        phrase.Vi.ShouldBe("Cấu hình Http: không có mục cấu hình này");
        phrase.En.ShouldBe("Configuration Http: unknown");
        phrase.ToString().ShouldBe($"{phrase.Vi} / {phrase.En}");
    }

    [Fact]
    public void No_Vietnamese_stands_in_the_code() =>
        Sources()
            .SelectMany(f => File.ReadLines(f).Select(l => $"{Path.GetFileName(f)}: {l.Trim()}"))
            .Where(l => Vietnamese().IsMatch(l) && !l.Contains("\"securemail ", StringComparison.Ordinal))
            .ShouldBeEmpty("Words.resx holds what people read; examples of commands may stand in the code");

    private static IEnumerable<string> Sources() =>
        Directory
            .EnumerateFiles(
                Path.GetFullPath(Path.Combine(Vectors.Folder("cms"), "../../../src/SecureMail.Host")), "*.cs",
                SearchOption.AllDirectories)
            .Where(f => !f.Contains("/obj/", StringComparison.Ordinal));

    private static IEnumerable<string> Used()
    {
        foreach (var match in Sources().SelectMany(f => Key().Matches(File.ReadAllText(f))))
        {
            yield return match.Groups[1].Value;
        }

        foreach (var setting in Configuration.Settings)
        {
            yield return "setting." + setting.Name;
        }

        foreach (var verdict in Enum.GetValues<Verdict>())
        {
            yield return "verdict." + FindingJson.Name(verdict);
        }
    }

    private static IEnumerable<string> Places(string words) =>
        Place().Matches(words).Select(m => m.Value).Distinct().Order(StringComparer.Ordinal);

    private static Dictionary<string, string> Words(CultureInfo language) =>
        Resources
            .GetResourceSet(language, createIfNotExists: true, tryParents: false)!
            .Cast<DictionaryEntry>()
            .ToDictionary(e => (string)e.Key, e => (string)e.Value!);

    [GeneratedRegex("""Phrase\.(?:Of|Help)\(\s*"([^"]+)"[,)]""")]
    private static partial Regex Key();

    [GeneratedRegex("[ăâđêôơưĂÂĐÊÔƠƯ\u00e0-\u00e3\u00e8-\u00ea\u00ec\u00ed\u00f2-\u00f5\u00f9\u00fa\u00fd\u1ea0-\u1ef9]")]
    private static partial Regex Vietnamese();

    [GeneratedRegex(@"\{\d+[^}]*\}")]
    private static partial Regex Place();
}
