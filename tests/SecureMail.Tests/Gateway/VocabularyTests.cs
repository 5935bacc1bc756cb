using System.Collections;
using System.Globalization;
using System.Resources;
using System.Text.RegularExpressions;
using SecureMail.Exchange;
using SecureMail.Gateway.Registers;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Gateway.Words;
using SecureMail.Ledger;
using SecureMail.LedgerStore;
using SecureMail.Storage.Queue;
using SecureMail.Trust;
using SecureMail.Web;

namespace SecureMail.Tests.Gateway;

/// <summary>Holds the vocabulary together: the constants, the CHECKs of the schema and the code that uses
/// them.</summary>
public sealed partial class VocabularyTests
{
    private static readonly string Source = Path.Combine(
        Path.GetDirectoryName(Path.GetDirectoryName(Vectors.Folder("cms")))!, "..", "src");

    private static readonly Dictionary<Type, IReadOnlyList<string>> Types = new()
    {
        [typeof(EntryKind)] = EntryKind.All,
        [typeof(ReasonCode)] = ReasonCode.All,
        [typeof(WorkState)] = WorkState.All,
        [typeof(WorkKind)] = WorkKind.All,
        [typeof(JobKind)] = JobKind.All,
        [typeof(JobState)] = JobState.All,
        [typeof(JobReason)] = JobReason.All,
        [typeof(OutgoingState)] = OutgoingState.All,
        [typeof(TransmissionState)] = TransmissionState.All,
        [typeof(TransmissionKind)] = TransmissionKind.All,
        [typeof(ReceiptState)] = ReceiptState.All,
        [typeof(CertificateUse)] = CertificateUse.All,
        [typeof(IncomingState)] = IncomingState.All,
        [typeof(MessageKind)] = MessageKind.All,
        [typeof(AwaitedArrival)] = AwaitedArrival.All,
        [typeof(Disposition)] = Disposition.All,
        [typeof(NoticeAction)] = NoticeAction.All,
        [typeof(RestorationState)] = RestorationState.All,
        [typeof(RestorationPeerState)] = RestorationPeerState.All,
        [typeof(RegisterDirection)] = RegisterDirection.All,
        [typeof(NumberState)] = NumberState.All,
        [typeof(ClockAnomalyKind)] = ClockAnomalyKind.All,
        [typeof(AlarmKind)] = AlarmKind.All,
        [typeof(PeerAlarmKind)] = PeerAlarmKind.All,
        [typeof(PeerCheckpointState)] = PeerCheckpointState.All,
    };

    private static readonly Dictionary<string, IReadOnlyList<string>> Columns = new()
    {
        ["gateway.work.state"] = WorkState.All,
        ["gateway.work.kind"] = WorkKind.All,
        ["gateway.job.kind"] = JobKind.All,
        ["gateway.job.state"] = JobState.All,
        ["gateway.outgoing.state"] = OutgoingState.All,
        ["gateway.transmission.state"] = TransmissionState.All,
        ["gateway.transmission.kind"] = TransmissionKind.All,
        ["gateway.transmission.answer_state"] = ReceiptState.All,
        ["gateway.incoming.state"] = IncomingState.All,
        ["gateway.incoming.kind"] = MessageKind.All,
        ["gateway.incoming.place"] = Disposition.All,
        ["gateway.incoming.awaits"] = AwaitedArrival.All,
        ["gateway.notice.action"] = NoticeAction.All,
        ["gateway.restoration.state"] = RestorationState.All,
        ["gateway.restoration_peer.state"] = RestorationPeerState.All,
        ["gateway.register.direction"] = RegisterDirection.All,
        ["gateway.erasure.direction"] = RegisterDirection.All,
        ["gateway.clock_anomaly.kind"] = ClockAnomalyKind.All,
        ["gateway.secrecy_permission.highest"] = ["MẬT", "TỐI MẬT", "TUYỆT MẬT"],
        ["ledger.peer_checkpoint.state"] = PeerCheckpointState.All,
        ["ledger.alarm.kind"] = PeerAlarmKind.All,
    };

