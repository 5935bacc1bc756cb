using System.Text;
using SecureMail.Host.Words;

namespace SecureMail.Host.Settings;

/// <summary>The reference of the configuration, made from the options records and the words of the settings.</summary>
internal static class ConfigurationReference
{
    public static string Markdown()
    {
        var page = new StringBuilder();
        page.Append("# ").Append(Phrase.Of("reference.title")).Append("\n\n");
        foreach (var text in (Phrase[])[Phrase.Of("reference.how"), Phrase.Of("reference.regenerate")])
        {
            page.Append(text.Vi).Append("\n\n").Append(text.En).Append("\n\n");
        }

        Phrase[] columns =
        [
            Phrase.Of("reference.name"), Phrase.Of("reference.default"), Phrase.Of("reference.values"),
            Phrase.Of("reference.purpose"),
        ];
        Row(page, columns.Select(c => c.ToString()));
        Row(page, columns.Select(_ => "---"));
        foreach (var setting in Configuration.Settings)
        {
            Row(
                page,
                [
                    $"`{setting.Name.Replace(":#", ":0", StringComparison.Ordinal)}`",
                    setting.DefaultText.Length == 0 ? "" : $"`{setting.DefaultText}`",
                    setting.Expected,
                    PurposeOf(setting),
                ]);
        }

        return page.ToString();
    }

    /// <summary>What a setting is for.</summary>
    public static Phrase PurposeOf(Setting setting) => Phrase.Of("setting." + setting.Name);

    private static void Row(StringBuilder page, IEnumerable<string> cells) =>
        page.Append("| ").AppendJoin(" | ", cells).Append(" |\n");
}
