using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using SecureMail.Exchange;
using SecureMail.Gateway.Directories;
using SecureMail.Gateway.Keys;
using SecureMail.Gateway.Registers;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Storage;
using SecureMail.Storage.Queue;

namespace SecureMail.Gateway.Inbound;

/// <summary>
/// Quarantined → to be validated again: looks what came that messages wait for (a directory, a CRL, a proof of a peer's
/// ledger, a key) and asks for their validation. A message is asked for once for each arrival, and of one peer only a
/// batch at once, so that ten thousand messages and one CRL are neither one great transaction nor a wall before new
/// mail.
/// </summary>
/// <remarks>A CRL counts as come when it is not older than what came before of its scope. Nodes of one gateway are
/// configured with the same CRLs and tokens.</remarks>
internal sealed class Arrivals(
    GatewayDatabase database, DirectoryStore directories, AgencyKeys keys, GatewayTrust trust)
{
    /// <summary>Of one peer, the most messages that are validated again at once.</summary>
    public const int MostOfPeer = 50;

    /// <summary>In one transaction, the most signers that are looked up in the CRLs.</summary>
    private const int MostSigners = 500;

    private static readonly TimeSpan WhileMoreIsDue = TimeSpan.FromSeconds(1);

    /// <summary>How often the timer falls due. The import of a directory makes it due at once.</summary>
    public static TimeSpan Every { get; } = TimeSpan.FromSeconds(10);

    /// <summary>The timer <see cref="WorkKind.Arrivals"/>.</summary>
    public async Task<WorkOutcome> LookAsync(WorkItem item, CancellationToken cancellationToken)
    {
        DirectorySnapshot directory;
        try
        {
            directory = await directories.CurrentAsync(cancellationToken);
        }
        catch (DirectoryException)
        {
            return new WorkOutcome.Recur(); // no directory, no mail
        }

        var material = trust.Material;
        var atHand = await KeysAtHandAsync(directory, cancellationToken);

        // A crash before this commit finds the same arrivals at the next run; after it the work is asked for.
        var taken = await database.Source.InTransactionAsync(
            "inbound.arrivals",
            async transaction =>
            {
                var newest = await IncomingTable.NoteCrlsAsync(transaction, material.Crls, cancellationToken);
                var signers = await IncomingTable.TakeSignersAsync(
                    transaction, newest, MostSigners, cancellationToken);
                foreach (var der in signers)
                {
                    using var certificate = X509CertificateLoader.LoadCertificate(der);
                    if (material.RevokedSince(certificate) is { } since)
                    {
                        await IncomingTable.NoteRevokedSignerAsync(
                            transaction, SHA256.HashData(der), since, cancellationToken);
                    }
                }

                List<(string? Arrival, long Mark, Guid? Agency)> arrived =
                [
                    (AwaitedArrival.Directory, directory.Version, null),
                    (AwaitedArrival.Revocation, newest, null),
                    (AwaitedArrival.Evidence, 0, null),
                    .. atHand.Select(k => ((string?)AwaitedArrival.Key, (long)k.Keys, (Guid?)k.Agency)),
                    (null, newest, null),
                ];
                var count = signers.Count == MostSigners ? 1 : 0;
                foreach (var (arrival, mark, agency) in arrived)
                {
                    var due = await IncomingTable.TakeArrivedAsync(
                        transaction, arrival, mark, agency, MostOfPeer, cancellationToken);
                    if (due.Count > 0)
                    {
                        await WorkQueue.EnqueueAsync(
                            transaction, WorkKind.ValidateAgain, [.. due.Select(d => new NewWork(d.Id, d.Peer, null))],
                            awaitsEntry: null, cancellationToken);
                        count += due.Count;
                    }
                }

                return count;
            },
            cancellationToken);
        return taken == 0
            ? new WorkOutcome.Recur()
            : new WorkOutcome.Snooze(WhileMoreIsDue, "more may have come");
    }

    /// <summary>How many keys are at hand for each agency that has messages which no key opened.</summary>
    private async Task<List<(Guid Agency, int Keys)>> KeysAtHandAsync(
        DirectorySnapshot directory, CancellationToken cancellationToken)
    {
        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        List<(Guid Agency, int Keys)> atHand = [];
        foreach (var id in await IncomingTable.AgenciesWithoutKeyAsync(connection, cancellationToken))
        {
            try
            {
                if (directory.Find(id) is { } agency)
                {
                    atHand.Add((id, keys.DecryptersOf(agency).Count));
                }
            }
            catch (KeyUnavailableException)
            {
                // The token is away, so no key came.
            }
        }

        return atHand;
    }
}