    // Words that mean something else in the file named.
    private static readonly HashSet<(string File, string Word)> Ambiguous =
    [
        ("Acknowledge.cs", "receipt"), // the name of a commitment in a ledger entry
        ("Receipt.cs", "receipt"), // the name of the format in an exception message
        ("RetentionSweep.cs", "quarantine"), // the name of a retention rule
        ("RetentionSweep.cs", "retention"), // the object of an entry of the ledger
        ("InboxCommand.cs", "inbox"), // the name of the command
        ("Program.cs", "inbox"),
        ("Program.cs", "send"),
        ("SendCommand.cs", "send"), // the name of the command
        ("FileFormat.cs", "unknown"), // a file format
        ("SignatureFinding.cs", "INDETERMINATE"), // ETSI EN 319 102-1's indication
        ("PrivateCluster.cs", "peer"), // PostgreSQL's authentication method
        ("DestinationQueues.cs", "send"), // WorkKind.Send is this constant
        ("EncryptCommand.cs", "encrypt"), // the name of the command
        ("Program.cs", "encrypt"),
        ("WireJson.cs", "FORMAT_CRITICAL_UNKNOWN"),
        ("WireJson.cs", "FORMAT_DAMAGED"), // the constants of ReasonCode are those of WireFormatException
        ("WireJson.cs", "FORMAT_NO_VERSION"),
        ("WireJson.cs", "FORMAT_TOO_LARGE"),
        ("WireJson.cs", "FORMAT_VERSION_UNKNOWN"),
        // SecureMail.Pkcs11 lies below the gateway and has codes of its own; KeyUnavailableException maps them.
        ("Pkcs11Token.cs", "KEY_ABSENT"),
        ("TokenSessions.cs", "TOKEN_ABSENT"),
        ("PinGuard.cs", "PIN_LOCKED"),
    ];

    // Refusals that name what they are about, and those that are no reason of a dispatch or message.
    private static readonly string[] RefusalsWithArguments =
    [
        "AGENCY_NEEDED", "AGENCY_UNKNOWN", "CANCEL_REASON", "CLOCK_SUSPECT", "DIRECTORY_CONFLICT",
        "DIRECTORY_ROLLBACK", "DIRECTORY_STEP", "ERASURE_BUSY",
        "ERASURE_DONE", "ERASURE_REASON", "ERASURE_UNKNOWN", "FIELD_INVALID", "NUMBER_CANCELLED", "NUMBER_ISSUED",
        "NUMBER_NOT_DRAWN", "NUMBER_TAKEN", "PEER_UNKNOWN", "RECIPIENT_SUCCEEDED", "RECIPIENT_UNKNOWN",
        "REGISTER_NOT_IN_INBOX", "REGISTER_UNKNOWN", "ROUTE_REFUSED", "SECRECY_UNKNOWN", "SENDER_NOT_HERE",
        "SENDER_UNKNOWN", "TOO_LARGE",
    ];

    [Fact]
    public void All_lists_every_constant_once()
    {
        foreach (var (type, all) in Types)
        {
            var constants = type.GetFields()
                .Where(f => f is { IsLiteral: true, IsPublic: true })
                .Select(f => (string)f.GetRawConstantValue()!)
                .ToList();
            all.ShouldBe(constants, ignoreOrder: true, type.Name);
            all.ShouldBeUnique(type.Name);
        }
    }

    [Fact]
    public void Each_column_permits_the_values_of_its_type_and_no_others()
    {
        var permitted = Permitted();
        permitted.Keys.ShouldBe(Columns.Keys, ignoreOrder: true);
        foreach (var (column, values) in Columns)
        {
            permitted[column].ShouldBe(values, ignoreOrder: true, column);
        }
    }

