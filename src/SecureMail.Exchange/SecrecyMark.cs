using System.Text;

namespace SecureMail.Exchange;

/// <summary>The marks of secrecy (độ mật), from none to the highest.</summary>
public static class SecrecyMark
{
    private static readonly string[] Marks = ["MẬT", "TỐI MẬT", "TUYỆT MẬT"];

    /// <summary>0 for none, 1 to 3 for a mark; an unknown mark counts as the highest, since it was meant as
    /// one.</summary>
    public static int RankOrHighest(string? mark) =>
        string.IsNullOrWhiteSpace(mark) ? 0
        : Rank(mark) is var rank and > 0 ? rank
        : Marks.Length;

    /// <summary>1 to 3 for a mark exactly as the office writes it (any case, NFC or NFD), 0 for anything
    /// else.</summary>
    public static int Rank(string mark)
    {
        var normal = mark.Trim().Normalize(NormalizationForm.FormC).ToUpperInvariant();
        return Array.IndexOf(Marks, normal) + 1;
    }
}
