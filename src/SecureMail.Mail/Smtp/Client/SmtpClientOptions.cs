using System.Security.Cryptography.X509Certificates;

namespace SecureMail.Mail.Smtp.Client;

/// <summary>Where to connect and what to insist on.</summary>
public sealed record SmtpClientOptions
{
    /// <summary>A name or an address.</summary>
    public required string Host { get; init; }

    public int Port { get; init; } = 25;

    /// <summary>What we call ourselves: our host's name.</summary>
    public required string EhloName { get; init; }

    /// <summary>Without STARTTLS nothing is sent. Needs <see cref="PinServer"/>. When false TLS is not used.</summary>
    public bool RequireTls { get; init; }

    /// <summary>Ours, with its key; when set TLS is 1.3 and mutual.</summary>
    public X509Certificate2? ClientCertificate { get; init; }

    /// <summary>Says alone whether the server's certificate is the one expected; no path is built and nothing
    /// fetched.</summary>
    public Func<X509Certificate2, bool>? PinServer { get; init; }

    public SmtpClientTimeouts Timeouts { get; init; } = new();
}

/// <summary>
/// How long each state of a session may last (RFC 5321 §4.5.3.2). Each limit is for the whole reply or block: a server
/// that drips one octet at a time gains nothing by it. Every state has one, so that no server can hold a session for
/// ever.
/// </summary>
public sealed record SmtpClientTimeouts
{
    public TimeSpan Connect { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>For the 220 (§4.5.3.2.1).</summary>
    public TimeSpan Greeting { get; init; } = TimeSpan.FromMinutes(5);

    public TimeSpan Tls { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>For the replies to EHLO, STARTTLS, MAIL, RCPT and RSET (§4.5.3.2.2 and .3).</summary>
    public TimeSpan Reply { get; init; } = TimeSpan.FromMinutes(5);

    /// <summary>For the 354 (§4.5.3.2.4).</summary>
    public TimeSpan DataStart { get; init; } = TimeSpan.FromMinutes(2);

    /// <summary>For each block of the message to be taken (§4.5.3.2.5).</summary>
    public TimeSpan DataBlock { get; init; } = TimeSpan.FromMinutes(3);

    /// <summary>For the reply to the final dot (§4.5.3.2.6): giving up early makes duplicates.</summary>
    public TimeSpan DataEnd { get; init; } = TimeSpan.FromMinutes(10);

    /// <summary>For the reply to QUIT, and for a reason given before an early close: courtesy, so short.</summary>
    public TimeSpan Farewell { get; init; } = TimeSpan.FromSeconds(2);

    /// <summary>The same limit for every state; for tests.</summary>
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

/// <summary>What the sender does next with one recipient.</summary>
public enum SmtpOutcome
{
    /// <summary>The server answered 2xx: it is theirs.</summary>
    Delivered,

    /// <summary>Sending the same again will fail the same way.</summary>
    Permanent,

    /// <summary>Not sent, may be sent later.</summary>
    Transient,

    /// <summary>The final dot was on its way and no answer came: it may be theirs. Sent again only by who can tell a
    /// duplicate.</summary>
    Unknown,
}

/// <summary>Where it went wrong.</summary>
public enum SmtpFailure
{
    /// <summary>The server said no; see the reply.</summary>
    Refused,

    /// <summary>No connection came about.</summary>
    Connect,

    /// <summary>The server offers no TLS and it is required.</summary>
    TlsNotOffered,

    /// <summary>The server's certificate is not the pinned one, or the handshake failed. A person should
    /// look.</summary>
    TlsRefused,

    /// <summary>The server does not speak SMTP as the RFC has it.</summary>
    Protocol,

    Timeout,

    ConnectionLost,

    /// <summary>Our own message or address may not be sent: bare CR or LF, NUL, lines too long, 8-bit to a 7-bit
    /// server, too large.</summary>
    Message,
}

/// <summary>A session that could not be opened or went on no longer.</summary>
public sealed class SmtpException(
    SmtpOutcome outcome, SmtpFailure failure, string message, SmtpReply? reply = null,
    Exception? inner = null) : Exception(message, inner)
{
    public SmtpOutcome Outcome { get; } = outcome;

    public SmtpFailure Failure { get; } = failure;

    /// <summary>The server's words, when it had any.</summary>
    public SmtpReply? Reply { get; } = reply;
}

/// <summary>What became of one recipient of one message.</summary>
/// <param name="Failure">Null when delivered.</param>
/// <param name="Reply">The reply that decided, with its code and enhanced code; null when none came.</param>
public sealed record SmtpRecipientResult(string Recipient, SmtpOutcome Outcome, SmtpFailure? Failure, SmtpReply? Reply);
