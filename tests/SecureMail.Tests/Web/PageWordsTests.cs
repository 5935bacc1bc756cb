using System.Collections;
using System.Globalization;
using System.Resources;
using System.Text.RegularExpressions;
using SecureMail.Web.Words;

namespace SecureMail.Tests.Web;

/// <summary>Holds the words of the pages together: both languages, and the pages that ask for them.</summary>
public sealed partial class PageWordsTests
{
    private static readonly ResourceManager Resources = new("SecureMail.Web.Words.Pages", typeof(PageWords).Assembly);

    private static string[] Pages =>
        Directory.GetFiles(Path.Combine(Repository.Root, "src/SecureMail.Web/Pages"), "*.razor");

    [Fact]
    public void Each_key_is_there_in_both_languages()
    {
        var (vietnamese, english) = (Words(CultureInfo.InvariantCulture), Words(CultureInfo.GetCultureInfo("en")));
        english.Keys.ShouldBe(vietnamese.Keys, ignoreOrder: true);
        vietnamese.Values.Concat(english.Values).ShouldAllBe(w => !string.IsNullOrWhiteSpace(w));
    }

    [Fact]
    public void Each_key_is_used_and_each_used_key_is_there()
    {
        var there = Words(CultureInfo.InvariantCulture).Keys;
        var used = Pages.SelectMany(f => Key().Matches(File.ReadAllText(f)).Select(m => m.Groups[1].Value)).Distinct();
        used.ShouldBe(there, ignoreOrder: true);
    }

    [Fact]
    public void No_Vietnamese_stands_in_the_pages() =>
        Pages
            .SelectMany(f => File.ReadLines(f).Select(l => $"{Path.GetFileName(f)}: {l.Trim()}"))
            .Where(l => Vietnamese().IsMatch(l))
            .ShouldBeEmpty("Words/Pages.resx holds what people read");

    [Fact]
    public void Words_take_arguments_and_nothing_for_what_is_absent()
    {
        PageWords.Vi("incoming.newest", 3).ShouldBe("3 thư gần nhất.");
        PageWords.En("outgoing.downgraded", null, "H90").ShouldNotContain("{");
    }

    private static Dictionary<string, string> Words(CultureInfo language) =>
        Resources
            .GetResourceSet(language, createIfNotExists: true, tryParents: false)!
            .Cast<DictionaryEntry>()
            .ToDictionary(e => (string)e.Key, e => (string)e.Value!);

    [GeneratedRegex("""(?:Key="|PageWords\.(?:Vi|En)\("|", ")([a-z]+(?:\.[a-z-]+)*)"(?=[ ,)])""")]
    private static partial Regex Key();

    [GeneratedRegex("[\u01A0\u01A1\u01AF\u01B0\u0110\u0111\u1EA0-\u1EF9]")]
    private static partial Regex Vietnamese();
}
