using System.ComponentModel;
using System.ComponentModel.DataAnnotations;
using System.Net;
using System.Security.Cryptography.X509Certificates;
using SecureMail.Mail.Smtp.Messages;

namespace SecureMail.Mail.Smtp.Server;

/// <summary>
/// Settings, limits and delegates of a server. The delegates decide what to accept; the server implements the protocol.
/// When a delegate fails, the server replies 451, or the reply of a <see cref="SmtpRefusalException"/>.
/// </summary>
public sealed record SmtpServerOptions
{
    /// <summary>
    /// Address and port to listen on. Port 0 takes any free port; see <see cref="SmtpServer.Endpoint"/>.
    /// </summary>
    public required IPEndPoint Listen { get; init; }

    /// <summary>The server's name in the greeting and in the EHLO reply.</summary>
    public required string HostName { get; init; }

    /// <summary>The server's certificate with its private key. Without one STARTTLS is not offered.</summary>
    public X509Certificate2? Certificate { get; init; }

    /// <summary>Whether MAIL, RCPT, DATA and VRFY are refused before TLS (530 5.7.0).</summary>
    public bool RequireTls { get; init; }

    /// <summary>
    /// Returns the peer's id for its certificate, or null to refuse the peer. When this delegate is set, TLS is 1.3 and
    /// mutual: the client must present a certificate. No path is built and nothing is fetched, so self-signed
    /// certificates can be used (they are pinned). The certificate object is valid during the call only.
    /// </summary>
    public Func<X509Certificate2, string?>? AuthenticatePeer { get; init; }

    public SmtpServerLimits Limits { get; init; } = new();

    /// <summary>
    /// Returns more lines for the EHLO reply, each of at most 500 characters. The delegate gets what is known of the
    /// peer at that time. An exception is answered 451.
    /// </summary>
    public Func<SmtpPeer, CancellationToken, Task<IReadOnlyList<string>>> ExtraEhloLines { get; init; } =
        static (_, _) => Task.FromResult<IReadOnlyList<string>>([]);

    /// <summary>Decides on MAIL. A positive reply accepts the sender; an exception is answered 451.</summary>
    public Func<SmtpSessionInfo, MailFrom, CancellationToken, Task<SmtpReply>> OnMail { get; init; } =
        static (_, _, _) => Task.FromResult(new SmtpReply(250, "2.1.0", "Sender ok"));

    /// <summary>Decides on one RCPT. A positive reply accepts the recipient; an exception is answered 451.</summary>
    public Func<SmtpSessionInfo, MailFrom, RcptTo, CancellationToken, Task<SmtpReply>> OnRecipient { get; init; } =
        static (_, _, _, _) => Task.FromResult(new SmtpReply(250, "2.1.5", "Recipient ok"));

    /// <summary>
    /// Private commands by verb (RFC 5321 §2.2.2: their verbs begin with X). A delegate gets the peer and the argument
    /// and returns the reply; an exception is answered 451. Private commands are legal between messages, and only for a
    /// peer that <see cref="AuthenticatePeer"/> identified: for any other peer they are unknown commands. They count as
    /// idle commands.
    /// </summary>
    public IReadOnlyDictionary<
        string,
        Func<SmtpPeer, string, CancellationToken, Task<SmtpReply>>
    > PrivateCommands
    { get; init; } =
        new Dictionary<string, Func<SmtpPeer, string, CancellationToken, Task<SmtpReply>>>();

    /// <summary>Begins the reception of a message. An exception is answered 451 instead of 354.</summary>
    public required Func<SmtpEnvelope, CancellationToken, Task<SmtpReception>> OnData { get; init; }
}

/// <summary>
/// Limits of one session and of all together. RFC 5321 §4.5.3 gives the minimum that a server must support.
/// </summary>
[Category("Limits")]
public sealed record SmtpServerLimits
{
    /// <summary>Bytes of one message after dots are unstuffed; a larger message is answered 552.</summary>
    [Browsable(false)]
    public long MessageBytes { get; init; } = 100L * 1024 * 1024;

    [Browsable(false)]
    public int Recipients { get; init; } = 1000;

    /// <summary>
    /// Bytes of a command line without CRLF: the 512 octets of RFC 5321 §4.5.3.1.4 and space for parameters.
    /// </summary>
    [Browsable(false)]
    public int CommandLineBytes { get; init; } = 1024;

    /// <summary>Replies of 4xx and 5xx in one session; one more ends the session with 421.</summary>
    [Browsable(false)]
    public int Errors { get; init; } = 20;

    /// <summary>
    /// Commands since the last message (NOOP, RSET, VRFY, EHLO and the like); one more ends the session with 421.
    /// </summary>
    [Browsable(false)]
    public int IdleCommands { get; init; } = 100;

    /// <summary>Connections open at once; one more is refused with 421.</summary>
    [Range(1, 10_000)]
    public int Connections { get; init; } = 500;

    /// <summary>
    /// Connections open at once whose peer is not authenticated, at most half of <see cref="Connections"/>: the other
    /// places are kept for peers that <see cref="SmtpServerOptions.AuthenticatePeer"/> identified. When one more comes,
    /// the oldest connection without TLS is ended with 421 and gives its place; where all have TLS, the new one is
    /// refused with 421.
    /// </summary>
    [Range(1, 10_000)]
    public int UnauthenticatedConnections { get; init; } = 64;

