using System.Collections;
using System.Globalization;
using System.Resources;
using System.Text.RegularExpressions;
using SecureMail.Host.Settings;
using SecureMail.Host.Words;

namespace SecureMail.Tests.Host;

/// <summary>Holds the words of the executable together: both languages, and the code that asks for them.</summary>
public sealed partial class PhraseTests
{
    private static readonly ResourceManager Resources = new("SecureMail.Host.Words.Words", typeof(Phrase).Assembly);

    [Fact]
    public void Each_key_is_there_in_both_languages_and_takes_the_same_arguments()
    {
        var (vietnamese, english) = (Words(CultureInfo.InvariantCulture), Words(CultureInfo.GetCultureInfo("en")));
        english.Keys.ShouldBe(vietnamese.Keys, ignoreOrder: true);
        foreach (var (key, words) in vietnamese)
        {
            words.ShouldNotBeNullOrWhiteSpace(key);
            english[key].ShouldNotBeNullOrWhiteSpace(key);
            Places(english[key]).ShouldBe(Places(words), key);
        }
    }

    [Fact]
    public void Each_key_is_used_and_each_used_key_is_there() =>
        Used().Distinct().ShouldBe(Words(CultureInfo.InvariantCulture).Keys, ignoreOrder: true);

    [Fact]
    public void A_phrase_among_the_arguments_speaks_the_language_of_the_sentence()
    {
        var phrase = Phrase.Of("configuration.fault", "Http", Phrase.Of("configuration.unknown"));
        phrase.Vi.ShouldBe("Cấu hình Http: không có mục cấu hình này");
        phrase.En.ShouldBe("Configuration Http: unknown");
        phrase.ToString().ShouldBe($"{phrase.Vi} / {phrase.En}");
    }

    private static IEnumerable<string> Used()
    {
        var host = Path.GetFullPath(Path.Combine(Vectors.Folder("cms"), "../../../src/SecureMail.Host"));
        foreach (var file in Directory.EnumerateFiles(host, "*.cs", SearchOption.AllDirectories))
        {
            if (!file.Contains("/obj/", StringComparison.Ordinal))
            {
                foreach (Match match in Key().Matches(File.ReadAllText(file)))
                {
                    yield return match.Groups[1].Value;
                }
            }
        }

        foreach (var setting in Configuration.Settings)
        {
            yield return "setting." + setting.Name;
        }
    }

    private static IEnumerable<string> Places(string words) =>
        Place().Matches(words).Select(m => m.Value).Distinct().Order(StringComparer.Ordinal);

    private static Dictionary<string, string> Words(CultureInfo language) =>
        Resources
            .GetResourceSet(language, createIfNotExists: true, tryParents: false)!
            .Cast<DictionaryEntry>()
            .ToDictionary(e => (string)e.Key, e => (string)e.Value!);

    [GeneratedRegex("""Phrase\.Of\(\s*"([^"]+)"[,)]""")]
    private static partial Regex Key();

    [GeneratedRegex(@"\{\d+[^}]*\}")]
    private static partial Regex Place();
}
