using System.Security.Cryptography;
using System.Text;
using Npgsql;
using SecureMail.Exchange;
using SecureMail.Gateway.Directories;
using SecureMail.Gateway.Words;
using SecureMail.Ledger;
using SecureMail.LedgerStore;
using SecureMail.Storage;

namespace SecureMail.Gateway.Policy;

/// <summary>
/// The decisions that policy rests on: rules about who may not send to whom, and an agency's permission for documents
/// with a mark of secrecy. Each is written with its entry in the ledger, so that nobody can deny a decision later.
/// </summary>
public sealed class PolicyBook(GatewayDatabase database, DirectoryStore directories, TimeProvider time)
{
    /// <summary>Forbids sending. Null stands for any agency.</summary>
    /// <param name="reason">A sentence that the refused clerk reads.</param>
    /// <param name="by">Who decides.</param>
    /// <exception cref="DirectoryException">A code names no agency.</exception>
    public async Task<long> ForbidAsync(
        string? senderCode, string? recipientCode, string reason, Authority by, CancellationToken cancellationToken)
    {
        var directory = await directories.CurrentAsync(cancellationToken);
        var (sender, recipient) = (IdOf(directory, senderCode), IdOf(directory, recipientCode));
        return await database.Source.InTransactionAsync(
            "policy.forbid",
            async transaction =>
            {
                var rule = await transaction.ScalarAsync<long>(
                    """
                    INSERT INTO gateway.route_rule (sender_id, recipient_id, reason)
                    VALUES (@sender, @recipient, @reason) RETURNING rule_id
                    """,
                    new { sender, recipient, reason }, cancellationToken);
                await EntryAsync(
                    transaction, sender ?? DirectoryStore.GatewayItself, EntryKind.PolicyRouteForbidden, $"rule-{rule}",
                    $"{sender}|{recipient}|{reason}", by, cancellationToken);
                return rule;
            },
            cancellationToken);
    }

    /// <summary>Takes a rule back; false when there is none of that number.</summary>
    public Task<bool> PermitAsync(long rule, Authority by, CancellationToken cancellationToken) =>
        database.Source.InTransactionAsync(
            "policy.permit",
            async transaction =>
            {
                var deleted = await transaction.ExecuteAsync(
                    "DELETE FROM gateway.route_rule WHERE rule_id = @rule", new { rule }, cancellationToken);
                if (deleted == 0)
                {
                    return false;
                }

                await EntryAsync(
                    transaction, DirectoryStore.GatewayItself, EntryKind.PolicyRoutePermitted, $"rule-{rule}", "", by,
                    cancellationToken);
                return true;
            },
            cancellationToken);

    /// <summary>An agency's explicit decision to send and take documents up to a mark of secrecy; null takes the
    /// permission back.</summary>
    /// <exception cref="DirectoryException">The code names no agency.</exception>
    /// <exception cref="UnknownSecrecyException">Not a mark of secrecy.</exception>
    public async Task SetSecrecyAsync(
        string agencyCode, string? highest, Authority by, CancellationToken cancellationToken)
    {
        if (highest is not null && SecrecyMark.Rank(highest) == 0)
        {
            throw new UnknownSecrecyException();
        }

        var mark = highest?.Trim().Normalize(NormalizationForm.FormC).ToUpperInvariant();
        var agency = IdOf(await directories.CurrentAsync(cancellationToken), agencyCode)!.Value;
        await database.Source.InTransactionAsync(
            "policy.secrecy",
            async transaction =>
            {
                var entry = await EntryAsync(
                    transaction, agency,
                    mark is null ? EntryKind.PolicySecrecyRefused : EntryKind.PolicySecrecyPermitted,
                    $"secrecy-{agency}", mark ?? "", by, cancellationToken);
                await transaction.ExecuteAsync(
                    "DELETE FROM gateway.secrecy_permission WHERE agency_id = @agency", new { agency },
                    cancellationToken);
                if (mark is not null)
                {
                    await transaction.ExecuteAsync(
                        """
                        INSERT INTO gateway.secrecy_permission (agency_id, highest, entry_id)
                        VALUES (@agency, @mark, @entry)
                        """,
                        new { agency, mark, entry }, cancellationToken);
                }
            },
            cancellationToken);
    }

    /// <summary>Every rule and permission, as lines to read.</summary>
    public async Task<IReadOnlyList<PolicyLine>> ListAsync(CancellationToken cancellationToken)
    {
        var directory = await directories.CurrentAsync(cancellationToken);
        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        var rules = await connection.ListAsync<(long Id, Guid? Sender, Guid? Recipient, string Reason)>(
            "SELECT rule_id, sender_id, recipient_id, reason FROM gateway.route_rule ORDER BY rule_id",
            null, cancellationToken);
        var permissions = await connection.ListAsync<(Guid Agency, string Highest)>(
            "SELECT agency_id, highest FROM gateway.secrecy_permission", null, cancellationToken);
        string? CodeOf(Guid? id) =>
            id is { } agency ? directory.Find(agency)?.LastName.Code ?? agency.ToString() : null;
        return
        [
            .. rules.Select(r => new PolicyLine("route", r.Id, CodeOf(r.Sender), CodeOf(r.Recipient), r.Reason)),
            .. permissions.Select(p => new PolicyLine("secrecy", null, CodeOf(p.Agency), null, p.Highest)),
        ];
    }

    /// <summary>Up to which mark of secrecy an agency sends and takes documents; null: it takes none.</summary>
    internal static Task<string?> HighestSecrecyAsync(
        NpgsqlConnection connection, Guid agency, CancellationToken cancellationToken) =>
        connection.ScalarAsync<string>(
            "SELECT highest FROM gateway.secrecy_permission WHERE agency_id = @agency", new { agency },
            cancellationToken);

    /// <summary>What forbids an agency to send, in the order in which it was ruled. A recipient of null: any.</summary>
    internal static Task<IReadOnlyList<(Guid? Recipient, string Reason)>> RoutesOfAsync(
        NpgsqlConnection connection, Guid sender, CancellationToken cancellationToken) =>
        connection.ListAsync<(Guid? Recipient, string Reason)>(
            """
            SELECT recipient_id, reason FROM gateway.route_rule
            WHERE sender_id IS NULL OR sender_id = @sender ORDER BY rule_id
            """,
            new { sender }, cancellationToken);

    private static Guid? IdOf(DirectorySnapshot directory, string? code) =>
        code is null
            ? null
            : directory.FindEverByCode(code)?.Id
                ?? throw new DirectoryException(ReasonCode.AgencyUnknown, code);

    private async Task<long> EntryAsync(
        NpgsqlTransaction transaction, Guid agency, string kind, string subject, string content, Authority by,
        CancellationToken cancellationToken) =>
        (
            await StoredLedger.AppendAsync(
                transaction,
                new LedgerEntry
                {
                    Time = time.GetUtcNow(),
                    Agency = agency,
                    Kind = kind,
                    Object = subject,
                    Actor = by.Actor,
                    Grant = by.Grant,
                    Commitments = new Dictionary<string, string>
                    {
                        ["decision"] =
                            "sha256:" + Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(content))),
                    },
                },
                cancellationToken)
        ).EntryId;
}

/// <summary>A decision in force: a route that is forbidden (<paramref name="Detail"/> the reason), or a permission (the
/// highest mark).</summary>
public sealed record PolicyLine(string Kind, long? Rule, string? Sender, string? Recipient, string Detail);

/// <summary>A word that is no mark of secrecy.</summary>
public sealed class UnknownSecrecyException() : ReasonedException("SECRECY_UNKNOWN", []);
