using System.Net;
using System.Security.Cryptography.X509Certificates;
using SecureMail.Mail.Smtp.Messages;

namespace SecureMail.Mail.Smtp.Server;

/// <summary>
/// What a server does and bears. The delegates are the product; everything else is the protocol. A delegate that fails
/// is answered 451, or, where it throws <see cref="SmtpRefusalException"/>, as that says.
/// </summary>
public sealed record SmtpServerOptions
{
    /// <summary>Port 0 takes any free one; see <see cref="SmtpServer.Endpoint"/>.</summary>
    public required IPEndPoint Listen { get; init; }

    /// <summary>The name in the greeting.</summary>
    public required string HostName { get; init; }

    /// <summary>With its private key; null: STARTTLS is not offered.</summary>
    public X509Certificate2? Certificate { get; init; }

    /// <summary>Nothing but EHLO, NOOP, RSET, STARTTLS and QUIT before TLS (530 5.7.0).</summary>
    public bool RequireTls { get; init; }

    /// <summary>
    /// When set, TLS is 1.3 and mutual: the client must show a certificate and this alone says who it is; null refuses.
    /// No path is built and nothing fetched, so self-signed certificates serve (they are pinned). The certificate is
    /// valid during the call only.
    /// </summary>
    public Func<X509Certificate2, string?>? AuthenticatePeer { get; init; }

    public SmtpServerLimits Limits { get; init; } = new();

    /// <summary>More lines for the EHLO reply, each within 500 characters, given what is known of the peer at that
    /// time; an exception is 451.</summary>
    public Func<SmtpPeer, CancellationToken, Task<IReadOnlyList<string>>> ExtraEhloLines { get; init; } =
        static (_, _) => Task.FromResult<IReadOnlyList<string>>([]);

    /// <summary>Judges MAIL. A positive reply accepts; an exception is 451.</summary>
    public Func<SmtpSessionInfo, MailFrom, CancellationToken, Task<SmtpReply>> OnMail { get; init; } =
        static (_, _, _) => Task.FromResult(new SmtpReply(250, "2.1.0", "Sender ok"));

    /// <summary>Judges one RCPT. A positive reply accepts; an exception is 451.</summary>
    public Func<SmtpSessionInfo, MailFrom, RcptTo, CancellationToken, Task<SmtpReply>> OnRecipient { get; init; } =
        static (_, _, _, _) => Task.FromResult(new SmtpReply(250, "2.1.5", "Recipient ok"));

    /// <summary>
    /// Private commands (RFC 5321 §2.2.2: their verbs begin with X), each answered by its delegate from the argument;
    /// an exception is 451. Legal between messages, and for a peer that <see cref="AuthenticatePeer"/> named: to
    /// anybody else they do not exist. They count as idle commands.
    /// </summary>
    public IReadOnlyDictionary<
        string,
        Func<SmtpPeer, string, CancellationToken, Task<SmtpReply>>
    > PrivateCommands
    { get; init; } =
        new Dictionary<string, Func<SmtpPeer, string, CancellationToken, Task<SmtpReply>>>();

    /// <summary>Begins to take a message; an exception is 451 and no 354.</summary>
    public required Func<SmtpEnvelope, CancellationToken, Task<SmtpReception>> OnData { get; init; }
}

/// <summary>What one connection, and all together, may cost. RFC 5321 §4.5.3 gives the least a server must
/// bear.</summary>
public sealed record SmtpServerLimits
{
    /// <summary>Octets of one message after dots are unstuffed; 552 beyond.</summary>
    public long MessageBytes { get; init; } = 100L * 1024 * 1024;

    public int Recipients { get; init; } = 1000;

    /// <summary>Octets of a command line without CRLF: 512 of RFC 5321 §4.5.3.1.4 and room for parameters.</summary>
    public int CommandLineBytes { get; init; } = 1024;

    /// <summary>Replies of 4xx and 5xx in one session; 421 beyond.</summary>
    public int Errors { get; init; } = 20;

    /// <summary>Commands in a row that lead to no message (NOOP, RSET, VRFY, EHLO); 421 beyond.</summary>
    public int IdleCommands { get; init; } = 100;

    /// <summary>At once, in all; 421 beyond.</summary>
    public int Connections { get; init; } = 500;

    /// <summary>At once from one address; 421 beyond. Several peers may stand behind one.</summary>
    public int ConnectionsPerAddress { get; init; } = 50;

