using System.Security.Cryptography.X509Certificates;

namespace SecureMail.Mail.Smtp.Client;

/// <summary>Server, TLS and time-outs of a session as a client.</summary>
public sealed record SmtpClientOptions
{
    /// <summary>Host name or IP address of the server.</summary>
    public required string Host { get; init; }

    public int Port { get; init; } = 25;

    /// <summary>The name to give with EHLO: the name of this host.</summary>
    public required string EhloName { get; init; }

    /// <summary>
    /// Whether TLS is used. When true, no message is sent without STARTTLS, and <see cref="PinServer"/> is needed. When
    /// false, TLS is not used.
    /// </summary>
    public bool RequireTls { get; init; }

    /// <summary>This client's certificate with its private key. When it is set, TLS is 1.3 and mutual.</summary>
    public X509Certificate2? ClientCertificate { get; init; }

    /// <summary>
    /// Says whether the server's certificate is the expected one. No path is built and nothing is fetched.
    /// </summary>
    public Func<X509Certificate2, bool>? PinServer { get; init; }

    public SmtpClientTimeouts Timeouts { get; init; } = new();
}

/// <summary>
/// Time-outs of each state of a session (RFC 5321 §4.5.3.2). A time-out is for a whole reply or block, so a server that
/// sends single bytes does not extend it. Every state has a time-out, so that no server can hold a session for ever.
/// </summary>
public sealed record SmtpClientTimeouts
{
    public TimeSpan Connect { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>For the 220 greeting (§4.5.3.2.1).</summary>
    public TimeSpan Greeting { get; init; } = TimeSpan.FromMinutes(5);

    public TimeSpan Tls { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>For the replies to EHLO, STARTTLS, MAIL, RCPT and RSET (§4.5.3.2.2 and .3).</summary>
    public TimeSpan Reply { get; init; } = TimeSpan.FromMinutes(5);

    /// <summary>For the 354 reply to DATA (§4.5.3.2.4).</summary>
    public TimeSpan DataStart { get; init; } = TimeSpan.FromMinutes(2);

    /// <summary>For the server to receive each block of the message (§4.5.3.2.5).</summary>
    public TimeSpan DataBlock { get; init; } = TimeSpan.FromMinutes(3);

    /// <summary>
    /// For the reply to the final dot (§4.5.3.2.6). A short time-out causes duplicates, because the server may have
    /// accepted the message.
    /// </summary>
    public TimeSpan DataEnd { get; init; } = TimeSpan.FromMinutes(10);

    /// <summary>
    /// For the reply to QUIT, and for a reply that explains why the server closed early. It is short, because no
    /// outcome waits for QUIT.
    /// </summary>
    public TimeSpan Farewell { get; init; } = TimeSpan.FromSeconds(2);

    /// <summary>The same time-out for every state; for tests.</summary>
    public static SmtpClientTimeouts All(TimeSpan limit) =>
        new()
        {
            Connect = limit,
            Greeting = limit,
            Tls = limit,
            Reply = limit,
            DataStart = limit,
            DataBlock = limit,
            DataEnd = limit,
            Farewell = limit,
        };
}

/// <summary>What the sender does next about one recipient.</summary>
public enum SmtpOutcome
{
    /// <summary>The server replied 2xx and is now responsible for the message.</summary>
    Delivered,

    /// <summary>Sending the same message again will fail again.</summary>
    Permanent,

    /// <summary>The message was not sent and may be sent later.</summary>
    Transient,

    /// <summary>
    /// The final dot was sent and no reply came, so the server may have accepted the message. Send it again only if the
    /// recipient detects duplicates.
    /// </summary>
    Unknown,
}

/// <summary>The cause of a failure.</summary>
public enum SmtpFailure
{
    /// <summary>The server refused; see the reply.</summary>
    Refused,

    /// <summary>The connection could not be opened.</summary>
    Connect,

    /// <summary>TLS is required, and the server does not offer it.</summary>
    TlsNotOffered,

    /// <summary>
    /// The server's certificate is not the pinned one, or the handshake failed. An administrator should examine the
    /// case.
    /// </summary>
    TlsRefused,

    /// <summary>The server broke the protocol of RFC 5321.</summary>
    Protocol,

    Timeout,

    ConnectionLost,

    /// <summary>
    /// The message or an address cannot be sent: bare CR or LF, NUL, a line too long, 8-bit text to a 7-bit server, too
    /// large.
    /// </summary>
    Message,
}

/// <summary>A session could not be opened or had to end.</summary>
public sealed class SmtpException(
    SmtpOutcome outcome, SmtpFailure failure, string message, SmtpReply? reply = null,
    Exception? inner = null) : Exception(message, inner)
{
    public SmtpOutcome Outcome { get; } = outcome;

    public SmtpFailure Failure { get; } = failure;

    /// <summary>The server's reply; null when the server sent none.</summary>
    public SmtpReply? Reply { get; } = reply;
}

/// <summary>The outcome of one message for one recipient.</summary>
/// <param name="Failure">Null when delivered.</param>
/// <param name="Reply">The reply that decided the outcome, with its code and enhanced code; null when the server sent
/// none.</param>
public sealed record SmtpRecipientResult(string Recipient, SmtpOutcome Outcome, SmtpFailure? Failure, SmtpReply? Reply);
