using System.Globalization;
using System.Resources;
using SecureMail.Exchange;
using SecureMail.Gateway.Vocabulary;

namespace SecureMail.Gateway.Words;

/// <summary>
/// The words that people read for the values of the vocabulary: Words.resx (Vietnamese) and Words.en.resx (English). A
/// key is the name of the value's type and the value, for example <c>Reason.PIN_LOCKED</c> and
/// <c>Entry.dispatch.accepted</c>.
/// </summary>
/// <remarks>
/// Every question names its language, because the culture of the process stays invariant. A key that is missing fails a
/// test; at run time its value is shown.
/// </remarks>
public static class Catalogue
{
    private static readonly ResourceManager Resources = new(
        "SecureMail.Gateway.Words.Words", typeof(Catalogue).Assembly);

    public static CultureInfo Vietnamese { get; } = CultureInfo.GetCultureInfo("vi");

    public static CultureInfo English { get; } = CultureInfo.GetCultureInfo("en");

    /// <summary>Vietnamese first, then English, in one line.</summary>
    public static string InBoth(Func<CultureInfo, string> words) => $"{words(Vietnamese)} / {words(English)}";

    /// <summary>The words of a key, or null.</summary>
    public static string? Find(string key, CultureInfo language) => Resources.GetString(key, language);

    /// <summary>The words of a key, or what follows its first dot.</summary>
    public static string Text(string key, CultureInfo language) =>
        Find(key, language) ?? key[(key.IndexOf('.', StringComparison.Ordinal) + 1)..];

    /// <summary>What a <see cref="ReasonCode"/> means and what to do. Takes every reason of a dispatch, a transmission
    /// or a message: also the event of a receipt, and what a gateway answered (<c>Refused 550 5.7.1</c>).</summary>
    public static string Reason(string code, CultureInfo language) =>
        code.StartsWith("Refused 5", StringComparison.Ordinal)
            ? string.Format(CultureInfo.InvariantCulture, Text("Reason.Refused", language), code)
        : ReceiptEvent.All.Contains(code) ? Receipt(code, language)
        : Find("Reason." + ReasonCode.Generic(code), language) ?? code;

    /// <summary>A reason with what it is about: <c>Refusal.CODE</c>, whose words name the arguments; else the words of
    /// the reason alone.</summary>
    public static string Refusal(string code, CultureInfo language, params object[] arguments) =>
        Find("Refusal." + code, language) is { } words
            ? string.Format(CultureInfo.InvariantCulture, words, arguments)
            : Reason(code, language);

    /// <summary>A <see cref="Ledger.EntryKind"/>.</summary>
    public static string Entry(string kind, CultureInfo language) => Text("Entry." + kind, language);

    /// <summary>An <see cref="OutgoingState"/>.</summary>
    public static string Outgoing(string state, CultureInfo language) => Text("Outgoing." + state, language);

    /// <summary>A <see cref="TransmissionState"/>.</summary>
    /// <param name="isOverdue">Its receipt did not come in time.</param>
    public static string Transmission(string state, bool isOverdue, CultureInfo language) =>
        Text("Transmission." + (isOverdue ? NoticeAction.Overdue : state), language);

    /// <summary>A <see cref="Vocabulary.Disposition"/>; null: the message is not recorded yet.</summary>
    public static string Disposition(string? disposition, CultureInfo language) =>
        Text("Disposition." + (disposition ?? "none"), language);

    /// <summary>A verdict by its wire name; null: the message is not validated yet.</summary>
    public static string Verdict(string? verdict, CultureInfo language) =>
        Text("Verdict." + (verdict ?? "none"), language);

    /// <summary>A <see cref="Vocabulary.NumberState"/>.</summary>
    public static string NumberState(string state, CultureInfo language) => Text("NumberState." + state, language);

    /// <summary>A <see cref="JobKind"/>.</summary>
    public static string Job(string kind, CultureInfo language) => Text("Job." + kind, language);

    /// <summary>A <see cref="Vocabulary.JobState"/>.</summary>
    public static string JobState(string state, CultureInfo language) => Text("JobState." + state, language);

    /// <summary>A <see cref="Vocabulary.JobReason"/>, or the name of an exception's type as it is.</summary>
    public static string JobReason(string reason, CultureInfo language) => Text("JobReason." + reason, language);

    /// <summary>A <see cref="RestorationPeerState"/>.</summary>
    public static string RestorationPeer(string state, CultureInfo language) =>
        Text("RestorationPeer." + state, language);

    /// <summary>A <see cref="LedgerStore.PeerCheckpointState"/>.</summary>
    public static string PeerCheckpoint(string state, CultureInfo language) =>
        Text("PeerCheckpoint." + state, language);

    /// <summary>An <see cref="AlarmKind"/>.</summary>
    public static string Alarm(string kind, CultureInfo language) => Text("Alarm." + kind, language);

    /// <summary>What a person does about an <see cref="AlarmKind"/>.</summary>
    public static string Advice(string kind, CultureInfo language) => Find("Advice." + kind, language) ?? "";

    /// <summary>A <see cref="ReceiptState"/>.</summary>
    public static string Answer(string state, int? arrivalNumber, CultureInfo language) =>
        string.Format(CultureInfo.InvariantCulture, Text("Answer." + state, language), arrivalNumber);

    /// <summary>A <see cref="ReceiptEvent"/>.</summary>
    public static string Receipt(string name, CultureInfo language) => Text("Receipt." + name, language);

    /// <summary>A degree of urgency, 0 to 4 (DOMAIN.md, Annex VI).</summary>
    public static string Priority(int priority, CultureInfo language) =>
        Text(string.Create(CultureInfo.InvariantCulture, $"Priority.{Math.Clamp(priority, 0, 4)}"), language);
}
