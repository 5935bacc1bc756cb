using Npgsql;
using SecureMail.Exchange;
using SecureMail.Gateway.Directories;
using SecureMail.Storage;

namespace SecureMail.Gateway.Policy;

/// <summary>Why a dispatch or one of its addressees is refused; both sentences are safe to show and say what to
/// do.</summary>
public sealed record Refusal(string Code, string Vi, string En);

/// <summary>
/// Who may send what to whom. Asked when a dispatch is submitted, so that its author hears at once, and again before it
/// is signed: between the two may lie days, and a rule or a directory that changed counts.
/// </summary>
internal sealed class SendingPolicy(DirectoryOptions options, TimeProvider time)
{
    /// <summary>Whether this agency may send a document with these fields at all.</summary>
    public async Task<Refusal?> MaySendAsync(
        NpgsqlConnection connection, Agency sender, string? secrecy, CancellationToken cancellationToken)
    {
        if (sender.NameAt(time.GetUtcNow()) is null)
        {
            return new(
                ReasonCode.SenderNotInForce, "Cơ quan gửi không còn hiệu lực trong danh bạ.",
                "The sending agency is not in force in the directory.");
        }

        if (sender.Record.Gateway != options.Name)
        {
            return new(
                ReasonCode.SenderNotHere, $"Cơ quan gửi do cổng {sender.Record.Gateway} phục vụ, không phải cổng này.",
                $"The sending agency is served by the gateway {sender.Record.Gateway}, not by this one.");
        }

        var rank = SecrecyMark.RankOrHighest(secrecy);
        if (rank == 0)
        {
            return null;
        }

        var permitted = await connection.ScalarAsync<string?>(
            "SELECT highest FROM gateway.secrecy_permission WHERE agency_id = @Id",
            new { sender.Id }, cancellationToken);
        return permitted is not null && rank <= SecrecyMark.Rank(permitted)
            ? null
            : new(
                ReasonCode.SecrecyRefused,
                "Văn bản có dấu chỉ mức độ mật không được gửi qua mạng này; hãy gửi theo đường công văn mật.",
                "A document with a mark of secrecy is not sent over this network: use the channel for classified "
                    + "documents.");
    }

    /// <summary>What is ruled for this sender, as it stands now: asked once for all the addressees of a
    /// dispatch.</summary>
    public async Task<SendingRoutes> RoutesAsync(
        NpgsqlConnection connection, DirectorySnapshot directory, Agency sender, CancellationToken cancellationToken)
    {
        var rules = await connection.ListAsync<(Guid? Recipient, string Reason)>(
            """
            SELECT recipient_id, reason FROM gateway.route_rule WHERE sender_id IS NULL OR sender_id = @Id
            ORDER BY rule_id
            """,
            new { sender.Id }, cancellationToken);
        return new SendingRoutes(directory, rules.ToLookup(r => r.Recipient, r => r.Reason), time);
    }
}

/// <summary>Whom one sender may reach.</summary>
/// <param name="rules">Why not, by recipient; null: any.</param>
internal sealed class SendingRoutes(DirectorySnapshot directory, ILookup<Guid?, string> rules, TimeProvider time)
{
    /// <summary>Whether this addressee may be reached; each is asked by itself, one refusal does not stop the
    /// others.</summary>
    public Refusal? MayReach(Agency recipient)
    {
        if (!recipient.IsInForce(time.GetUtcNow()))
        {
            var successor = recipient.Record.Successor is { } id ? directory.Find(id)?.NameAt(time.GetUtcNow()) : null;
            return successor is null
                ? new(
                    ReasonCode.RecipientNotInForce, "Cơ quan nhận không còn hiệu lực.",
                    "The addressee is not in force.")
                : new(
                    ReasonCode.RecipientSucceeded,
                    $"Cơ quan nhận đã được thay bằng {successor.Name} ({successor.Code}): hãy gửi tới đó.",
                    $"The addressee was succeeded by {successor.Name} ({successor.Code}): send there.");
        }

        var rule = rules[recipient.Id].Concat(rules[null]).FirstOrDefault();
        return rule is null
            ? null
            : new(
                ReasonCode.RouteRefused, $"Quy định không cho gửi tới cơ quan này: {rule}",
                $"A rule forbids sending to this addressee: {rule}");
    }
}
