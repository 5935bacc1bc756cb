using System.Globalization;
using SecureMail.Gateway.Health;
using SecureMail.Gateway.Inbound;
using SecureMail.Gateway.Recovery;
using SecureMail.Mail.Smtp;

namespace SecureMail.Host.Services;

/// <summary>What a peer is told for each decision about its mail.</summary>
internal static class SmtpReplies
{
    /// <summary>RFC 5321 §4.2.3: 452, insufficient system storage; the sender keeps the message.</summary>
    public static SmtpReply DiskFull { get; } = new(452, "4.3.1", "The disk is full, try again later");

    // RFC 3463 §3.4: X.3.1 is "mail system full", X.3.2 "system not accepting network messages".
    private static readonly Dictionary<HealthIssue, SmtpReply> Refusals = new()
    {
        [HealthIssue.Database] = new(451, "4.3.0", "The database is away, try again later"),
        [HealthIssue.DatabaseSlow] = new(451, "4.3.2", "The database is slow, try again later"),
        [HealthIssue.DiskLow] = new(452, "4.3.1", "Too little disk space, try again later"),
        [HealthIssue.TemporaryLow] = new(452, "4.3.1", "Too little space for temporary files, try again later"),
        [HealthIssue.IncomingQueueFull] = new(452, "4.3.1", "Too much waits to be validated, try again later"),
    };

    private static readonly SmtpReply NotNow = new(
        451, "4.3.2",
        "No mail is taken now: the gateway proves itself after a restoration, or its backup does not follow");

    public static SmtpReply HeldTakesSize { get; } = new(501, "5.5.4", "XHELD takes the size of your ledger");

    public static SmtpReply ResendTakesTime { get; } = new(501, "5.5.4", "XRESEND takes a time in the past, in UTC");

    public static SmtpReply AskedTooOften { get; } = new(450, "4.7.1", "Asked too often: tomorrow again");

    // RFC 5321 §4.5.3.1.5: a reply line has 512 octets with its code.
    private const int LineLength = 480;

    public static SmtpReply Refusing(HealthIssue issue) => Refusals.GetValueOrDefault(issue, NotNow);

    public static SmtpReply Recipient(RecipientDecision decision) =>
        decision switch
        {
            RecipientDecision.Accepted => new SmtpReply(250, "2.1.5", "Recipient ok"),
            RecipientDecision.ClockDoubted => new SmtpReply(451, "4.3.0", "The clock here is wrong; try again later"),
            _ => new SmtpReply(550, "5.1.1", "No agency here has this address"),
        };

    /// <summary>The size and the time, then the note in base64 over as many lines as it takes
    /// (docs/formats.md).</summary>
    public static SmtpReply Held(HeldCheckpoint? held)
    {
        if (held is null)
        {
            return new SmtpReply(250, "2.0.0", "0 -");
        }

        var since = held.Since is { } s ? s.ToString(PeerRequests.TimeFormat, CultureInfo.InvariantCulture) : "-";
        return new SmtpReply(
            250,
            "2.0.0",
            [
                string.Create(CultureInfo.InvariantCulture, $"{held.Size} {since}"),
                .. Convert.ToBase64String(held.Note).Chunk(LineLength).Select(c => new string(c)),
            ]);
    }

    public static SmtpReply Resent(int count) => new(250, "2.0.0", count.ToString(CultureInfo.InvariantCulture));
}
