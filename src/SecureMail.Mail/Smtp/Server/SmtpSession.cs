using System.Globalization;
using System.Net;
using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography;
using Microsoft.Extensions.Logging;
using SecureMail.Mail.Smtp.Messages;

namespace SecureMail.Mail.Smtp.Server;

/// <summary>
/// One connection: reads a command, asks the state table whether it is legal now, does it, answers. Replies to
/// pipelined commands are gathered and leave together (RFC 2920 §3.2). Every wait has a limit; whatever goes wrong ends
/// this session and no other.
/// </summary>
internal sealed class SmtpSession : IAsyncDisposable
{
    private readonly SmtpServerOptions _options;
    private readonly SmtpServerLimits _limits;
    private readonly ConnectionLimiter _places;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly CancellationToken _stop;
    private readonly SmtpInput _input;
    private readonly MemoryStream _replies = new();
    private readonly string _id = Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(8));
    private Stream _stream;
    private SmtpPeer _peer;
    private SmtpState _state = SmtpState.Connected;
    private string _hello = "";
    private IReadOnlyList<string> _announced = [];
    private MailFrom? _from;
    private List<RcptTo> _recipients = [];
    private readonly long _began;
    private long _waitingSince;
    private int _errors;
    private int _idleCommands;
    private int _messages;
    private bool _tooMany;
    private bool _ending;

    public SmtpSession(
        Stream stream, IPEndPoint remote, SmtpServerOptions options, ConnectionLimiter places, TimeProvider time,
        ILogger logger, CancellationToken stop)
    {
        _stream = stream;
        _input = new SmtpInput(stream);
        _peer = new SmtpPeer(remote, IsTls: false, Id: null);
        _options = options;
        _limits = options.Limits;
        _places = places;
        _time = time;
        _logger = logger;
        _stop = stop;
        _began = _waitingSince = time.GetTimestamp();
    }

    private SmtpSessionInfo Info => new(_id, _peer, _hello, _announced);

    public async Task RunAsync()
    {
        Log.SessionBegan(_logger, _id, _peer.Remote.ToString());
        var reason = "closed";
        try
        {
            Answer(new SmtpReply(220, null, $"{_options.HostName} ESMTP SecureMail"));
            await FlushAsync();
            while (!_ending)
            {
                await NextCommandAsync();
            }
        }
        catch (OperationCanceledException)
        {
            reason = _stop.IsCancellationRequested ? "server stops" : "timeout";
            await GoodbyeAsync(
                _stop.IsCancellationRequested
                    ? new SmtpReply(421, "4.3.2", "The server is shutting down")
                    : new SmtpReply(421, "4.4.2", "Timeout"));
        }
        catch (Exception e) when (e is IOException or AuthenticationException or ObjectDisposedException)
        {
            reason = e is AuthenticationException ? "TLS refused" : "connection lost";
        }
        catch (Exception e)
        {
            // A bug of ours must not take the server down with the session.
            Log.StepFailed(_logger, e, _id, "session");
            reason = "failure";
            await GoodbyeAsync(new SmtpReply(421, "4.3.0", "Internal error"));
        }

        Log.SessionEnded(_logger, _id, reason, _messages);
    }

    public async ValueTask DisposeAsync()
    {
        if (_peer.Id is { } known)
        {
            _places.Peers.GiveBack(known);
        }

        try
        {
            await _stream.DisposeAsync();
        }
        catch (IOException)
        {
            // TLS says goodbye on closing; the peer may be gone.
        }
    }

    private async Task NextCommandAsync()
    {
        if (!_input.HasBuffered)
        {
            await FlushAsync();
        }

        var (kind, line) = await LimitedAsync(CommandPatience(), cancellationToken =>
            _input.ReadLineAsync(_limits.CommandLineBytes, cancellationToken));
        switch (kind)
        {
            case SmtpLineKind.End:
                _ending = true;
                return;
            case SmtpLineKind.TooLong:
                Answer(new SmtpReply(500, "5.5.2", "The line is too long"));
                break;
            case SmtpLineKind.BadOctets:
                Answer(new SmtpReply(500, "5.5.2", "A command holds neither CR nor NUL"));
                break;
            case SmtpLineKind.Unbounded:
                // RFC 5321 §2.3.8: only CRLF ends a line. Where this one ends is anyone's guess, so nothing behind it
                // is read.
                Answer(new SmtpReply(500, "5.5.2", "Lines end with CRLF and nothing else"));
                _ending = true;
                break;
            default:
                await DoAsync(SmtpCommand.Parse(line.Span));
                break;
        }

        if (!_ending && (_errors > _limits.Errors || _idleCommands > _limits.IdleCommands))
        {
            Answer(
                new SmtpReply(
                    421, "4.7.0", _errors > _limits.Errors ? "Too many errors" : "Too many commands without a message")
            );
            _ending = true;
        }

        if (_ending)
        {
            await FlushAsync();
        }
    }

    /// <summary>How long to wait for the next line: a command's time, or less when no message has come for long, or no
    /// TLS, or the session has lasted.</summary>
    private TimeSpan CommandPatience()
    {
        var left = Least(
            _limits.TimeToData - _time.GetElapsedTime(_waitingSince),
            _limits.SessionTime - _time.GetElapsedTime(_began));
        if (_options.RequireTls && !_peer.IsTls)
        {
            left = Least(left, _limits.TimeToTls - _time.GetElapsedTime(_began));
        }

        if (left <= TimeSpan.Zero)
        {
            throw new OperationCanceledException("This has gone on for too long.");
        }

        return Least(left, _limits.CommandTimeout);
    }

    private static TimeSpan Least(TimeSpan one, TimeSpan other) => one < other ? one : other;

    private async Task DoAsync(SmtpCommand command)
    {
        if (command.Verb is SmtpVerb.Ehlo or SmtpVerb.Helo or SmtpVerb.Noop or SmtpVerb.Rset or SmtpVerb.Vrfy)
        {
            _idleCommands++;
        }

        if (_tooMany)
        {
            // RFC 3207 §4.2: under TLS the client speaks first; RFC 5321 §3.8: 421 may be the answer to any command.
            Answer(new SmtpReply(421, "4.7.0", "Too many connections of this gateway, try again later"));
        }
        else if (_state == SmtpState.Greeted
            && _peer.Id is not null
            && _options.PrivateCommands.TryGetValue(command.Word, out var answer))
        {
            _idleCommands++;
            Answer(
                await AskAsync(command.Word, cancellationToken => answer(_peer, command.Argument, cancellationToken)));
        }
        else if (command.Verb == SmtpVerb.Unknown)
        {
            Answer(new SmtpReply(500, "5.5.2", "That is no command known here"));
        }
        else if (_options.RequireTls && !_peer.IsTls && SmtpStateTable.NeedsTls(command.Verb))
        {
            Answer(new SmtpReply(530, "5.7.0", "Must issue a STARTTLS command first"));
        }
        else if (!SmtpStateTable.TryNext(_state, command.Verb, out var next))
        {
            Answer(new SmtpReply(503, "5.5.1", "Not now: the order of commands is wrong"));
        }
        else if (command.HasWrongArgument)
        {
            Answer(new SmtpReply(501, "5.5.4", "The command has an argument too many or too few"));
        }
        else if (await ObeyAsync(command))
        {
            _state = next;
        }
    }

    /// <summary>Does a command that is legal now, and answers it. True when it succeeded.</summary>
    private async Task<bool> ObeyAsync(SmtpCommand command)
    {
        switch (command.Verb)
        {
            case SmtpVerb.Ehlo or SmtpVerb.Helo:
                return await GreetAsync(command);
            case SmtpVerb.StartTls:
                return await StartTlsAsync();
            case SmtpVerb.Mail:
                return await MailAsync(command.Argument);
            case SmtpVerb.Rcpt:
                return await RcptAsync(command.Argument);
            case SmtpVerb.Data:
                Answer(await DataAsync());
                _waitingSince = _time.GetTimestamp();
                ClearTransaction();
                return true; // §4.1.4: whatever was answered, the transaction is over
            case SmtpVerb.Rset:
                ClearTransaction();
                return Answer(new SmtpReply(250, "2.0.0", "Reset"));
            case SmtpVerb.Vrfy:
                // RFC 5321 §3.5.3, §7.3: whether a mailbox exists is not for strangers.
                return Answer(new SmtpReply(252, "2.1.5", "Cannot verify, but will take mail for it"));
            case SmtpVerb.Quit:
                _ending = true;
                return Answer(new SmtpReply(221, "2.0.0", "Goodbye"));
            default:
                return Answer(new SmtpReply(250, "2.0.0", "Ok"));
        }
    }

    private async Task<bool> GreetAsync(SmtpCommand command)
    {
        if (!Hello.TryParse(command.Argument, out var hello))
        {
            return Answer(new SmtpReply(501, "5.5.4", "The argument is a domain or an address literal"));
        }

        ClearTransaction();
        (_hello, _announced) = (hello.Value.Name, []);
        if (command.Verb == SmtpVerb.Helo)
        {
            return Answer(new SmtpReply(250, null, _options.HostName));
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
            _announced = await _options.ExtraEhloLines(_peer, _stop);
            lines.AddRange(_announced);
        }
        catch (Exception e) when (!_stop.IsCancellationRequested)
        {
            return Answer(DataTransfer.ReplyTo(e, _logger, _id, "EHLO"));
        }

        return Answer(new SmtpReply(250, null, lines));
    }

    private async Task<bool> StartTlsAsync()
    {
        if (_options.Certificate is null)
        {
            return Answer(new SmtpReply(502, "5.5.1", "TLS is not offered"));
        }

        if (_peer.IsTls)
        {
            return Answer(new SmtpReply(503, "5.5.1", "TLS is on already"));
        }

        var injected = (
            await LimitedAsync(_limits.TlsTimeout, cancellationToken =>
                _input.HasBuffered ? _input.PeekAsync(cancellationToken) : default)
        ).Length;
        if (injected > 0)
        {
            Log.InjectionDropped(_logger, _id, injected);
        }

        Answer(new SmtpReply(220, "2.0.0", "Ready to start TLS"));
        await FlushAsync();

        string? id = null;
        Func<System.Security.Cryptography.X509Certificates.X509Certificate2, bool>? accept = _options.AuthenticatePeer
            is { } authenticate
            ? certificate => (id = authenticate(certificate)) is not null
            : null;
        var tls = new SslStream(_stream, leaveInnerStreamOpen: false);
        _stream = tls; // from here the plain stream is closed with it, whatever happens
        try
        {
            await LimitedAsync(_limits.TlsTimeout, async cancellationToken =>
            {
                await tls.AuthenticateAsServerAsync(Tls.Server(_options.Certificate, accept), cancellationToken);
                return true;
            });
        }
        catch (Exception e) when (e is AuthenticationException or IOException or CryptographicException)
        {
            Log.TlsRefused(_logger, _id, e.GetType().Name);
            throw new AuthenticationException("TLS failed or the peer was refused.", e);
        }

        // RFC 3207 §4.2: everything learnt before TLS is forgotten, octets sent in the clear behind STARTTLS included.
        _input.Reset(tls);
        (_hello, _announced) = ("", []);
        ClearTransaction();
        if (id is not null && !_places.Peers.TryTake(id))
        {
            Log.ConnectionRefused(_logger, _peer.Remote.ToString(), "too many sessions of one peer");
            (_peer, _tooMany) = (_peer with { IsTls = true }, true);
            return true;
        }

        _peer = _peer with { IsTls = true, Id = id };
        return true;
    }

    private async Task<bool> MailAsync(string argument)
    {
        if (!MailFrom.TryParse(argument, out var mail, out var error))
        {
            return Answer(error);
        }

        if (mail.Size > _limits.MessageBytes)
        {
            return Answer(DataTransfer.TooLarge());
        }

        if (!Answer(await AskAsync("MAIL", cancellationToken => _options.OnMail(Info, mail, cancellationToken))))
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
            return Answer(error);
        }
        // RFC 5321 §4.5.3.1.10
        if (_recipients.Count >= _limits.Recipients)
        {
            return Answer(new SmtpReply(452, "4.5.3", "Too many recipients in one message"));
        }

        if (
            !Answer(
                await AskAsync("RCPT", cancellationToken =>
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
        if (!_places.Messages.TryTake(sender))
        {
            return new SmtpReply(452, "4.3.2", "Too many messages are coming in at once, try again later");
        }

        try
        {
            return await TakeAsync();
        }
        finally
        {
            _places.Messages.GiveBack(sender);
        }
    }

    private async Task<SmtpReply> TakeAsync()
    {
        SmtpReception reception;
        try
        {
            reception = await _options.OnData(new SmtpEnvelope(Info, _from!, _recipients), _stop);
        }
        catch (Exception e) when (!_stop.IsCancellationRequested)
        {
            return DataTransfer.ReplyTo(e, _logger, _id, "DATA");
        }

        await using (reception)
        {
            var transfer = new DataTransfer(reception, _limits, _time, _began, _logger, _id, _stop);
            try
            {
                Answer(new SmtpReply(354, null, "Go on, end with CRLF.CRLF"));
                await FlushAsync();
                var refusal = await transfer.RunAsync(_input, patience => LimitedAsync(patience, _input.PeekAsync));
                _ending |= transfer.HasNoEnd;
                if (refusal is not null)
                {
                    return refusal;
                }

                return await CommitAsync(reception, transfer);
            }
            finally
            {
                if (!transfer.Committed)
                {
                    await AbortAsync(reception);
                }
            }
        }
    }

    /// <summary>A failure to abort must not take the answer away: without one the sender cannot know that nothing was
    /// taken.</summary>
    private async Task AbortAsync(SmtpReception reception)
    {
        try
        {
            await reception.AbortAsync();
        }
        catch (Exception e)
        {
            Log.StepFailed(_logger, e, _id, "abort");
        }
    }

    private async Task<SmtpReply> CommitAsync(SmtpReception reception, DataTransfer transfer)
    {
        try
        {
            // The commit point: what the reception answers now is durable or it is not ours.
            var reply = await reception.CommitAsync(_stop);
            transfer.Committed = true;
            _messages++;
            _idleCommands = 0;
            return reply;
        }
        catch (Exception e) when (!_stop.IsCancellationRequested)
        {
            return DataTransfer.ReplyTo(e, _logger, _id, "commit");
        }
    }

    private async Task<SmtpReply> AskAsync(string step, Func<CancellationToken, Task<SmtpReply>> ask)
    {
        try
        {
            return await ask(_stop);
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

    /// <summary>Queues a reply. True when it is positive.</summary>
    private bool Answer(SmtpReply reply)
    {
        if (!reply.IsPositive)
        {
            _errors++;
        }

        _ending |= reply.Code == 421;
        _replies.Write(reply.ToWire());
        return reply.IsPositive;
    }

    private async Task FlushAsync()
    {
        if (_replies.Length == 0)
        {
            return;
        }

        await LimitedAsync(_limits.DataBlockTimeout, async cancellationToken =>
        {
            await _stream.WriteAsync(_replies.GetBuffer().AsMemory(0, (int)_replies.Length), cancellationToken);
            await _stream.FlushAsync(cancellationToken);
            return true;
        });
        _replies.SetLength(0);
    }

    /// <summary>A last word to a peer that may not listen.</summary>
    private async Task GoodbyeAsync(SmtpReply reply)
    {
        try
        {
            using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(2), _time);
            await _stream.WriteAsync(reply.ToWire(), limit.Token);
        }
        catch (Exception e)
            when (e
                    is IOException
                        or OperationCanceledException
                        or ObjectDisposedException
                        or NotSupportedException
                        or InvalidOperationException)
        {
            // A read that was cancelled may have spoiled the TLS stream; the session ends either way.
        }
    }

    private async Task<T> LimitedAsync<T>(TimeSpan limit, Func<CancellationToken, ValueTask<T>> wait)
    {
        using var timer = new CancellationTokenSource(limit, _time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(timer.Token, _stop);
        return await wait(either.Token);
    }
}
