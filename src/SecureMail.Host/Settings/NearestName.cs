namespace SecureMail.Host.Settings;

/// <summary>Finds what was meant by a name that is none.</summary>
internal static class NearestName
{
    /// <summary>The known name with the fewest letters to change, or the one that ends alike; null: none is
    /// near.</summary>
    public static string? To(string name, IEnumerable<string> known)
    {
        var nearest = known.Select(k => (Name: k, Distance: Distance(name, k))).MinBy(k => k.Distance);
        if (nearest.Distance <= Math.Max(2, name.Length / 5))
        {
            return nearest.Name;
        }

        // The right name in the wrong section, or in none.
        var end = Last(name);
        return known.FirstOrDefault(k => Distance(end, Last(k)) <= Math.Min(2, end.Length / 4));

        static string Last(string key) => key[(key.LastIndexOf(':') + 1)..];
    }

    /// <summary>Levenshtein's distance, whatever the case.</summary>
    private static int Distance(string a, string b)
    {
        var row = Enumerable.Range(0, b.Length + 1).ToArray();
        for (var i = 1; i <= a.Length; i++)
        {
            var diagonal = row[0];
            row[0] = i;
            for (var j = 1; j <= b.Length; j++)
            {
                var change = char.ToUpperInvariant(a[i - 1]) == char.ToUpperInvariant(b[j - 1]) ? 0 : 1;
                (diagonal, row[j]) = (row[j], Math.Min(Math.Min(row[j], row[j - 1]) + 1, diagonal + change));
            }
        }

        return row[^1];
    }
}
