using Microsoft.Extensions.Logging;

namespace SecureMail.Mail;

/// <summary>The log messages of this project. None holds a mail address, a subject or content.</summary>
internal static partial class Log
{
    [LoggerMessage(1, LogLevel.Information, "SMTP server listens on {EndPoint}")]
    public static partial void Listening(ILogger logger, string endPoint);

    [LoggerMessage(2, LogLevel.Debug, "SMTP connection from {Remote} refused: {Reason}")]
    public static partial void ConnectionRefused(ILogger logger, string remote, string reason);

    [LoggerMessage(
        10, LogLevel.Warning,
        "SMTP: {Count} connections refused or ended since this was last said; the latest, from {Remote}: {Reason}")]
    public static partial void ConnectionsRefused(ILogger logger, int count, string remote, string reason);

    [LoggerMessage(3, LogLevel.Debug, "SMTP session {Session} from {Remote} began")]
    public static partial void SessionBegan(ILogger logger, string session, string remote);

    [LoggerMessage(4, LogLevel.Debug, "SMTP session {Session} ended: {Reason}; {Messages} messages accepted")]
    public static partial void SessionEnded(ILogger logger, string session, string reason, int messages);

    [LoggerMessage(5, LogLevel.Debug, "SMTP session {Session}: TLS failed or the peer was not accepted ({Reason})")]
    public static partial void TlsRefused(ILogger logger, string session, string reason);

    [LoggerMessage(
        6, LogLevel.Warning, "SMTP session {Session}: {Count} bytes sent in the clear after STARTTLS were dropped")]
    public static partial void InjectionDropped(ILogger logger, string session, int count);

    [LoggerMessage(7, LogLevel.Warning, "SMTP session {Session}: a message with bare CR, bare LF or NUL was refused")]
    public static partial void BareLineEnds(ILogger logger, string session);

    [LoggerMessage(8, LogLevel.Error, "SMTP session {Session}: {Step} failed")]
    public static partial void StepFailed(ILogger logger, Exception exception, string session, string step);

    [LoggerMessage(9, LogLevel.Error, "SMTP server: accepting connections failed")]
    public static partial void AcceptFailed(ILogger logger, Exception exception);
}
