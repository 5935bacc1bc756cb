using SecureMail.Mail.Smtp;
using SecureMail.Mail.Smtp.Client;

namespace SecureMail.Gateway.Outbound;

internal enum HostState
{
    /// <summary>The gateway answered about this message. Its destination is open.</summary>
    Answered,

    /// <summary>A session began and broke, or the gateway said that it serves nobody now. The destination backs off,
    /// and so does the message that was tried.</summary>
    Failed,

    /// <summary>No session began. The destination backs off, and nothing was said about any message.</summary>
    NoSession,
}

/// <summary>What one attempt means for the transmission, and what for its destination.</summary>
/// <remarks>
/// <code>
/// what came                                      transmission   destination   note
/// no connection, TLS or pin refused              waits          backs off
/// at the greeting or EHLO: 4xx, 5xx, garbage,    waits          backs off     A 554 or 521 there is about the host
///   silence, cut                                                              (RFC 5321 §3.1, RFC 7504).
/// at MAIL, RCPT, DATA or the dot:
///   250 in the end                               sent           open          Whatever QUIT brings.
///   4xx                                          again later    open
///   421; 4.3.x, 4.4.x; 53x                       again later    backs off     About the system or the session
///                                                                             (RFC 3463 §3.4, §3.5).
///   5xx                                          failed         open          RFC 5321 §4.2.1: not the same again. The
///                                                                             clerk is told and decides.
///   garbage, silence, cut before the dot         again later    backs off
///   garbage, silence, cut after the dot          unknown        backs off     Sent again: the peer tells the duplicate.
/// our message cannot be sent there               failed         open          Its size, or 8-bit bytes.
/// our database away, lease lost, told to stop    again later    nothing       No SmtpException: it never comes here.
/// </code>
/// </remarks>
internal sealed record SendResult(SmtpOutcome Outcome, HostState Host, string? Reason)
{
    public static SendResult NoSession(SmtpException error) =>
        new(SmtpOutcome.Transient, HostState.NoSession, Describe(error.Failure, error.Reply));

    /// <summary>Our own client refused the message, because of what the peer offers.</summary>
    public static SendResult Unfit(SmtpException error) =>
        new(error.Outcome, HostState.Answered, Describe(error.Failure, error.Reply));

    public static SendResult Of(SmtpRecipientResult answer) =>
        answer.Outcome == SmtpOutcome.Delivered ? new SendResult(answer.Outcome, HostState.Answered, null)
        : answer.Reply is { Code: 530 or 534 or 535 or 538 } session
            ? new SendResult(SmtpOutcome.Transient, HostState.Failed, Describe(answer.Failure, session))
        : new SendResult(
            answer.Outcome, IsAboutHost(answer.Reply) ? HostState.Failed : HostState.Answered,
            Describe(answer.Failure, answer.Reply));

    private static bool IsAboutHost(SmtpReply? reply) =>
        reply switch
        {
            null or { Code: < 400 } or { Code: 421 } => true,
            { IsTransient: true, Enhanced: { } enhanced } => enhanced.StartsWith("4.3.", StringComparison.Ordinal)
                || enhanced.StartsWith("4.4.", StringComparison.Ordinal),
            _ => false,
        };

    private static string Describe(SmtpFailure? failure, SmtpReply? reply) =>
        reply is null ? $"{failure}" : $"{failure} {reply.Code} {reply.Enhanced}".Trim();
}
