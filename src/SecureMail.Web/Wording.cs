using System.Globalization;
using System.Text.Json;
using SecureMail.Exchange;
using SecureMail.Gateway.Registers;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Gateway.Words;
using SecureMail.LedgerStore;

namespace SecureMail.Web;

/// <summary>A word on a page: its look (the CSS class <c>good</c>, <c>bad</c>, <c>wait</c> or none), Vietnamese,
/// English.</summary>
public sealed record Label(string Kind, string Vi, string En);

/// <summary>A line of a finding.</summary>
public sealed record FindingLine(string Label, string Text);

/// <summary>How the pages show times, sizes and the words of <see cref="Catalogue"/>. Times are shown as
/// Vietnam's.</summary>
public static class Wording
{
    public static string Time(DateTimeOffset time) =>
        time.ToOffset(TimeSpan.FromHours(7)).ToString("dd/MM/yyyy HH:mm:ss", CultureInfo.InvariantCulture);

    public static string Time(DateTime utc) => Time(new DateTimeOffset(DateTime.SpecifyKind(utc, DateTimeKind.Utc)));

    public static string Time(DateTime? utc) => utc is { } time ? Time(time) : "";

    public static string Size(long bytes) =>
        bytes < 1024 ? $"{bytes} B"
        : bytes < 1024 * 1024 ? string.Create(CultureInfo.InvariantCulture, $"{bytes / 1024.0:0.#} KiB")
        : string.Create(CultureInfo.InvariantCulture, $"{bytes / 1048576.0:0.#} MiB");

    /// <param name="action">One of <see cref="SecureMail.Exchange.DispatchAction"/>.</param>
    public static string Action(string action) => Catalogue.Text("Action." + action, Catalogue.Vietnamese);

    /// <summary>An addressee with its code, and the unit or person whom the dispatch is for.</summary>
    public static string Addressee(SecureMail.Exchange.Party party) =>
        party.Attention is { } attention
            ? $"{party.Name} ({party.Code}; {attention})"
            : $"{party.Name} ({party.Code})";

    public static string Priority(int priority) => Catalogue.Priority(priority, Catalogue.Vietnamese);

    /// <summary>Both languages; a code without words is shown once.</summary>
    public static string Reason(string code)
    {
        var (vi, en) = InBoth(language => Catalogue.Reason(code, language));
        return vi == en ? vi : $"{vi} / {en}";
    }

    /// <summary>In both languages, for a document whose content was erased.</summary>
    public static string ContentErased =>
        $"{Catalogue.Text("Content.erased", Catalogue.Vietnamese)} / "
        + Catalogue.Text("Content.erased", Catalogue.English);

    /// <summary>A few codes, and how many more.</summary>
    public static string Codes(IReadOnlyList<string> codes) =>
        string.Join(", ", codes.Take(5))
        + (
            codes.Count > 5
                ? " "
                    + string.Format(
                        CultureInfo.InvariantCulture, Catalogue.Text("Codes.more", Catalogue.Vietnamese),
                        codes.Count - 5)
                : "");

    public static string Event(string kind) => Catalogue.Entry(kind, Catalogue.Vietnamese);

    /// <summary>What the addressee's last receipt says.</summary>
    public static string Receipt(OutgoingRecipient recipient) =>
        recipient.Answer is { } answer ? Catalogue.Answer(answer, recipient.ArrivalNumber, Catalogue.Vietnamese)
        : recipient.ReceiptEvent is { } name ? Catalogue.Receipt(name, Catalogue.Vietnamese)
        : "";

    public static Label Outgoing(string state) =>
        Of(
            state switch
            {
                OutgoingState.Accepted or OutgoingState.AwaitingSignature => "wait",
                OutgoingState.Queued => "good",
                _ => "bad",
            },
            language => Catalogue.Outgoing(state, language));

    public static Label Transmission(OutgoingRecipient recipient) => Transmission(recipient.State, recipient.OverdueAt);

