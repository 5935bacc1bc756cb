namespace SecureMail.Backup;

/// <summary>What a backup folder holds cannot be used: another key, a piece missing, cut off or changed. Nothing was
/// restored. Exit code 65.</summary>
public sealed class BackupException(string vietnamese, string english, Exception? inner = null)
    : Exception($"{vietnamese} / {english}", inner)
{
    internal static BackupException Damaged(string file, string vietnamese, string english, Exception? inner = null) =>
        new(
            $"{Path.GetFileName(file)}: {vietnamese}; không khôi phục gì.",
            $"{Path.GetFileName(file)}: {english}; nothing was restored.", inner);
}