    [Fact]
    public void No_value_stands_as_a_literal_outside_its_type()
    {
        var values = Types.Values.SelectMany(v => v).ToHashSet();
        var vocabulary = Types.Keys.Select(t => t.Name + ".cs").ToHashSet();
        var literals =
            from path in Directory.EnumerateFiles(Source, "*.*", SearchOption.AllDirectories)
            where path.EndsWith(".cs", StringComparison.Ordinal) || path.EndsWith(".razor", StringComparison.Ordinal)
            where !path.Contains("/obj/", StringComparison.Ordinal) && !path.Contains("/bin/", StringComparison.Ordinal)
            let file = Path.GetFileName(path)
            where !vocabulary.Contains(file)
            from line in File.ReadLines(path).Select((text, n) => (Text: text, Number: n + 1))
            where !line.Text.TrimStart().StartsWith("//", StringComparison.Ordinal)
            from word in Quoted().Matches(line.Text).Select(m => m.Groups["word"].Value)
            where values.Contains(word) && !Ambiguous.Contains((file, word))
            select $"{file}:{line.Number}: {word}";
        literals.ShouldBeEmpty();
    }

    [Fact]
    public void Every_state_that_a_transmission_reaches_by_sending_has_its_entry()
    {
        foreach (var kind in TransmissionKind.All)
        {
            foreach (var state in new[] { TransmissionState.Sent, TransmissionState.Unknown, TransmissionState.Failed })
            {
                TransmissionKind.EntryOf(kind, state).ShouldBe($"{kind}.{state}");
            }
        }

        ClockAnomalyKind.All.Select(ClockAnomalyKind.EntryOf).ShouldBe(ClockAnomalyKind.All.Select(k => $"clock.{k}"));
        ClockAnomalyKind.All.Select(ClockAnomalyKind.AlarmOf).ShouldBe(ClockAnomalyKind.All.Select(k => $"clock-{k}"));
    }

    [Fact]
    public void Every_value_has_words_in_both_languages()
    {
        string[] keys =
        [
            .. Keys("Reason", ReasonCode.All),
            "Reason.SELF_CHECK",
            "Reason.Refused",
            .. Keys("Entry", EntryKind.All),
            .. Keys("Outgoing", OutgoingState.All),
            .. Keys("Transmission", TransmissionState.All),
            "Transmission.overdue",
            .. Keys("Incoming", IncomingState.All),
            .. Keys("Disposition", Disposition.All),
            "Disposition.none",
            "Disposition.registered",
            .. Keys("Verdict", Enum.GetValues<Verdict>().Select(FindingJson.Name)),
            "Verdict.none",
            .. Keys("MessageKind", MessageKind.All),
            .. Keys("Direction", RegisterDirection.All),
            .. Keys("NumberState", NumberState.All),
            .. Keys("Work", WorkKind.All),
            .. Keys("Action", DispatchAction.All),
            .. Keys("WorkState", WorkState.All),
            .. Keys("Awaits", AwaitedArrival.All),
            .. Keys("Job", JobKind.All),
            .. Keys("JobState", JobState.All),
            .. Keys("JobReason", JobReason.All),
            .. Keys("Restoration", RestorationState.All),
            .. Keys("RestorationPeer", RestorationPeerState.All),
            .. Keys("PeerCheckpoint", PeerCheckpointState.All),
            .. Keys("Alarm", AlarmKind.All),
            .. Keys("Advice", AlarmKind.All),
            .. Keys("Receipt", ReceiptEvent.All),
            .. Keys("Notice", NoticeAction.All),
            "Notice.failed-unknown",
            .. Keys("Transmitted", TransmissionKind.All),
            .. Keys("Priority", Enumerable.Range(0, 5).Select(n => $"{n}")),
            .. Keys("Refusal", RefusalsWithArguments),
            .. Keys("ReceiptText", [.. ReceiptState.All, "subject"]),
            .. Keys("Answer", ReceiptState.All),
            .. Keys(
                "Health",
                [
                    "database", "database-slow", "disk-low", "temporary-folder-low", "queue-full",
                    "restored-not-proven", "backup", "backup-no-base",
                ]),
            .. Keys("Finding", ["reason", "signer", "issuer", "etsi"]),
            "Codes.more",
            "Content.erased",
        ];
        var resources = new ResourceManager("SecureMail.Gateway.Words.Words", typeof(Catalogue).Assembly);
        foreach (var language in new[] { Catalogue.Vietnamese, Catalogue.English })
        {
            // Without the parents: English that is missing must not be read as Vietnamese.
            var neutral = language.Equals(Catalogue.Vietnamese) ? CultureInfo.InvariantCulture : language;
            var words = resources
                .GetResourceSet(neutral, createIfNotExists: true, tryParents: false)
                .ShouldNotBeNull()
                .Cast<DictionaryEntry>()
                .ToDictionary(e => (string)e.Key, e => (string)e.Value!);
            words.Keys.ShouldBe(keys, ignoreOrder: true, language.Name);
            words.Values.ShouldAllBe(w => !string.IsNullOrWhiteSpace(w));
            keys.ShouldAllBe(k => Catalogue.Text(k, language) == words[k]);
        }
    }

