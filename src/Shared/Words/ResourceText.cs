using System.Globalization;
using System.Resources;

namespace SecureMail.Shared;

/// <summary>Reads the words of a key in the two languages of the product. The neutral resource is Vietnamese, and the
/// satellite <c>en</c> is English. Each question names its language, because the culture of the process stays
/// invariant.</summary>
internal static class ResourceText
{
    private static readonly CultureInfo VietnameseCulture = CultureInfo.GetCultureInfo("vi");
    private static readonly CultureInfo EnglishCulture = CultureInfo.GetCultureInfo("en");

    /// <summary>The Vietnamese words of a key with its arguments; the key itself if it has no words.</summary>
    public static string Vietnamese(this ResourceManager words, string key, params object[] arguments) =>
        Text(words, key, VietnameseCulture, arguments);

    /// <summary>The English words of a key with its arguments; the key itself if it has no words.</summary>
    public static string English(this ResourceManager words, string key, params object[] arguments) =>
        Text(words, key, EnglishCulture, arguments);

    private static string Text(ResourceManager words, string key, CultureInfo language, object[] arguments)
    {
        // A test holds that every key has its words. A missing word must not hide the error that it describes.
        var text = words.GetString(key, language) ?? key;
        return arguments.Length == 0 ? text : string.Format(CultureInfo.InvariantCulture, text, arguments);
    }
}
