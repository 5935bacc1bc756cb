using System.Text;

namespace SecureMail.Mail.Mime;

/// <summary>
/// The character sets that mail may name. The list is short on purpose: charsets such as UTF-7 hide markup from a
/// reader of the bytes.
/// </summary>
internal static class Charset
{
    /// <summary>
    /// The encoding of that name, which decodes invalid bytes to U+FFFD; null when the charset is not supported.
    /// </summary>
    public static Encoding? Find(string name)
    {
        var lower = name.Trim().ToLowerInvariant();
        switch (lower)
        {
            case "utf-8" or "utf8" or "us-ascii" or "ascii":
                return Encoding.UTF8; // US-ASCII is a subset of UTF-8, and text declared as US-ASCII is often UTF-8.
            case "iso-8859-1" or "latin1":
                return Encoding.Latin1;
        }

        var known =
            lower.StartsWith("iso-8859-", StringComparison.Ordinal)
            || lower.StartsWith("windows-125", StringComparison.Ordinal)
            || lower
                is "koi8-r"
                    or "koi8-u"
                    or "gb2312"
                    or "gbk"
                    or "gb18030"
                    or "big5"
                    or "shift_jis"
                    or "euc-jp"
                    or "euc-kr"
                    or "iso-2022-jp";
        return known ? CodePagesEncodingProvider.Instance.GetEncoding(lower) : null;
    }
}