    /// <summary>
    /// Connections open at once from one IPv4 address or one IPv6 network of 64 bits whose peer is not authenticated;
    /// one more is refused with 421. Connections of authenticated peers do not count.
    /// </summary>
    [Range(1, 10_000)]
    public int ConnectionsPerAddress { get; init; } = 3;

    /// <summary>
    /// Sessions open at once of one peer that <see cref="SmtpServerOptions.AuthenticatePeer"/> identified, from all its
    /// addresses; one more is refused with 421.
    /// </summary>
    [Range(1, 10_000)]
    public int ConnectionsPerPeer { get; init; } = 32;

    /// <summary>
    /// Messages being received at once, because each reception uses resources. One more is answered 452: the sender
    /// keeps the message and tries again.
    /// </summary>
    [Range(1, 1000)]
    public int Messages { get; init; } = 32;

    /// <summary>
    /// Messages being received at once from one peer (from one address, if the peer is not authenticated), so that no
    /// peer can use up <see cref="Messages"/>. One more is answered 452.
    /// </summary>
    [Range(1, 1000)]
    public int MessagesPerPeer { get; init; } = 16;

    /// <summary>
    /// From the connection to the end of its TLS handshake, where <see cref="SmtpServerOptions.RequireTls"/> is set, so
    /// that an unauthenticated peer holds a connection no longer than this.
    /// </summary>
    public TimeSpan TimeToTls { get; init; } = TimeSpan.FromMinutes(1);

    /// <summary>Duration of a whole session, its messages included.</summary>
    public TimeSpan SessionTime { get; init; } = TimeSpan.FromHours(4);

    /// <summary>Time for a whole command line, however slowly its bytes arrive (RFC 5321 §4.5.3.2.7).</summary>
    public TimeSpan CommandTimeout { get; init; } = TimeSpan.FromMinutes(5);

    /// <summary>
    /// From the connection, or the last message, to the next DATA, so that a peer cannot keep a session open by a
    /// command now and then.
    /// </summary>
    [Browsable(false)]
    public TimeSpan TimeToData { get; init; } = TimeSpan.FromMinutes(30);

    public TimeSpan TlsTimeout { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>Time for the next bytes of DATA (RFC 5321 §4.5.3.2.5), and for the peer to receive a reply.</summary>
    public TimeSpan DataBlockTimeout { get; init; } = TimeSpan.FromMinutes(3);

    /// <summary>Time that DATA may take beyond its size divided by <see cref="DataBytesPerSecond"/>.</summary>
    public TimeSpan DataGrace { get; init; } = TimeSpan.FromMinutes(1);

    [Range(1, int.MaxValue)]
    public int DataBytesPerSecond { get; init; } = 2048;

    /// <summary>The places that connections without an authenticated peer may take, whatever is configured.</summary>
    internal int StrangerPlaces => Math.Min(UnauthenticatedConnections, (Connections + 1) / 2);
}

/// <summary>
/// A delegate or a reception throws this exception to refuse with a reply of its own. A reply of 421 ends the session.
/// </summary>
public sealed class SmtpRefusalException(SmtpReply reply, Exception? inner = null) : Exception(reply.ToString(), inner)
{
    public SmtpReply Reply => reply;
}

/// <summary>The peer of a session, as far as the connection shows.</summary>
/// <param name="Id">The id that <see cref="SmtpServerOptions.AuthenticatePeer"/> returned; null without mutual
/// TLS.</param>
public sealed record SmtpPeer(IPEndPoint Remote, bool IsTls, string? Id);

/// <param name="Id">Random, for logs and the Received field.</param>
/// <param name="Hello">The name that the client gave with EHLO or HELO; it is not verified.</param>
/// <param name="AnnouncedLines">The lines of <see cref="SmtpServerOptions.ExtraEhloLines"/> in the last EHLO reply;
/// empty after HELO.</param>
public sealed record SmtpSessionInfo(string Id, SmtpPeer Peer, string Hello, IReadOnlyList<string> AnnouncedLines);

/// <summary>The envelope of a message whose data comes next.</summary>
public sealed record SmtpEnvelope(SmtpSessionInfo Session, MailFrom From, IReadOnlyList<RcptTo> Recipients);

/// <summary>
/// Receives one message. The session calls <see cref="WriteAsync"/> any number of times, then exactly one of
/// <see cref="CommitAsync"/> and <see cref="AbortAsync"/>, then disposes the reception. An exception from a write or a
/// commit is answered 451 and followed by an abort.
/// </summary>
public abstract class SmtpReception : IAsyncDisposable
{
    /// <summary>
    /// Stores the next bytes of the message: dots are unstuffed, line ends are CRLF. The bytes are valid during the
    /// call only.
    /// </summary>
    public abstract Task WriteAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken);

    /// <summary>
    /// Commits the whole message and returns the reply. The reply may be 250 only when the message is durable (RFC 5321
    /// §6.1), because the sender deletes its copy after a 250.
    /// </summary>
    public abstract Task<SmtpReply> CommitAsync(CancellationToken cancellationToken);

    /// <summary>
    /// Discards the message: it was refused, is too large, or the peer has closed the connection. Nothing may remain.
    /// </summary>
    public abstract Task AbortAsync();

    public virtual ValueTask DisposeAsync()
    {
        GC.SuppressFinalize(this);
        return ValueTask.CompletedTask;
    }
}
