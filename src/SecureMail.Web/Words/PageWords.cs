using System.Resources;
using SecureMail.Shared;

namespace SecureMail.Web.Words;

/// <summary>What the pages say beside the words of the vocabulary: Pages.resx (Vietnamese) and Pages.en.resx (English).
/// A test holds that every key is there in both, that every key is used and that every used key is there.</summary>
internal static class PageWords
{
    private static readonly ResourceManager Words = new("SecureMail.Web.Words.Pages", typeof(PageWords).Assembly);

    public static string Vi(string key, params object?[] arguments) =>
        Words.Vietnamese(key, [.. arguments.Select(a => a ?? "")]);

    public static string En(string key, params object?[] arguments) =>
        Words.English(key, [.. arguments.Select(a => a ?? "")]);
}
