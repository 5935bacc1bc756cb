using System.ComponentModel;
using System.Globalization;
using System.Net;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Npgsql;
using SecureMail.Exchange;
using SecureMail.Gateway.Directories;
using SecureMail.Gateway.Health;
using SecureMail.Gateway.Inbound;
using SecureMail.Gateway.Keys;
using SecureMail.Gateway.Outbound;
using SecureMail.Gateway.Recovery;
using SecureMail.LedgerStore;
using SecureMail.Mail.Smtp;
using SecureMail.Mail.Smtp.Server;
using SecureMail.Storage;

namespace SecureMail.Host.Services;

/// <summary>Where mail from other gateways is taken, and what one connection may cost.</summary>
internal sealed record SmtpListenerOptions
{
    /// <summary>Null: this node takes no mail.</summary>
    [ConfigurationKeyName("Smtp")]
    public IPEndPoint? Listen { get; init; }

    /// <summary>What the listener bears. The size of a message is
    /// <see cref="DeliveryOptions.LargestMessage"/>.</summary>
    [Browsable(false)]
    public SmtpServerLimits Limits { get; init; } = new();
}

/// <summary>
/// Takes mail from the gateways of the directory, over mutual TLS. It asks Health whether mail is taken at all and
/// Inbound to take it; the SMTP replies are made here.
/// </summary>
internal sealed class SmtpListener(
    SmtpListenerOptions options, DeliveryOptions delivery, DirectoryOptions self, GatewayIdentity identity,
    DirectoryStore directories, GatewayDatabase database, Receive receive, Admission admission, PeerRequests requests,
    TimeProvider time, ILogger<SmtpListener> logger) : IHostedService, IAsyncDisposable
{
    private SmtpServer? _server;

    /// <summary>Where it listens; null before it does, and on a node that takes no mail.</summary>
    public IPEndPoint? Endpoint { get; private set; }

    public async Task StartAsync(CancellationToken cancellationToken)
    {
        if (options.Listen is { } listen)
        {
            _server = new SmtpServer(Protocol(listen), time, logger);
            await _server.StartAsync();
            Endpoint = _server.Endpoint;
        }
    }

    public async Task StopAsync(CancellationToken cancellationToken) => await DisposeAsync();

    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _server, null) is { } server)
        {
            await server.DisposeAsync();
        }
    }

    private SmtpServerOptions Protocol(IPEndPoint listen)
    {
        var own = GatewayIdentity.Pin(identity.Tls);
        return new()
        {
            Listen = listen,
            HostName = self.Name,
            Certificate = identity.Tls,
            RequireTls = true,
            // Nobody else has our own key, so a connection with it is not a peer's, whatever the directory says.
            AuthenticatePeer = certificate =>
                GatewayIdentity.Pin(certificate) is var pin && pin.AsSpan().SequenceEqual(own)
                    ? null
                    : directories.Known?.FindGatewayByTlsKey(pin, time.GetUtcNow())?.Name,
            Limits = options.Limits with { MessageBytes = delivery.LargestMessage },
            ExtraEhloLines = SeenSizesAsync,
            PrivateCommands = PrivateCommands(),
            OnMail = (_, _, _) =>
                Task.FromResult(
                    admission.RefusingMail is { } issue
                        ? SmtpReplies.Refusing(issue)
                        : new SmtpReply(250, "2.1.0", "Sender ok")),
            OnRecipient = async (_, _, recipient, stop) =>
                SmtpReplies.Recipient(await receive.DecideRecipientAsync(recipient.Address, stop)),
            OnData = async (envelope, stop) => new Reception(await receive.OpenAsync(envelope, stop), admission),
        };
    }

    /// <summary>What a restored peer asks.</summary>
    private Dictionary<string, Func<SmtpPeer, string, CancellationToken, Task<SmtpReply>>> PrivateCommands() =>
        new()
        {
            [PeerRequests.Held] = async (peer, argument, stop) =>
                PeerRequests.TryReadSize(argument, out var has)
                    ? SmtpReplies.Held(await requests.FindHeldAsync(peer.Id!, has, stop))
                    : SmtpReplies.HeldTakesSize,
            [PeerRequests.Resend] = async (peer, argument, stop) =>
            {
                try
                {
                    return PeerRequests.TryReadTime(argument, out var since)
                        ? SmtpReplies.Resent(await requests.ResendAsync(peer.Id!, since, stop))
                        : SmtpReplies.ResendTakesTime;
                }
                catch (ResendRefusedException e)
                {
                    return e.IsTooOften ? SmtpReplies.AskedTooOften : SmtpReplies.ResendTakesTime;
                }
            },
        };

    /// <summary>Which sizes of the peer's ledger we have seen: it brings proofs from each of them.</summary>
    private async Task<IReadOnlyList<string>> SeenSizesAsync(SmtpPeer peer, CancellationToken cancellationToken)
    {
        if (peer.Id is null)
        {
            return [];
        }

        if (admission.DatabaseAway is { } away)
        {
            throw new SmtpRefusalException(SmtpReplies.Refusing(away));
        }

        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        var sizes = await PeerLedger.SeenSizesAsync(connection, peer.Id, cancellationToken);
        return
        [
            $"{EvidenceField.Capability} {string.Join(' ', sizes)}".TrimEnd(),
            .. directories.Known is { } known
                ? new[]
                {
                    string.Create(
                        CultureInfo.InvariantCulture,
                        $"{DirectoryStore.Capability} {known.Version} {Convert.ToHexStringLower(known.Sha256)}"),
                }
                : [],
        ];
    }

    /// <summary>A message that is being taken, with the replies to its end.</summary>
    private sealed class Reception(Receive.Reception message, Admission admission) : SmtpReception
    {
        public override async Task WriteAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken)
        {
            try
            {
                await message.WriteAsync(bytes, cancellationToken);
            }
            catch (PostgresException e) when (e.SqlState == PostgresErrorCodes.DiskFull)
            {
                throw Full(e);
            }
        }

        public override async Task<SmtpReply> CommitAsync(CancellationToken cancellationToken)
        {
            try
            {
                await message.CommitAsync(cancellationToken);
                return new SmtpReply(250, "2.6.0", "Taken and kept");
            }
            catch (PostgresException e) when (e.SqlState == PostgresErrorCodes.DiskFull)
            {
                throw Full(e);
            }
        }

        public override Task AbortAsync() => message.AbortAsync();

        public override async ValueTask DisposeAsync()
        {
            await message.DisposeAsync();
            await base.DisposeAsync();
        }

        private SmtpRefusalException Full(PostgresException e)
        {
            admission.SawDiskFull();
            return new SmtpRefusalException(SmtpReplies.DiskFull, e);
        }
    }
}
