using SecureMail.Gateway.Vocabulary;

namespace SecureMail.Gateway.Health;

/// <summary>Something that keeps a node from being ready. This table says what is refused when.</summary>
/// <remarks>
/// <code>
/// issue                       submissions  mail from peers
/// database                    refused      refused
/// database-slow               refused      refused
/// database-full               taken        taken      only a try shows whether there is room again; a failed try keeps
/// nothing disk-low                    refused      refused
/// temporary-folder-low        refused      refused
/// queue-full                  refused      taken      two gateways full of mail for each other must not refuse each
/// other for ever incoming-queue-full         taken        refused
/// clock-differs-from-database taken        taken      what depends on the clock waits by itself
/// clock-stepped               taken        taken
/// no-directory                taken        taken      a submission without a directory is refused by its own step
/// restored-not-proven         refused      refused
/// backup, backup-no-base      refused      refused    only where commits wait for the journal; else both are taken
/// </code>
/// </remarks>
/// <param name="Name">For health and the log; stable.</param>
/// <param name="Vi">What a clerk is told whose submission is refused; empty where none is.</param>
public sealed record HealthIssue(string Name, bool RefusesSubmissions, bool RefusesMail, string Vi = "", string En = "")
{
    public static readonly HealthIssue Database = new(
        "database", true, true,
        "Không kết nối được cơ sở dữ liệu; chưa nhận gì, hãy kiểm tra máy chủ PostgreSQL và Database:Connection.",
        "The database cannot be reached; nothing was taken: check the server and Database:Connection.");

    public static readonly HealthIssue DatabaseSlow = new(
        "database-slow", true, true, "Cơ sở dữ liệu trả lời quá chậm; chưa nhận gì, hãy gửi lại sau.",
        "The database answers too slowly; nothing was taken: send again later.");

    public static readonly HealthIssue DatabaseFull = new("database-full", false, false);

    public static readonly HealthIssue DiskLow = new(
        "disk-low", true, true,
        "Ổ đĩa của cổng sắp đầy; chưa nhận gì, hãy giải phóng chỗ rồi gửi lại (Limits:LeastFree).",
        "The gateway's disk is nearly full; nothing was taken: free some space and send again (Limits:LeastFree).");

    public static readonly HealthIssue TemporaryLow = new(
        "temporary-folder-low",
        true,
        true,
        "Thư mục tạm sắp đầy; chưa nhận gì, hãy giải phóng chỗ rồi gửi lại (Limits:LeastFreeTemporary).",
        "The folder for temporary files is nearly full; nothing was taken: free some space and send again "
            + "(Limits:LeastFreeTemporary).");

    public static readonly HealthIssue QueueFull = new(
        "queue-full", true, false, "Hàng đợi gửi đi đã đầy; chưa nhận gì, hãy gửi lại sau (Limits:QueueDepth).",
        "The queue of what is to go out is full; nothing was taken: send again later (Limits:QueueDepth).");

    public static readonly HealthIssue IncomingQueueFull = new("incoming-queue-full", false, true);

    public static readonly HealthIssue ClockApart = new("clock-differs-from-database", false, false);

    public static readonly HealthIssue ClockStepped = new(AlarmKind.ClockStepped, false, false);

    public static readonly HealthIssue NoDirectory = new("no-directory", false, false);

    public static readonly HealthIssue RestoredNotProven = new(
        "restored-not-proven",
        true,
        true,
        "Cổng vừa được khôi phục và chưa chứng minh nhật ký kiểm chứng với các cổng đối tác; chưa nhận gì (securemail "
            + "restore --check).",
        "This gateway was restored and has not proven its ledger to its peers; nothing was taken "
            + "(securemail restore --check).");

    /// <summary>The journal does not follow, or a synchronous one has no base.</summary>
    /// <param name="refuses">Whether commits wait for the journal. A journal that follows at its leisure is only
    /// shown.</param>
    public static HealthIssue Backup(string name, bool refuses) =>
        new(
            name,
            refuses,
            refuses,
            "Nhật ký sao lưu chưa chạy nên chưa nhận gì: hãy chạy cổng (securemail serve) và kiểm tra thư mục sao lưu.",
            "The backup's journal does not follow, so nothing was taken: run the gateway (securemail serve) and look at "
                + ""
                + "the backup folder.");
}
