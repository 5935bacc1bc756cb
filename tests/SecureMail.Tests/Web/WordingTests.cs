using SecureMail.Gateway.Registers;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Web;

namespace SecureMail.Tests.Web;

/// <summary>How the pages show times, sizes, states and findings.</summary>
public sealed class WordingTests
{
    [Fact]
    public void Times_are_shown_as_those_of_Vietnam_whatever_zone_they_came_in()
    {
        // The last second of a year in London is next year's morning in Hanoi, and a leap day is a day.
        Wording.Time(new DateTimeOffset(2026, 12, 31, 23, 59, 59, TimeSpan.Zero)).ShouldBe("01/01/2027 06:59:59");
        Wording.Time(new DateTimeOffset(2028, 2, 28, 12, 0, 0, TimeSpan.FromHours(-5))).ShouldBe("29/02/2028 00:00:00");
        Wording.Time(new DateTime(2026, 6, 1, 0, 0, 0, DateTimeKind.Unspecified)).ShouldBe("01/06/2026 07:00:00");
        Wording.Time((DateTime?)null).ShouldBe("");
    }

    [Theory]
    [InlineData(0, "0 B")]
    [InlineData(1023, "1023 B")]
    [InlineData(1024, "1 KiB")]
    [InlineData(1536, "1.5 KiB")]
    [InlineData((1024 * 1024) - 1, "1024 KiB")]
    [InlineData(1024 * 1024, "1 MiB")]
    [InlineData(25L * 1024 * 1024 * 1024, "25600 MiB")]
    public void Sizes_have_a_unit_and_at_most_one_decimal(long bytes, string shown) =>
        Wording.Size(bytes).ShouldBe(shown);

    [Theory]
    [InlineData(0, "")]
    [InlineData(1, "1")]
    [InlineData(5, "1, 2, 3, 4, 5")]
    [InlineData(6, "1, 2, 3, 4, 5 và 1 nơi khác")]
    [InlineData(3300, "1, 2, 3, 4, 5 và 3295 nơi khác")]
    public void Of_many_codes_five_are_shown_and_how_many_more(int count, string shown) =>
        Wording.Codes([.. Enumerable.Range(1, count).Select(n => $"{n}")]).ShouldBe(shown);

    [Fact]
    public void A_reason_is_said_in_both_languages_and_a_code_without_words_once()
    {
        Wording.Reason("GIVEN_UP").ShouldContain(" / ");
        Wording.Reason("Refused 550 5.1.1 nobody").ShouldContain("550 5.1.1");
        Wording.Reason("NO_SUCH_CODE").ShouldBe("NO_SUCH_CODE");
        Wording.ContentErased.ShouldBe("Đã hủy nội dung / Content erased");
    }

    // The state, whether the receipt is late, and the look.
    [Theory]
    [InlineData(TransmissionState.Waiting, false, "")]
    [InlineData(TransmissionState.Queued, false, "wait")]
    [InlineData(TransmissionState.Sent, false, "wait")]
    [InlineData(TransmissionState.Sent, true, "bad")]
    [InlineData(TransmissionState.Unknown, false, "wait")]
    [InlineData(TransmissionState.Unknown, true, "bad")]
    [InlineData(TransmissionState.Acknowledged, false, "good")]
    [InlineData(TransmissionState.Acknowledged, true, "good")]
    [InlineData(TransmissionState.Refused, false, "bad")]
    [InlineData(TransmissionState.Failed, false, "bad")]
    public void A_late_receipt_is_bad_until_it_comes(string state, bool late, string kind) =>
        Wording.Transmission(state, late ? new DateTime(2026, 6, 1) : null).Kind.ShouldBe(kind);

    [Theory]
    [InlineData(null, "wait")]
    [InlineData("indeterminate", "wait")]
    [InlineData("valid", "good")]
    [InlineData("invalid", "bad")]
    [InlineData("wrong-sender", "bad")]
    [InlineData("unsigned", "bad")]
    public void Only_a_valid_verdict_looks_good(string? verdict, string kind)
    {
        var label = Wording.Verdict(verdict);
        label.Kind.ShouldBe(kind);
        label.Vi.ShouldNotBe(label.En);
    }

    [Theory]
    [InlineData(null, null, "wait", "")]
    [InlineData(Disposition.Inbox, null, "wait", "Đã nhận, chờ vào sổ")]
    [InlineData(Disposition.Inbox, 7, "good", "Đã vào sổ")]
    [InlineData(Disposition.Quarantine, null, "bad", "")]
    [InlineData(Disposition.Returned, null, "bad", "")]
    [InlineData(Disposition.Duplicate, null, "", "")]
    [InlineData(Disposition.Matched, null, "", "")]
    public void Each_disposition_has_its_look(string? disposition, int? arrivalNumber, string kind, string words)
    {
        var label = Wording.DispositionOf(
            new IncomingMessage(
                Guid.NewGuid(), "", "", "", null, disposition, null, null, null, null, arrivalNumber, null, null,
                DateTimeOffset.UnixEpoch, ""));
        label.Kind.ShouldBe(kind);
        label.Vi.ShouldContain(words);
    }

    [Fact]
    public void A_dispatch_that_may_have_arrived_is_not_simply_sent_again()
    {
        var notice = new SenderNotice
        {
            Action = NoticeAction.Failed,
            Kind = MessageKind.Dispatch,
            Reason = "GIVEN_UP",
            RecipientCode = "H90.SL.101",
            Remote = "gateway-b.test",
            Diagnostic = "ConnectionLost",
            MayHaveArrived = true,
        };
        var (vi, en) = Wording.Notice(notice);
        vi.ShouldStartWith("Văn bản không gửi xong được tới H90.SL.101 (gateway-b.test) [ConnectionLost]: ");
        vi.ShouldContain("hãy hỏi nơi nhận");
        en.ShouldContain("It may have arrived");
    }

    [Fact]
    public void A_finding_is_told_with_its_signer_where_there_is_one()
    {
        const string Json = """
            [{"reason":{"code":"x","vi":"Hợp lệ","en":"Valid"},"signer":{"subject":"CN=A","issuer":"CN=CA"},
              "indication":"TOTAL-PASSED","subIndication":null},
             {"reason":{"code":"y","vi":"Hỏng","en":"Damaged"},"signer":null,
              "indication":"TOTAL-FAILED","subIndication":"HASH_FAILURE"}]
            """;
        Wording.Findings(Json).ShouldBe(
            [
                new("Kết luận", "Hợp lệ / Valid"), new("Người ký", "CN=A"), new("Tổ chức cấp", "CN=CA"),
                new("Thuật ngữ ETSI", "TOTAL-PASSED"), new("Kết luận", "Hỏng / Damaged"),
                new("Thuật ngữ ETSI", "TOTAL-FAILED HASH_FAILURE"),
            ]);
        Wording.Findings("[]").ShouldBeEmpty();
    }
}
