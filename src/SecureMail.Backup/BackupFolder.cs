using System.Globalization;

namespace SecureMail.Backup;

/// <summary>
/// The names in a backup folder: <c>base-TIMELINE-LSN-TIME</c>, a folder that exists only once it is complete, and
/// <c>journal/TIMELINE-LSN-RANDOM.smj</c>. A name gives where in the write-ahead log the content begins, and nothing
/// about the content.
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

    // This file exists from before a replication slot is made until a base follows on it. A crash in between leaves the
    // file, and the next start takes the base.
    private string NeedsBaseFile => System.IO.Path.Combine(path, "needs-base");

    public bool NeedsBase => File.Exists(NeedsBaseFile) || Bases().Count == 0;

    /// <summary>Makes the folders, readable by the account of this process alone.</summary>
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

    /// <summary>The folder in which a base is written until it is complete.</summary>
    /// <param name="job">The job that takes it, the end of the name; null: a random end.</param>
    public string NewBase(WalPlace start, DateTimeOffset now, Guid? job) =>
        System.IO.Path.Combine(
            path,
            string.Create(
                CultureInfo.InvariantCulture,
                $"{BasePrefix}{start.Timeline:X8}-{start.Position:X16}-{now:yyyyMMdd'T'HHmmss'Z'}-")
            + (job is { } id ? EndOf(id) : Random.Shared.Next(0x10000).ToString("x4", CultureInfo.InvariantCulture))
            + Partial);

    /// <summary>The complete base that a job took, or null. What an earlier run of the job left unfinished is
    /// deleted.</summary>
    public string? FindBaseOf(Guid job)
    {
        foreach (var left in Directory.GetDirectories(path, $"{BasePrefix}*-{EndOf(job)}{Partial}"))
        {
            Directory.Delete(left, recursive: true);
        }

        return Directory.GetDirectories(path, $"{BasePrefix}*-{EndOf(job)}").FirstOrDefault();
    }

    /// <summary>Gives a complete base its name. From here on readers see it.</summary>
    public static string Finish(string partial)
    {
        var complete = partial[..^Partial.Length];
        Directory.Move(partial, complete);
        return complete;
    }

    public string NewJournal(WalPlace start) =>
        System.IO.Path.Combine(
            JournalFolder,
            string.Create(
                CultureInfo.InvariantCulture,
                $"{start.Timeline:X8}-{start.Position:X16}-{Random.Shared.Next(0x1000000):x6}{JournalSuffix}"));

    /// <summary>The complete bases, the newest last.</summary>
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

    /// <summary>The journal files of a timeline, in the order of their first position.</summary>
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
    /// Deletes all but the newest bases, and the journal files that no kept base needs. A journal file is not needed if
    /// its successor begins at or before the oldest kept base. Returns how many files and folders were deleted.
    /// </summary>
    public int Prune(int keep)
    {
        var bases = Bases();
        var deleted = 0;
        foreach (var (folder, _, _) in bases.SkipLast(keep))
        {
            Directory.Delete(folder, recursive: true);
            deleted++;
        }

        var kept = bases.TakeLast(keep).ToList();
        foreach (var timeline in bases.Select(b => b.Timeline).Distinct())
        {
            var journals = Journals(timeline);
            var needed = kept.Where(b => b.Timeline == timeline).Select(b => (ulong?)b.Start).Min();
            for (var i = 0; i < journals.Count; i++)
            {
                // No file of a timeline without a kept base is needed.
                if (needed is null || (i + 1 < journals.Count && journals[i + 1].Start <= needed))
                {
                    File.Delete(journals[i].File);
                    deleted++;
                }
            }
        }

        return deleted;
    }

    private static string EndOf(Guid job) => job.ToString("N");

    private static (long Timeline, ulong Start)? PlaceOf(string name) =>
        name.Split('-') is [var timeline, var start, ..]
        && long.TryParse(timeline, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var t)
        && ulong.TryParse(start, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var s)
            ? (t, s)
            : null;
}
