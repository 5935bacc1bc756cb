using System.Security.Cryptography;
using SecureMail.Exchange;
using SecureMail.Gateway.Inbound;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Ledger;
using SecureMail.Mail.Mime;
using SecureMail.Smime;
using SecureMail.Storage;
using SecureMail.Storage.Queue;

namespace SecureMail.SystemTests.Gateway;

/// <summary>Receipts that come to the sender: the right one closes the transmission, any other changes
/// nothing.</summary>
public sealed class ReceiptTests(SharedPair shared) : IClassFixture<SharedPair>
{
    private TwoGateways Pair => shared.Pair;

    [Fact]
    public async Task The_right_one_acknowledges_and_again_changes_nothing()
    {
        var sent = await SentAsync();
        var octets = await MakeAsync(sent);
        var message = await SharedPair.DeliverToAAsync(Pair, octets);
        (message.Disposition, message.Reason, message.Kind).ShouldBe(("matched", null, "receipt"));
        var closed = await StateAsync(sent);
        closed.State.ShouldBe("acknowledged");

        (await SharedPair.DeliverToAAsync(Pair, octets)).Disposition.ShouldBe("matched");
        // Signed again, it says the same.
        (await SharedPair.DeliverToAAsync(Pair, await MakeAsync(sent))).Disposition.ShouldBe("matched");
        // The same number with another content counts for nothing, and a person hears of it.
        var refusal = await MakeAsync(
            sent, change: r => r with { Event = ReceiptEvent.RelayRejection });
        var conflict = await SharedPair.DeliverToAAsync(Pair, refusal);
        (conflict.Disposition, conflict.Reason).ShouldBe(("quarantine", "RECEIPT_CONFLICT"));
        (await Pair.A.Node.Ledger.AlarmsAsync(CancellationToken.None)).ShouldContain(a =>
            a.Kind == "receipt-conflict"
            && a.Detail.Contains(sent.Manifest.DispatchId.ToString(), StringComparison.Ordinal));
        var now = await StateAsync(sent);
        (now.State, now.ClosedAt, now.ReceiptEvent).ShouldBe(("acknowledged", closed.ClosedAt, "ContentConsignment"));
        (await Pair.A.Probe.Ledger.EntriesOfAsync(EntryKind.DispatchAcknowledged, now.Transmission)).ShouldBe(1);
    }

    [Fact]
    public async Task Held_is_not_final_the_higher_number_counts_and_a_late_one_changes_nothing()
    {
        var sent = await SentAsync();
        var held = await MakeAsync(
            sent,
            change: r => r with
            {
                Seq = 1,
                State = ReceiptState.Held,
                Event = ReceiptEvent.ContentConsignmentFailure,
                Reason = new ReceiptReason("LEDGER_EVIDENCE", "", ""),
            });
        (await SharedPair.DeliverToAAsync(Pair, held)).Disposition.ShouldBe("matched");
        var waiting = await StateAsync(sent);
        (waiting.State, waiting.Reason, waiting.ClosedAt, waiting.Answer).ShouldBe(
            ("held", "LEDGER_EVIDENCE", null, ReceiptState.Held));

        // The third overtakes the second.
        var registered = await MakeAsync(
            sent, state: (3, ReceiptState.Registered, 7),
            change: r => r with { Seq = 3, State = ReceiptState.Registered, ArrivalNumber = 7, Prior = r.Digest });
        (await SharedPair.DeliverToAAsync(Pair, registered)).Disposition.ShouldBe("matched");
        var arrived = await MakeAsync(
            sent, state: (2, ReceiptState.Arrived, null),
            change: r => r with { Seq = 2, State = ReceiptState.Arrived, ArrivalNumber = null, Prior = r.Digest });
        foreach (var late in new[] { arrived, held, registered })
        {
            (await SharedPair.DeliverToAAsync(Pair, late)).Disposition.ShouldBe("matched");
        }

        var now = await StateAsync(sent);
        (now.State, now.Answer, now.ArrivalNumber, now.Reason).ShouldBe(
            ("acknowledged", ReceiptState.Registered, 7, null));
        now.ClosedAt.ShouldNotBeNull();
        (await Pair.A.Probe.Ledger.EntriesOfAsync(EntryKind.DispatchHeld, now.Transmission)).ShouldBe(1);
        (await Pair.A.Probe.Ledger.EntriesOfAsync(EntryKind.DispatchRegistered, now.Transmission)).ShouldBe(1);
        (await Pair.A.Probe.Ledger.EntriesOfAsync(EntryKind.DispatchAcknowledged, now.Transmission)).ShouldBe(0);
    }

    [Theory]
    [InlineData(2, ReceiptState.Registered, 8)]
    [InlineData(3, ReceiptState.Registered, 7)]
    [InlineData(2, ReceiptState.Arrived, null)]
    public async Task A_later_one_counts_only_when_the_addressees_ledger_says_the_same(
        int seq, string state, int? number)
    {
        var sent = await SentAsync();
        var receipt = await MakeAsync(
            sent, state: (2, ReceiptState.Registered, 7),
            change: r => r with { Seq = seq, State = state, ArrivalNumber = number });
        var message = await SharedPair.DeliverToAAsync(Pair, receipt);
        (message.Disposition, message.Reason).ShouldBe(("quarantine", "LEDGER_EVIDENCE"));
        (await StateAsync(sent)).State.ShouldBe("sent");
    }

