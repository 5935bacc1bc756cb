using Npgsql;
using SecureMail.Exchange;
using SecureMail.Gateway.Directories;
using SecureMail.Gateway.Words;

namespace SecureMail.Gateway.Policy;

/// <summary>Why a dispatch or one of its addressees is refused; both sentences are safe to show and say what to
/// do.</summary>
public sealed record Refusal(string Code, string Vi, string En)
{
    /// <param name="arguments">What the words of the code name.</param>
    public static Refusal Of(string code, params object[] arguments) =>
        new(
            code, Catalogue.Refusal(code, Catalogue.Vietnamese, arguments),
            Catalogue.Refusal(code, Catalogue.English, arguments));

    /// <summary>The same where what it was about is not known any more.</summary>
    public static Refusal OfReason(string code) =>
        new(code, Catalogue.Reason(code, Catalogue.Vietnamese), Catalogue.Reason(code, Catalogue.English));
}

/// <summary>
/// Who may send what to whom. The policy is asked when a dispatch is submitted, so that the clerk hears at once, and
/// again before it is signed, because rules and the directory may have changed meanwhile.
/// </summary>
internal sealed class SendingPolicy(DirectoryOptions options, TimeProvider time)
{
    /// <summary>Whether this agency may send a document with these fields at all.</summary>
    public async Task<Refusal?> MaySendAsync(
        NpgsqlConnection connection, Agency sender, string? secrecy, CancellationToken cancellationToken)
    {
        var now = time.GetUtcNow();
        if (sender.NameAt(now) is null)
        {
            return Refusal.Of(ReasonCode.SenderNotInForce);
        }

        if (sender.GatewayAt(now) is var gateway && gateway != options.Name)
        {
            return Refusal.Of(ReasonCode.SenderNotHere, gateway);
        }

        var rank = SecrecyMark.RankOrHighest(secrecy);
        if (rank == 0)
        {
            return null;
        }

        var permitted = await PolicyBook.HighestSecrecyAsync(connection, sender.Id, cancellationToken);
        return permitted is not null && rank <= SecrecyMark.Rank(permitted)
            ? null
            : Refusal.Of(ReasonCode.SecrecyRefused);
    }

    /// <summary>The rules for this sender now, read once for all addressees of a dispatch.</summary>
    public async Task<SendingRoutes> RoutesAsync(
        NpgsqlConnection connection, DirectorySnapshot directory, Agency sender, CancellationToken cancellationToken)
    {
        var rules = await PolicyBook.RoutesOfAsync(connection, sender.Id, cancellationToken);
        return new SendingRoutes(directory, rules.ToLookup(r => r.Recipient, r => r.Reason), time);
    }
}

/// <summary>Whom one sender may reach.</summary>
/// <param name="rules">Why not, by recipient; null: any.</param>
internal sealed class SendingRoutes(DirectorySnapshot directory, ILookup<Guid?, string> rules, TimeProvider time)
{
    /// <summary>Why this addressee may not be reached; null where it may. One refusal does not stop the other
    /// addressees.</summary>
    public Refusal? MayReach(Agency recipient)
    {
        if (!recipient.IsInForce(time.GetUtcNow()))
        {
            var successor = recipient.Record.Successor is { } id ? directory.Find(id)?.NameAt(time.GetUtcNow()) : null;
            return successor is null
                ? Refusal.Of(ReasonCode.RecipientNotInForce)
                : Refusal.Of(ReasonCode.RecipientSucceeded, successor.Name, successor.Code);
        }

        var rule = rules[recipient.Id].Concat(rules[null]).FirstOrDefault();
        return rule is null ? null : Refusal.Of(ReasonCode.RouteRefused, rule);
    }
}
