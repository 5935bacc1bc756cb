using System.Text;

namespace SecureMail.Exchange;

/// <summary>The marks of secrecy (độ mật), from none to the highest.</summary>
public static class SecrecyMark
{
    private static readonly string[] Marks = ["MẬT", "TỐI MẬT", "TUYỆT MẬT"];

    /// <summary>0 for no mark, 1 to 3 for a mark. An unknown mark counts as the highest, because its author meant to
    /// mark the document as secret.</summary>
    public static int RankOrHighest(string? mark) =>
        string.IsNullOrWhiteSpace(mark) ? 0
        : Rank(mark) is var rank and > 0 ? rank
        : Marks.Length;

    /// <summary>1 to 3 for a mark as the office writes it (any case, NFC or NFD), 0 for any other text.</summary>
    public static int Rank(string mark)
    {
        var normal = mark.Trim().Normalize(NormalizationForm.FormC).ToUpperInvariant();
        return Array.IndexOf(Marks, normal) + 1;
    }
}
