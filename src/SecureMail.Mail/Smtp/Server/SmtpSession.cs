using System.Globalization;
using System.Net;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Microsoft.Extensions.Logging;
using SecureMail.Mail.Smtp.Messages;

namespace SecureMail.Mail.Smtp.Server;

/// <summary>
/// One session: reads a command, checks with the state table that it is legal now, executes it and replies. Every wait
/// has a time-out (<see cref="SmtpConnection"/>). A failure ends this session and no other.
/// </summary>
internal sealed class SmtpSession : IAsyncDisposable
{
    private readonly SmtpServerOptions _options;
    private readonly SmtpServerLimits _limits;
    private readonly ConnectionLimiter _limiter;
    private readonly ConnectionPlace _place;
    private readonly RefusalLog _refusals;
    private readonly CancellationTokenSource _ends;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly CancellationToken _stop;
    private readonly SmtpConnection _connection;
    private readonly string _id = Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(8));
    private readonly long _started;
    private SmtpPeer _peer;
    private SmtpState _state = SmtpState.Connected;
    private string _hello = "";
    private IReadOnlyList<string> _announcedLines = [];
    private MailFrom? _from;
    private List<RcptTo> _recipients = [];
    private long _lastDataEnded;
    private int _errors;
    private int _idleCommands;
    private int _messages;
    private bool _peerLimitExceeded;
    private bool _ending;

    public SmtpSession(
        Stream stream, IPEndPoint remote, SmtpServerOptions options, ConnectionLimiter limiter, ConnectionPlace place,
        RefusalLog refusals, TimeProvider time, ILogger logger, CancellationToken stop)
    {
        (_place, _refusals) = (place, refusals);
        _ends = CancellationTokenSource.CreateLinkedTokenSource(stop, place.GaveWay);
        _connection = new SmtpConnection(stream, options.Limits, time, _ends.Token);
        _peer = new SmtpPeer(remote, IsTls: false, Id: null);
        _options = options;
        _limits = options.Limits;
        _limiter = limiter;
        _time = time;
        _logger = logger;
        _stop = stop;
        _started = _lastDataEnded = time.GetTimestamp();
    }

    private SmtpSessionInfo Info => new(_id, _peer, _hello, _announcedLines);

    public async Task RunAsync()
    {
        Log.SessionBegan(_logger, _id, _peer.Remote.ToString());
        var reason = "closed";
        try
        {
            Reply(new SmtpReply(220, null, $"{_options.HostName} ESMTP SecureMail"));
            await _connection.FlushAsync();
            while (!_ending)
            {
                await ExecuteNextCommandAsync();
            }
        }
        catch (OperationCanceledException)
        {
            (reason, var reply) =
                _stop.IsCancellationRequested
                    ? ("server stops", new SmtpReply(421, "4.3.2", "The server is shutting down"))
                : _place.GaveWay.IsCancellationRequested
                    ? ("gave way", new SmtpReply(421, "4.7.0", "Too many connections, try again later"))
                : ("timeout", new SmtpReply(421, "4.4.2", "Timeout"));
            if (_place.GaveWay.IsCancellationRequested)
            {
                _refusals.Add(_peer.Remote, reason);
            }

            await _connection.TrySendFinalReplyAsync(reply);
        }
        catch (Exception e) when (e is IOException or AuthenticationException or ObjectDisposedException)
        {
            reason = e is AuthenticationException ? "TLS refused" : "connection lost";
        }
        catch (Exception e)
        {
            // A bug must end this session only, not the server.
            Log.StepFailed(_logger, e, _id, "session");
            reason = "failure";
            await _connection.TrySendFinalReplyAsync(new SmtpReply(421, "4.3.0", "Internal error"));
        }

        Log.SessionEnded(_logger, _id, reason, _messages);
    }

    public async ValueTask DisposeAsync()
    {
        await _connection.DisposeAsync();
        _ends.Dispose();
    }

    private async Task ExecuteNextCommandAsync()
    {
        if (!_connection.Input.HasBuffered)
        {
            await _connection.FlushAsync();
        }

        var (kind, line) = await _connection.ReadLineAsync(NextCommandTimeout());
        switch (kind)
        {
            case SmtpLineKind.End:
                _ending = true;
                return;
            case SmtpLineKind.TooLong:
                Reply(new SmtpReply(500, "5.5.2", "The line is too long"));
                break;
            case SmtpLineKind.IllegalBytes:
                Reply(new SmtpReply(500, "5.5.2", "A command holds neither CR nor NUL"));
                break;
            case SmtpLineKind.Unbounded:
                // RFC 5321 §2.3.8: only CRLF ends a line. The end of this line is unknown, so nothing after it is read.
                Reply(new SmtpReply(500, "5.5.2", "Lines end with CRLF and nothing else"));
                _ending = true;
                break;
            default:
                await ExecuteAsync(SmtpCommand.Parse(line.Span));
                break;
        }

        if (!_ending && (_errors > _limits.Errors || _idleCommands > _limits.IdleCommands))
        {
            Reply(
                new SmtpReply(
                    421, "4.7.0", _errors > _limits.Errors ? "Too many errors" : "Too many commands without a message")
            );
            _ending = true;
        }

        if (_ending)
        {
            await _connection.FlushAsync();
        }
    }

    /// <summary>How long to wait for the next line: the time-out of a command, or less when the time to TLS, to DATA or
    /// of the session ends earlier.</summary>
    /// <exception cref="OperationCanceledException">One of these times is over.</exception>
    private TimeSpan NextCommandTimeout()
    {
        var left = Earlier(
            _limits.TimeToData - _time.GetElapsedTime(_lastDataEnded),
            _limits.SessionTime - _time.GetElapsedTime(_started));
        if (_options.RequireTls && !_peer.IsTls)
        {
            left = Earlier(left, _limits.TimeToTls - _time.GetElapsedTime(_started));
        }

        if (left <= TimeSpan.Zero)
        {
            throw new OperationCanceledException("The session lasted longer than allowed.");
        }

        return Earlier(left, _limits.CommandTimeout);
    }

    private static TimeSpan Earlier(TimeSpan one, TimeSpan other) => one < other ? one : other;

    private async Task ExecuteAsync(SmtpCommand command)
    {
        if (command.Verb is SmtpVerb.Ehlo or SmtpVerb.Helo or SmtpVerb.Noop or SmtpVerb.Rset or SmtpVerb.Vrfy)
        {
            _idleCommands++;
        }

        if (_peerLimitExceeded)
        {
            // RFC 3207 §4.2: the client sends the first command after TLS. RFC 5321 §3.8: 421 may be the reply to any
            // command.
            Reply(new SmtpReply(421, "4.7.0", "Too many connections of this gateway, try again later"));
        }
        else if (_state == SmtpState.Greeted
            && _peer.Id is not null
            && _options.PrivateCommands.TryGetValue(command.Word, out var execute))
        {
            _idleCommands++;
            Reply(
                await CallAsync(command.Word, cancellationToken => execute(_peer, command.Argument, cancellationToken))
            );
        }
        else if (command.Verb == SmtpVerb.Unknown)
        {
            Reply(new SmtpReply(500, "5.5.2", "That is no command known here"));
        }
        else if (_options.RequireTls && !_peer.IsTls && SmtpStateTable.NeedsTls(command.Verb))
        {
            Reply(new SmtpReply(530, "5.7.0", "Must issue a STARTTLS command first"));
        }
        else if (!SmtpStateTable.TryNext(_state, command.Verb, out var next))
        {
            Reply(new SmtpReply(503, "5.5.1", "Not now: the order of commands is wrong"));
        }
        else if (command.HasWrongArgument)
        {
            Reply(new SmtpReply(501, "5.5.4", "The command has an argument too many or too few"));
        }
        else if (await ExecuteLegalAsync(command))
        {
            _state = next;
        }
    }

    /// <summary>Executes a command that is legal now, and replies. True when it succeeded.</summary>
    private async Task<bool> ExecuteLegalAsync(SmtpCommand command)
    {
        switch (command.Verb)
        {
            case SmtpVerb.Ehlo or SmtpVerb.Helo:
                return await EhloAsync(command);
            case SmtpVerb.StartTls:
                return await StartTlsAsync();
            case SmtpVerb.Mail:
                return await MailAsync(command.Argument);
            case SmtpVerb.Rcpt:
                return await RcptAsync(command.Argument);
            case SmtpVerb.Data:
                Reply(await DataAsync());
                _lastDataEnded = _time.GetTimestamp();
                ClearTransaction();
                return true; // §4.1.4: the transaction is over, whatever the reply was
            case SmtpVerb.Rset:
                ClearTransaction();
                return Reply(new SmtpReply(250, "2.0.0", "Reset"));
            case SmtpVerb.Vrfy:
                // RFC 5321 §3.5.3, §7.3: the reply does not tell whether a mailbox exists.
                return Reply(new SmtpReply(252, "2.1.5", "Cannot verify, but will take mail for it"));
            case SmtpVerb.Quit:
                _ending = true;
                return Reply(new SmtpReply(221, "2.0.0", "Goodbye"));
            default:
                return Reply(new SmtpReply(250, "2.0.0", "Ok"));
        }
    }

    private async Task<bool> EhloAsync(SmtpCommand command)
    {
        if (!Hello.TryParse(command.Argument, out var hello))
        {
            return Reply(new SmtpReply(501, "5.5.4", "The argument is a domain or an address literal"));
        }

        ClearTransaction();
        (_hello, _announcedLines) = (hello.Value.Name, []);
        if (command.Verb == SmtpVerb.Helo)
        {
            return Reply(new SmtpReply(250, null, _options.HostName));
        }

        List<string> lines =
        [
            _options.HostName,
            SmtpCapabilities.Pipelining,
            SmtpCapabilities.EightBitMime,
            SmtpCapabilities.EnhancedStatusCodes,
            string.Create(CultureInfo.InvariantCulture, $"{SmtpCapabilities.Size} {_limits.MessageBytes}"),
        ];
        // RFC 3207 §4.2: not offered again under TLS.
        if (_options.Certificate is not null && !_peer.IsTls)
        {
            lines.Add(SmtpCapabilities.StartTls);
        }

        try
        {
            _announcedLines = await _options.ExtraEhloLines(_peer, _stop);
            lines.AddRange(_announcedLines);
        }
        catch (Exception e) when (!_stop.IsCancellationRequested)
        {
            return Reply(DataTransfer.ReplyTo(e, _logger, _id, "EHLO"));
        }

        return Reply(new SmtpReply(250, null, lines));
    }

    private async Task<bool> StartTlsAsync()
    {
        if (_options.Certificate is null)
        {
            return Reply(new SmtpReply(502, "5.5.1", "TLS is not offered"));
        }

        if (_peer.IsTls)
        {
            return Reply(new SmtpReply(503, "5.5.1", "TLS is on already"));
        }

        var injected = _connection.Input.HasBuffered ? (await _connection.PeekAsync(_limits.TlsTimeout)).Length : 0;
        if (injected > 0)
        {
            Log.InjectionDropped(_logger, _id, injected);
        }

        Reply(new SmtpReply(220, "2.0.0", "Ready to start TLS"));
        await _connection.FlushAsync();

        string? id = null;
        Func<X509Certificate2, bool>? accept = _options.AuthenticatePeer is { } authenticate
            ? certificate => (id = authenticate(certificate)) is not null
            : null;
        try
        {
            await _connection.StartTlsAsync(Tls.Server(_options.Certificate, accept));
        }
        catch (Exception e) when (e is AuthenticationException or IOException or CryptographicException)
        {
            Log.TlsRefused(_logger, _id, e.GetType().Name);
            _refusals.Add(_peer.Remote, "TLS");
            throw new AuthenticationException("TLS failed or the peer was refused.", e);
        }

        // RFC 3207 §4.2: the server discards everything that it learnt before TLS.
        (_hello, _announcedLines) = ("", []);
        ClearTransaction();
        if (id is null)
        {
            _place.KeepWithTls();
        }
        else if (!_place.TryAuthenticate(id))
        {
            _refusals.Add(_peer.Remote, "too many sessions of one peer");
            (_peer, _peerLimitExceeded) = (_peer with { IsTls = true }, true);
            return true;
        }

        _peer = _peer with { IsTls = true, Id = id };
        return true;
    }

    private async Task<bool> MailAsync(string argument)
    {
        if (!MailFrom.TryParse(argument, out var mail, out var error))
        {
            return Reply(error);
        }

        if (mail.Size > _limits.MessageBytes)
        {
            return Reply(DataTransfer.TooLarge());
        }

        if (!Reply(await CallAsync("MAIL", cancellationToken => _options.OnMail(Info, mail, cancellationToken))))
        {
            return false;
        }

        _from = mail;
        return true;
    }

    private async Task<bool> RcptAsync(string argument)
    {
        if (!RcptTo.TryParse(argument, out var recipient, out var error))
        {
            return Reply(error);
        }
        // RFC 5321 §4.5.3.1.10
        if (_recipients.Count >= _limits.Recipients)
        {
            return Reply(new SmtpReply(452, "4.5.3", "Too many recipients in one message"));
        }

        if (
            !Reply(
                await CallAsync("RCPT", cancellationToken =>
                    _options.OnRecipient(Info, _from!, recipient, cancellationToken))))
        {
            return false;
        }

        _recipients.Add(recipient);
        return true;
    }

    private async Task<SmtpReply> DataAsync()
    {
        var sender = _peer.Id ?? _peer.Remote.Address.ToString();
        if (!_limiter.Messages.TryAcquire(sender))
        {
            return new SmtpReply(452, "4.3.2", "Too many messages are coming in at once, try again later");
        }

        try
        {
            var transfer = new DataTransfer(_connection, _options, _time, _started, _logger, _id, _stop);
            var reply = await transfer.RunAsync(new SmtpEnvelope(Info, _from!, _recipients));
            if (transfer.Committed)
            {
                _messages++;
                _idleCommands = 0;
            }

            return reply;
        }
        finally
        {
            _limiter.Messages.Release(sender);
        }
    }

    /// <summary>Calls a delegate of the options. An exception becomes a reply.</summary>
    private async Task<SmtpReply> CallAsync(string step, Func<CancellationToken, Task<SmtpReply>> call)
    {
        try
        {
            return await call(_stop);
        }
        catch (Exception e) when (!_stop.IsCancellationRequested)
        {
            return DataTransfer.ReplyTo(e, _logger, _id, step);
        }
    }

    private void ClearTransaction()
    {
        _from = null;
        _recipients = [];
    }

    /// <summary>Queues a reply, counts errors and ends the session on 421. True when the reply is positive.</summary>
    private bool Reply(SmtpReply reply)
    {
        if (!reply.IsPositive)
        {
            _errors++;
        }

        _ending |= reply.Code == 421;
        _connection.QueueReply(reply);
        return reply.IsPositive;
    }
}