    /// <summary>Sessions at once of one peer that <see cref="SmtpServerOptions.AuthenticatePeer"/> named, whatever
    /// addresses they come from; 421 beyond.</summary>
    public int ConnectionsPerPeer { get; init; } = 32;

    /// <summary>Messages being taken at once, in all; each costs what a reception costs. 452 beyond: the sender keeps
    /// the message and comes again.</summary>
    public int Messages { get; init; } = 32;

    /// <summary>Messages being taken at once from one peer (without one, from one address), so that none can have all
    /// the places; 452 beyond.</summary>
    public int MessagesPerPeer { get; init; } = 16;

    /// <summary>From the connection to the end of its TLS handshake, where <see cref="SmtpServerOptions.RequireTls"/>:
    /// whoever is nobody yet holds a place for so long and no longer.</summary>
    public TimeSpan TimeToTls { get; init; } = TimeSpan.FromMinutes(1);

    /// <summary>For a whole session, its messages included.</summary>
    public TimeSpan SessionTime { get; init; } = TimeSpan.FromHours(4);

    /// <summary>For a whole command line, however slowly its octets come (RFC 5321 §4.5.3.2.7).</summary>
    public TimeSpan CommandTimeout { get; init; } = TimeSpan.FromMinutes(5);

    /// <summary>From the connection, or the last message, to the next DATA: who sends a command now and then for ever
    /// is let go.</summary>
    public TimeSpan TimeToData { get; init; } = TimeSpan.FromMinutes(30);

    public TimeSpan TlsTimeout { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>For the next octets of DATA (RFC 5321 §4.5.3.2.5), and for the peer to take a reply.</summary>
    public TimeSpan DataBlockTimeout { get; init; } = TimeSpan.FromMinutes(3);

    /// <summary>A transfer that has been going on for this long must have kept <see cref="DataBytesPerSecond"/> on the
    /// whole.</summary>
    public TimeSpan DataGrace { get; init; } = TimeSpan.FromMinutes(1);

    public int DataBytesPerSecond { get; init; } = 2048;
}

/// <summary>Thrown by a delegate or a reception to refuse with a reply of its own. A reply of 421 ends the
/// session.</summary>
public sealed class SmtpRefusalException(SmtpReply reply, Exception? inner = null) : Exception(reply.ToString(), inner)
{
    public SmtpReply Reply => reply;
}

/// <summary>Who is at the other end, as far as the connection shows.</summary>
/// <param name="Id">What <see cref="SmtpServerOptions.AuthenticatePeer"/> answered; null without mutual TLS.</param>
public sealed record SmtpPeer(IPEndPoint Remote, bool IsTls, string? Id);

/// <param name="Id">Random, for logs and the Received field.</param>
/// <param name="Hello">What the client called itself; not to be believed.</param>
/// <param name="AnnouncedLines">The lines of <see cref="SmtpServerOptions.ExtraEhloLines"/> in the last EHLO reply; empty
/// after HELO.</param>
public sealed record SmtpSessionInfo(string Id, SmtpPeer Peer, string Hello, IReadOnlyList<string> AnnouncedLines);

/// <summary>A message about to come.</summary>
public sealed record SmtpEnvelope(SmtpSessionInfo Session, MailFrom From, IReadOnlyList<RcptTo> Recipients);

/// <summary>
/// Takes one message. Calls come in order: any number of <see cref="WriteAsync"/>, then exactly one of
/// <see cref="CommitAsync"/> and <see cref="AbortAsync"/>, then disposal. An exception from any is answered 451 and
/// followed by an abort.
/// </summary>
public abstract class SmtpReception : IAsyncDisposable
{
    /// <summary>The next octets, dots unstuffed, line ends CRLF. They are valid during the call only.</summary>
    public abstract Task WriteAsync(ReadOnlyMemory<byte> octets, CancellationToken cancellationToken);

    /// <summary>The message is whole. A 250 may be answered only when it is durable (RFC 5321 §6.1): after it the
    /// sender forgets the message.</summary>
    public abstract Task<SmtpReply> CommitAsync(CancellationToken cancellationToken);

    /// <summary>There will be no message: refused, too large, or the peer has gone. Nothing may remain.</summary>
    public abstract Task AbortAsync();

    public virtual ValueTask DisposeAsync()
    {
        GC.SuppressFinalize(this);
        return ValueTask.CompletedTask;
    }
}
