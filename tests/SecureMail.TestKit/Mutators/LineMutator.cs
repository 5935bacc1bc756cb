using System.Text;

namespace SecureMail.TestKit.Mutators;

/// <summary>Moves, doubles, joins, folds and removes lines, and changes the words and line ends of one.</summary>
internal static class LineMutator
{
    private static readonly string[] Ends = ["\r\n", "\n", "\r", "\r\r\n", "\r\n ", "\r\n\r\n", ""];

    private static readonly string[] Words =
    [
        "", " ", "0", "-1", "9223372036854775807", "99999999999999999999", "\"", "<", ">", "@", ":", ";", "=", ".", ",",
        "..", "\t", "=?utf-8?q?=0D=0A?=", "=?UTF-8?B?xJE=?=", "*0*=UTF-8''%C4%91", "--", "(", ")", "\\", "\u00E9",
    ];

    public static byte[] Mutate(byte[] sample, byte[] other, Random random)
    {
        var lines = LinesOf(sample);
        var at = random.Next(lines.Count);
        var theirs = LinesOf(other);
        switch (random.Next(10))
        {
            case 0:
                lines.RemoveAt(at);
                break;
            case 1:
                lines.Insert(random.Next(lines.Count), lines[at]);
                break;
            case 2:
                (lines[at], lines[^1]) = (lines[^1], lines[at]);
                break;
            case 3:
                lines.Insert(at, theirs[random.Next(theirs.Count)]);
                break;
            case 4:
                lines[at] = lines[at].TrimEnd('\r', '\n') + Ends[random.Next(Ends.Length)];
                break;
            case 5:
                lines.InsertRange(at, Enumerable.Repeat(lines[at], 1 + random.Next(random.Next(4) == 0 ? 200 : 4)));
                break;
            case 6:
                var cut = random.Next(lines[at].Length + 1);
                lines[at] = lines[at][..cut] + Ends[random.Next(Ends.Length)] + lines[at][cut..];
                break;
            case 7:
                // The case of letters: names of fields and verbs are compared without it.
                lines[at] = random.Next(2) == 0 ? lines[at].ToUpperInvariant() : lines[at].ToLowerInvariant();
                break;
            default:
                lines[at] = ChangeWord(lines[at], random);
                break;
        }

        return Encoding.Latin1.GetBytes(string.Concat(lines));
    }

    /// <summary>Replaces what stands between two separators, or puts something between them.</summary>
    private static string ChangeWord(string line, Random random)
    {
        var from = random.Next(line.Length + 1);
        var to = from;
        while (random.Next(4) != 0 && to < line.Length && char.IsAsciiLetterOrDigit(line[to]))
        {
            to++;
        }

        return line[..from] + Words[random.Next(Words.Length)] + line[to..];
    }

    /// <summary>Lines with their ends; at least one.</summary>
    private static List<string> LinesOf(byte[] data)
    {
        var text = Encoding.Latin1.GetString(data);
        List<string> lines = [];
        for (var start = 0; start < text.Length;)
        {
            var end = text.IndexOf('\n', start);
            end = end < 0 ? text.Length : end + 1;
            lines.Add(text[start..end]);
            start = end;
        }

        return lines.Count == 0 ? [""] : lines;
    }
}
