using System.Text;
using SecureMail.Exchange;
using SecureMail.Gateway.Directories;
using SecureMail.Gateway.Inbound;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Mail.Mime;
using SecureMail.Trust;

namespace SecureMail.Tests.Gateway;

/// <summary>What the acceptance policy decides before it asks the database or a ledger: neither is there, so a
/// decision that asked would fail.</summary>
public sealed class AcceptancePolicyTests
{
    private const string Report = "Content-Type: multipart/report; report-type=x; boundary=b\r\n\r\n";

    private static readonly Guid OurAgency = Guid.Parse("0192f000-0000-7000-8000-000000000101");

    [Theory]
    [InlineData(Verdict.Invalid, "INVALID")]
    [InlineData(Verdict.Untrusted, "UNTRUSTED")]
    [InlineData(Verdict.Partial, "PARTIAL")]
    [InlineData(Verdict.WrongSender, "WRONG_SENDER")]
    [InlineData(Verdict.Unsigned, "UNSIGNED")]
    [InlineData(Verdict.Unreadable, "UNREADABLE")]
    [InlineData(Verdict.Indeterminate, "INDETERMINATE")]
    public async Task Nothing_of_a_message_is_read_before_its_verdict_is_valid(Verdict verdict, string reason)
    {
        // The payload is a dispatch whose manifest cannot be read: whoever read it would give that as the reason.
        var decided = await DecideAsync(verdict, Dispatch("{"));
        (decided.Disposition, decided.Kind, decided.Reason).ShouldBe(
            (Disposition.Quarantine, MessageKind.Other, reason));
        (decided.Sender, decided.Manifest, decided.Receipt).ShouldBe((null, null, null));
        decided.Documents.ShouldBeEmpty();
    }

    [Theory]
    [InlineData(Verdict.Valid)]
    [InlineData(Verdict.Invalid)]
    public async Task Mail_for_the_administrator_is_shown_to_a_person_whatever_it_is(Verdict verdict)
    {
        var decided = await DecideAsync(verdict, Dispatch("{"), DirectoryStore.GatewayItself);
        (decided.Disposition, decided.Reason).ShouldBe((Disposition.Quarantine, ReasonCode.ForPostmaster));
    }

    [Theory]
    [InlineData("Content-Type: text/plain\r\n\r\nchào", "NOT_A_DISPATCH")]
    [InlineData("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n", "NOT_A_DISPATCH")]
    [InlineData(
        Report + "--b\r\n\r\nx\r\n--b\r\nContent-Type: message/x\r\n\r\nA: b\r\n\r\n--b--\r\n", "NOT_A_RECEIPT")]
    [InlineData(Report + "--b\r\n\r\nx\r\n--b--\r\n", "PART_DAMAGED")]
    public async Task What_is_signed_well_and_is_neither_dispatch_nor_receipt_is_for_a_person(
        string payload, string reason)
    {
        var decided = await DecideAsync(Verdict.Valid, payload);
        (decided.Disposition, decided.Reason, decided.Kind).ShouldBe(
            (Disposition.Quarantine, reason, MessageKind.Other));
    }

    [Theory]
    [InlineData("{", "FORMAT_DAMAGED")]
    [InlineData("[]", "FORMAT_NO_VERSION")]
    [InlineData("{}", "FORMAT_NO_VERSION")]
    [InlineData("""{"v":99}""", "FORMAT_VERSION_UNKNOWN")]
    public async Task A_manifest_that_cannot_be_read_is_a_reason_and_no_fault(string manifest, string reason)
    {
        var decided = await DecideAsync(Verdict.Valid, Dispatch(manifest));
        (decided.Disposition, decided.Reason).ShouldBe((Disposition.Quarantine, reason));
    }

    [Fact]
    public async Task A_manifest_beyond_its_limit_is_not_read_to_its_end()
    {
        var decided = await DecideAsync(Verdict.Valid, Dispatch(new string(' ', Manifest.MaxBytes + 1)));
        (decided.Disposition, decided.Reason).ShouldBe((Disposition.Quarantine, ReasonCode.FormatTooLarge));
    }

    [Fact]
    public async Task A_part_whose_encoding_is_damaged_is_a_reason_and_no_fault()
    {
        var decided = await DecideAsync(Verdict.Valid, Dispatch("\u0001!", "base64"));
        (decided.Disposition, decided.Reason).ShouldBe((Disposition.Quarantine, ReasonCode.PartDamaged));
    }

    private static string Dispatch(string manifest, string encoding = "7bit") =>
        $"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: {Manifest.MediaType}\r\n"
            + $"Content-Transfer-Encoding: {encoding}\r\n\r\n{manifest}\r\n--b--\r\n";

    private static Task<DecidedMessage> DecideAsync(Verdict verdict, string payload, Guid? agency = null)
    {
        var received = new ReceivedMessage(
            Guid.NewGuid(), agency ?? OurAgency, "vanthu@anhoa.test", "gateway-a.test", "", Guid.NewGuid(), [],
            TestPki.Now, null, TimeSpan.Zero);
        var part = MailMessage.ParseEntity(
            new MemoryStream(Encoding.UTF8.GetBytes(payload)), MimeReaderOptions.Received);
        var validated = new ValidatedMessage(
            received, null!, verdict, [], null, [], null, TestPki.Now, null, part, TimeSpan.Zero, null, null, null!,
            new MemoryStream())
        {
            Basis = "{}",
        };
        return new AcceptancePolicy(null!).DecideAsync(null!, validated, CancellationToken.None);
    }
}