    [Fact]
    public void What_differs_from_case_to_case_has_words_too()
    {
        Catalogue
            .Reason(ReasonCode.SelfCheck("certificate-revoked"), Catalogue.English)
            .ShouldStartWith("The signature just made");
        Catalogue.Reason("Refused 550 5.7.1", Catalogue.English).ShouldContain("permanently: Refused 550 5.7.1.");
        Catalogue.Reason(ReceiptEvent.RelayRejection, Catalogue.Vietnamese).ShouldBe("Trả lại");
        Catalogue.Reason("NEVER_HEARD_OF", Catalogue.Vietnamese).ShouldBe("NEVER_HEARD_OF");
    }

    // RFC 3464 §2: a notice says what became of the message, where, why, and what happens next.
    [Fact]
    public void A_notice_says_what_where_why_and_what_next()
    {
        var notice = new SenderNotice
        {
            Action = NoticeAction.Failed,
            Kind = TransmissionKind.Dispatch,
            RecipientCode = "H90",
            Remote = "b.example",
            Diagnostic = "connection refused",
            Reason = ReasonCode.GivenUp,
            MayHaveArrived = true,
        };
        Wording
            .Notice(notice)
            .Vi.ShouldBe(
                "Văn bản không gửi xong được tới H90 (b.example) [connection refused]: "
                    + "Quá thời hạn mà không gửi được; hãy kiểm tra liên lạc với cổng nhận. "
                    + "Chưa rõ đã tới hay chưa: hãy hỏi nơi nhận trước khi gửi lại.");
    }

    private static IEnumerable<string> Keys(string type, IEnumerable<string> values) =>
        values.Select(v => $"{type}.{v}");

    /// <summary>For each column with a list of values the last CHECK of the migrations.</summary>
    private static Dictionary<string, string[]> Permitted()
    {
        Dictionary<string, string[]> permitted = [];
        foreach (
            var path in new[] { "SecureMail.Gateway", "SecureMail.LedgerStore" }
                .SelectMany(p => Directory.GetFiles(Path.Combine(Source, p, "Schema"), "*.sql"))
                .Order(StringComparer.Ordinal))
        {
            var table = "";
            foreach (Match match in TableOrCheck().Matches(File.ReadAllText(path)))
            {
                if (match.Groups["table"].Success)
                {
                    table = match.Groups["table"].Value;
                }
                else
                {
                    permitted[$"{table}.{match.Groups["column"].Value}"] =
                    [
                        .. Value().Matches(match.Groups["values"].Value).Select(v => v.Groups[1].Value),
                    ];
                }
            }
        }

        return permitted;
    }

    [GeneratedRegex("""["'](?<word>[A-Za-z][A-Za-z_.-]*)["']""")]
    private static partial Regex Quoted();

    [GeneratedRegex(
        """(CREATE|ALTER) TABLE (?<table>(gateway|ledger)\.\w+)|CHECK \((?<column>\w+) IN \((?<values>[^)]*)\)\)"""
    )]
    private static partial Regex TableOrCheck();

    [GeneratedRegex("'([^']*)'")]
    private static partial Regex Value();
}
