using System.Globalization;

namespace SecureMail.Backup;

/// <summary>
/// The names in a backup folder: <c>base-TIMELINE-LSN-TIME</c>, a folder that is there only when it is whole, and
/// <c>journal/TIMELINE-LSN-RANDOM.smj</c>. A name says where in the write-ahead log its content begins and nothing
/// else.
/// </summary>
internal sealed class BackupFolder(string path)
{
    public const string BaseFile = "base.sealed";
    public const string KeysFile = "keys.sealed";
    public const string ManifestFile = "manifest.sealed";

    private const string BasePrefix = "base-";
    private const string Partial = ".partial";
    private const string JournalSuffix = ".smj";

    public string Path => path;

    private string JournalFolder => System.IO.Path.Combine(path, "journal");

    // There from before a slot is made until a base follows on it: a crash in between leaves it, and the base is taken
    // then.
    private string NeedsBaseFile => System.IO.Path.Combine(path, "needs-base");

    public bool NeedsBase => File.Exists(NeedsBaseFile) || Bases().Count == 0;

    /// <summary>Makes the folders, readable by our account alone.</summary>
    public void Create()
    {
        foreach (var folder in new[] { path, JournalFolder })
        {
            if (!Directory.Exists(folder))
            {
                if (OperatingSystem.IsWindows())
                {
                    Directory.CreateDirectory(folder);
                }
                else
                {
                    Directory.CreateDirectory(
                        folder, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
                }
            }
        }
    }

    public void MarkNeedsBase() => File.WriteAllBytes(NeedsBaseFile, []);

    public void BaseTaken() => File.Delete(NeedsBaseFile);

    /// <summary>Where a base is written before it is whole.</summary>
    public string NewBase(WalPlace start, DateTimeOffset now) =>
        System.IO.Path.Combine(
            path,
            string.Create(
                CultureInfo.InvariantCulture,
                $"{BasePrefix}{start.Timeline:X8}-{start.Position:X16}-{now:yyyyMMdd'T'HHmmss'Z'}-{Random.Shared.Next(0x10000):x4}{Partial}"
            ));

    /// <summary>The base is whole: from here on it counts.</summary>
    public static string Finish(string partial)
    {
        var whole = partial[..^Partial.Length];
        Directory.Move(partial, whole);
        return whole;
    }

    public string NewJournal(WalPlace start) =>
        System.IO.Path.Combine(
            JournalFolder,
            string.Create(
                CultureInfo.InvariantCulture,
                $"{start.Timeline:X8}-{start.Position:X16}-{Random.Shared.Next(0x1000000):x6}{JournalSuffix}"));

    /// <summary>Whole bases, the youngest last.</summary>
    public IReadOnlyList<(string Folder, long Timeline, ulong Start)> Bases() =>
        !Directory.Exists(path)
            ? []
            :
            [
                .. Directory
                    .GetDirectories(path, BasePrefix + "*")
                    .Where(d => !d.EndsWith(Partial, StringComparison.Ordinal))
                    .Select(d =>
                        (
                            Folder: d, Place: PlaceOf(System.IO.Path.GetFileName(d)[BasePrefix.Length..]),
                            Time: System.IO.Path.GetFileName(d).Split('-').ElementAtOrDefault(3)))
                    .Where(b => b.Place is not null)
                    .OrderBy(b => b.Time, StringComparer.Ordinal)
                    .ThenBy(b => b.Place!.Value.Timeline)
                    .ThenBy(b => b.Place!.Value.Start)
                    .Select(b => (b.Folder, b.Place!.Value.Timeline, b.Place!.Value.Start)),
            ];

    /// <summary>Journal files of a timeline, by where they begin.</summary>
    public IReadOnlyList<(string File, ulong Start)> Journals(long timeline) =>
        !Directory.Exists(JournalFolder)
            ? []
            :
            [
                .. Directory
                    .GetFiles(JournalFolder, "*" + JournalSuffix)
                    .Select(f => (File: f, Place: PlaceOf(System.IO.Path.GetFileName(f))))
                    .Where(j => j.Place?.Timeline == timeline)
                    .Select(j => (j.File, j.Place!.Value.Start))
                    .OrderBy(j => j.Start)
                    .ThenBy(j => j.File, StringComparer.Ordinal),
            ];

    /// <summary>
    /// Deletes all but the youngest bases, and the journal files that no base kept needs: those whose successor begins
    /// at or before the oldest of them. Answers how many files and folders went.
    /// </summary>
    public int Prune(int keep)
    {
        var bases = Bases();
        var gone = 0;
        foreach (var (folder, _, _) in bases.SkipLast(keep))
        {
            Directory.Delete(folder, recursive: true);
            gone++;
        }

        var kept = bases.TakeLast(keep).ToList();
        foreach (var timeline in bases.Select(b => b.Timeline).Distinct())
        {
            var journals = Journals(timeline);
            var needed = kept.Where(b => b.Timeline == timeline).Select(b => (ulong?)b.Start).Min();
            for (var i = 0; i < journals.Count; i++)
            {
                // Of a timeline that no base stands on nothing is needed.
                if (needed is null || (i + 1 < journals.Count && journals[i + 1].Start <= needed))
                {
                    File.Delete(journals[i].File);
                    gone++;
                }
            }
        }

        return gone;
    }

    private static (long Timeline, ulong Start)? PlaceOf(string name) =>
        name.Split('-') is [var timeline, var start, ..]
        && long.TryParse(timeline, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var t)
        && ulong.TryParse(start, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var s)
            ? (t, s)
            : null;
}