    [Fact]
    public async Task It_may_overtake_the_record_that_the_dispatch_was_sent()
    {
        var sent = await SentAsync();
        await Pair.A.Probe.Outgoing.UnsendAsync(sent.Manifest.DispatchId);
        (await SharedPair.DeliverToAAsync(Pair, await MakeAsync(sent))).Disposition.ShouldBe("matched");
        var acknowledged = await StateAsync(sent);
        acknowledged.State.ShouldBe("acknowledged");

        // The sending that was under way ends now.
        await using (var connection = await Pair.A.Node.Database.Source.OpenConnectionAsync())
        await using (var transaction = await connection.BeginTransactionAsync())
        {
            await WorkQueue.EnqueueAsync(transaction, "send", acknowledged.Transmission);
            await transaction.CommitAsync();
        }

        await TwoGateways.UntilAsync(
            async () => await Pair.A.Probe.Queue.CountAsync(WorkKind.Send) == 0,
            "the work to end");
        (await StateAsync(sent)).State.ShouldBe("acknowledged");
    }

    [Theory]
    [InlineData("for nothing", "RECEIPT_FOR_NOTHING")]
    [InlineData("for other content", "RECEIPT_FOR_OTHER_CONTENT")]
    [InlineData("by an agency that was not addressed", "RECEIPT_FOR_NOTHING")]
    [InlineData("signed by another agency", "SENDER_BINDING")]
    [InlineData("to another sender", "NOT_ADDRESSED_TO_US")]
    [InlineData("with evidence of another ledger", "LEDGER_EVIDENCE")]
    [InlineData("with evidence for other content", "LEDGER_EVIDENCE")]
    [InlineData("with evidence that is none", "LEDGER_EVIDENCE")]
    [InlineData("with no field", "LEDGER_EVIDENCE")]
    [InlineData("with a field for another entry", "LEDGER_EVIDENCE")]
    [InlineData("of an unknown event", "RECEIPT_FIELD")]
    public async Task Any_other_changes_nothing(string which, string reason)
    {
        var sent = await SentAsync();
        var octets = which switch
        {
            "for nothing" => await MakeAsync(sent, change: r => r with { DispatchId = Guid.CreateVersion7() }),
            "for other content" => await MakeAsync(sent, change: r => r with { Digest = SHA256.HashData(r.Digest) }),
            "by an agency that was not addressed" => await MakeAsync(sent, by: TwoGateways.BinhMinh),
            "signed by another agency" => await MakeAsync(sent, by: TwoGateways.BinhMinh, change: r =>
                r with
                {
                    Recipient = AnHoaId,
                }),
            "to another sender" => await MakeAsync(sent, change: r =>
                r with
                {
                    Sender = Guid.Parse("0192f000-0000-7000-8000-000000000002"),
                }),
            "with evidence of another ledger" => await MakeAsync(sent, ledger: Pair.A),
            "with evidence for other content" => await MakeAsync(sent, commitment: SHA256.HashData([1])),
            "with evidence that is none" => await MakeAsync(sent, change: r => r with { Ledger = "QUJD" }),
            "with no field" => await MakeAsync(sent, withField: false),
            "with a field for another entry" => TestMail.WithField(
                await TestMail.EvidenceAsync(
                    Pair.B,
                    await TestMail.AppendAsync(
                        Pair.B, AnHoaId, "message.judged", Guid.CreateVersion7(),
                        Commitment.Of(sent.Manifest.Salt, sent.Mail.Digest)),
                    Pair.A),
                await MakeAsync(sent, withField: false)),
            _ => await MakeAsync(sent, change: r => r with { Event = "Something" }),
        };
        var message = await SharedPair.DeliverToAAsync(Pair, octets);
        (message.Disposition, message.Reason, message.Verdict).ShouldBe(("quarantine", reason, "valid"));
        (await StateAsync(sent)).State.ShouldBe("sent");
        (await Pair.A.Probe.Queue.CountAsync(subject: message.Id)).ShouldBe(0, "nothing answers a receipt");
    }

