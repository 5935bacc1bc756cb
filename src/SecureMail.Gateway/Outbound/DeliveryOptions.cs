using System.ComponentModel;
using System.ComponentModel.DataAnnotations;
using SecureMail.Mail.Smtp.Client;
using SecureMail.Storage.Queue;

namespace SecureMail.Gateway.Outbound;

/// <summary>How dispatches are delivered.</summary>
[Category("Delivery")]
public sealed record DeliveryOptions
{
    /// <summary>After how long without a receipt a dispatch is overdue. The office confirms the same day.</summary>
    public TimeSpan ReceiptDue { get; init; } = TimeSpan.FromHours(24);

    /// <summary>After how long a message that could not be sent is given up. RFC 5321 §4.5.4.1: at least four or five
    /// days.</summary>
    public TimeSpan GiveUpAfter { get; init; } = TimeSpan.FromDays(5);

    /// <summary>After how long the clerk is told, once, that a dispatch has not left yet.</summary>
    public TimeSpan DelayNoticeAfter { get; init; } = TimeSpan.FromHours(4);

    /// <summary>How many messages this node sends to one gateway at once.</summary>
    [Range(1, 16)]
    public int PerDestination { get; init; } = 4;

    /// <summary>The largest message taken or sent, in bytes.</summary>
    [Range(typeof(long), "65536", "2147483648")]
    public long LargestMessage { get; init; } = 200L * 1024 * 1024;

    /// <summary>How long a peer may take over each state of a session.</summary>
    internal SmtpClientTimeouts SmtpTimeouts { get; init; } = new();

    /// <summary>When one message is tried again.</summary>
    internal RetrySchedule Retry { get; init; } = RetrySchedule.OfWork;

    /// <summary>When a gateway that could not be reached is tried again.</summary>
    internal RetrySchedule Probe { get; init; } = RetrySchedule.OfDestination;

    /// <summary>How often overdue, late and undeliverable messages are looked for.</summary>
    internal TimeSpan OverdueEvery { get; init; } = TimeSpan.FromMinutes(1);
}