    public static Label Transmission(string state, DateTime? overdueAt)
    {
        var isClosed = state is TransmissionState.Acknowledged or TransmissionState.Refused or TransmissionState.Failed;
        var isOverdue = overdueAt is not null && !isClosed;
        return Of(
            state switch
            {
                TransmissionState.Acknowledged => "good",
                TransmissionState.Refused or TransmissionState.Failed => "bad",
                _ when isOverdue => "bad",
                TransmissionState.Sent or TransmissionState.Unknown or TransmissionState.Queued
                    or TransmissionState.Held => "wait",
                _ => "",
            },
            language => Catalogue.Transmission(state, isOverdue, language));
    }

    /// <summary>What a clerk is told about an outgoing dispatch or receipt, as RFC 3464 §2 has it: what became of it,
    /// where, why, and what happens next.</summary>
    public static (string Vi, string En) Notice(SenderNotice notice)
    {
        var action = notice is { Action: NoticeAction.Failed, MayHaveArrived: true } ? "failed-unknown" : notice.Action;
        return InBoth(language =>
            string.Format(
                CultureInfo.InvariantCulture, Catalogue.Text("Notice." + action, language),
                Catalogue.Text("Transmitted." + notice.Kind, language),
                notice.Remote is null ? notice.RecipientCode : $"{notice.RecipientCode} ({notice.Remote})",
                notice.Diagnostic is null ? "" : $" [{notice.Diagnostic}]",
                notice.Reason is null ? "" : Catalogue.Reason(notice.Reason, language), Time(notice.RetryUntil)));
    }

    public static Label Verdict(string? verdict) =>
        Of(
            verdict is null || verdict == FindingJson.Name(Trust.Verdict.Indeterminate) ? "wait"
                : verdict == FindingJson.Name(Trust.Verdict.Valid) ? "good"
                : "bad",
            language => Catalogue.Verdict(verdict, language));

    /// <summary>Where a message lies, and whether văn thư has taken it in.</summary>
    public static Label DispositionOf(IncomingMessage message) =>
        Of(
            message.Disposition switch
            {
                null => "wait",
                Disposition.Inbox => message.ArrivalNumber is null ? "wait" : "good",
                Disposition.Quarantine or Disposition.Returned => "bad",
                _ => "",
            },
            language =>
                message.ArrivalNumber is null
                    ? Catalogue.Disposition(message.Disposition, language)
                    : Catalogue.Text("Disposition.registered", language));

    public static Label Peer(string state) =>
        Of(state == PeerCheckpointState.Verified ? "good" : "wait", language =>
            Catalogue.PeerCheckpoint(state, language));

    public static string Alarm(string kind) => Catalogue.Alarm(kind, Catalogue.Vietnamese);

    /// <summary>What a person does about an alarm.</summary>
    public static string AlarmAdvice(string kind) => Catalogue.Advice(kind, Catalogue.Vietnamese);

    /// <summary>The findings of one validation, as lines to read.</summary>
    public static IEnumerable<FindingLine> Findings(string json)
    {
        using var document = JsonDocument.Parse(json);
        foreach (var finding in document.RootElement.EnumerateArray().Select(e => e.Clone()))
        {
            var reason = finding.GetProperty("reason");
            yield return new(
                Finding("reason"), $"{reason.GetProperty("vi").GetString()} / {reason.GetProperty("en").GetString()}");
            if (finding.TryGetProperty("signer", out var signer) && signer.ValueKind == JsonValueKind.Object)
            {
                yield return new(Finding("signer"), signer.GetProperty("subject").GetString() ?? "");
                yield return new(Finding("issuer"), signer.GetProperty("issuer").GetString() ?? "");
            }

            // A finding about the outer header has its reason alone.
            if (finding.TryGetProperty("indication", out var indication))
            {
                var subIndication = finding.GetProperty("subIndication").GetString();
                yield return new(Finding("etsi"), $"{indication.GetString()} {subIndication}".Trim());
            }
        }
    }

    private static string Finding(string part) => Catalogue.Text("Finding." + part, Catalogue.Vietnamese);

    private static Label Of(string kind, Func<CultureInfo, string> words)
    {
        var (vi, en) = InBoth(words);
        return new(kind, vi, en);
    }

    private static (string Vi, string En) InBoth(Func<CultureInfo, string> words) =>
        (words(Catalogue.Vietnamese), words(Catalogue.English));
}