    [Fact]
    public async Task It_is_a_report_that_other_mail_programs_read()
    {
        var answer = await Pair.A.Node.SubmitAsync(TwoGateways.Submission(TwoGateways.AnHoa), CancellationToken.None);
        await Pair.A.OutgoingAsync(answer.DispatchId, d => d.Recipients.All(r => r.State == "acknowledged"));
        var id = (await Pair.A.Probe.Incoming.IdsAsync(answer.DispatchId, Disposition.Matched)).ShouldHaveSingleItem();
        (await Pair.A.Probe.Incoming.EnvelopeSenderAsync(id)).ShouldBe("");
        var file = Path.Combine(Pair.Folder, "receipt.eml");
        await using (var received = await Pair.A.Node.Incoming.OpenReceivedAsync(id, CancellationToken.None))
        await using (var copy = File.Create(file))
        {
            await received.CopyToAsync(copy);
        }

        const string read = """
            import email, email.policy, json, sys
            m = email.message_from_binary_file(open(sys.argv[1], "rb"), policy=email.policy.default)
            report, signature = m.iter_parts()
            text, fields, receipt = report.iter_parts()
            fields = fields.get_payload()[0]
            body = json.loads(receipt.get_content())
            for said in [
                m.get_content_type(), m["auto-submitted"], report.get_content_type(), report.get_param("report-type"),
                text.get_content_type(), fields["final-recipient"], fields["disposition"].replace(" ", ""),
                receipt.get_content_type(), body["event"], body["dispatchId"], signature.get_content_type(),
                "đã đến" in text.get_content(), m.defects + report.defects]:
              print(said)
            """;
        (await SoftHsm.RunAsync("python3", "-c", read, file))
            .Trim()
            .Split('\n')
            .ShouldBe(
                [
                    "multipart/signed", "auto-replied", "multipart/report", "disposition-notification", "text/plain",
                    "rfc822; vanthu@anhoa.songlam.test", "automatic-action/MDN-sent-automatically;processed",
                    Receipt.MediaType, "ContentConsignment", answer.DispatchId.ToString(),
                    "application/pkcs7-signature", "True", "[]",
                ]);
    }

    private static readonly Guid AnHoaId = Guid.Parse("0192f000-0000-7000-8000-000000000101");

    /// <summary>A dispatch that A's register says was sent to An Hòa; it never left.</summary>
    private async Task<(MadeMail Mail, Manifest Manifest)> SentAsync()
    {
        var dispatch = new TestDispatch(Pair);
        var (mail, manifest) = await dispatch.ComposeAsync();
        await dispatch.RegisterAsync(mail, manifest, await dispatch.CommitAsync(mail, manifest), TwoGateways.AnHoa);
        return (mail, manifest);
    }

    private async Task<SecureMail.Gateway.Registers.OutgoingRecipient> StateAsync(
        (MadeMail Mail, Manifest Manifest) sent) =>
        (
            await Pair.A.Node.Outgoing.FindAsync(sent.Manifest.DispatchId, CancellationToken.None)
        )!.Recipients.ShouldHaveSingleItem();

    private async Task<byte[]> MakeAsync(
        (MadeMail Mail, Manifest Manifest) sent, string by = TwoGateways.AnHoa, Func<Receipt, Receipt>? change = null,
        RunningGateway? ledger = null, byte[]? commitment = null, bool withField = true,
        (int Seq, string State, int? Number)? state = null)
    {
        var directory = await Pair.A.Node.Directory.CurrentAsync(CancellationToken.None);
        var agency = directory.FindEverByCode(by)!;
        var incoming = Guid.CreateVersion7();
        var content = Commitment.Of(sent.Manifest.Salt, commitment ?? sent.Mail.Digest);
        var entry = state is { } stated
            ? await TestMail.AppendAsync(
                Pair.B, agency.Id, EntryKind.ReceiptStated, incoming, content,
                Registration.CommitmentToState(sent.Manifest.Salt, stated.Seq, stated.State, stated.Number))
            : await TestMail.AppendAsync(Pair.B, agency.Id, "message.judged", incoming, content);
        var inside = ledger is null
            ? await TestMail.EvidenceAsync(Pair.B, entry, null)
            : await TestMail.EvidenceAsync(
                ledger, await TestMail.AppendAsync(ledger, agency.Id, "message.judged", incoming, content), null);
        var receipt = new Receipt
        {
            DispatchId = sent.Manifest.DispatchId,
            Sender = sent.Manifest.Sender.Id,
            Recipient = agency.Id,
            Event = ReceiptEvent.ContentConsignment,
            Digest = sent.Mail.Digest,
            Verdict = "valid",
            ArrivalNumber = null,
            Time = DateTimeOffset.UtcNow,
            Reason = null,
            Ledger = Convert.ToBase64String(inside.ToBytes()),
        };
        receipt = change?.Invoke(receipt) ?? receipt;
        var from = new Mailbox(null, agency.LastName.Address);
        var message = new OutgoingMessage
        {
            From = from,
            To = [new Mailbox(null, "vanthu@tinhuy.songlam.test")],
            Subject = "Biên nhận",
            Date = DateTimeOffset.UtcNow,
            MessageId = $"<{incoming}.receipt@gateway-b.test>",
            AutoSubmitted = "auto-replied",
            Body = () =>
                MailReport.DispositionNotification(
                    "Biên nhận\r\n", "test", from, null, "processed",
                    MimeEntity.Leaf(MimeContentType.Of(Receipt.MediaType), () => new MemoryStream(receipt.ToBytes()))),
        };
        var mail = await TestMail.SecureAsync(message, TestSigners.Of(agency, CertificateUse.Receipt), []);
        return withField
            ? TestMail.WithField(await TestMail.EvidenceAsync(Pair.B, entry, Pair.A), mail.Message)
            : mail.Message;
    }
}
