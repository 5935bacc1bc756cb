using System.Text.Json;
using SecureMail.Trust;

namespace SecureMail.Tests.Trust;

public sealed class VerdictTests
{
    private static readonly JsonSerializerOptions Json = new() { PropertyNamingPolicy = JsonNamingPolicy.CamelCase };

    private static readonly SignatureFinding Passed = new()
    {
        Indication = Indication.TotalPassed,
        Reason = Reasons.Valid,
        Intact = true,
        Trusted = true,
        Signer = new Signer("CN=A", ["a@a.vn"], "CN=CA", "01"),
        DigestAlgorithm = "SHA-256",
        Path = ["CN=A", "CN=CA"],
    };

    private static readonly SignatureFinding Failed = Passed with
    {
        Indication = Indication.TotalFailed,
        SubIndication = SubIndication.HashFailure,
    };
    private static readonly SignatureFinding Late = Passed with
    {
        Indication = Indication.Indeterminate,
        SubIndication = SubIndication.TryLater,
    };

    [Fact]
    public void Every_row_of_the_table_has_its_verdict()
    {
        Of(FileState.Unreadable).ShouldBe(Verdict.Unreadable);
        Of(FileState.Unreadable, Passed).ShouldBe(Verdict.Unreadable);
        Of(FileState.Read).ShouldBe(Verdict.Unsigned);
        Of(FileState.Locked).ShouldBe(Verdict.Indeterminate);
        Of(FileState.Read, Failed).ShouldBe(Verdict.Invalid);
        Of(FileState.Read, Passed with { ChangesAfterSigning = ChangesAfterSigning.Forbidden })
            .ShouldBe(Verdict.Invalid);
        Of(FileState.Read, Passed with { ChangesAfterSigning = ChangesAfterSigning.Permitted }).ShouldBe(Verdict.Valid);
        Of(FileState.Read, Late).ShouldBe(Verdict.Indeterminate);
        Of(FileState.Locked, Passed).ShouldBe(Verdict.Indeterminate);
        Of(FileState.Read, Passed with { CoversWhole = false }).ShouldBe(Verdict.Partial);
        Of(FileState.Read, Passed with { SignerIsSender = false }).ShouldBe(Verdict.WrongSender);
        Of(FileState.Read, Passed with { SignerIsSender = true }).ShouldBe(Verdict.Valid);
        Of(FileState.Read, Passed).ShouldBe(Verdict.Valid);
    }

    [Theory]
    [InlineData(SubIndication.NoCertificateChainFound, Verdict.Untrusted)]
    [InlineData(SubIndication.NoSigningCertificateFound, Verdict.Untrusted)]
    [InlineData(SubIndication.ChainConstraintsFailure, Verdict.Untrusted)]
    [InlineData(SubIndication.CertificateChainGeneralFailure, Verdict.Untrusted)]
    [InlineData(SubIndication.RevokedNoPoe, Verdict.Untrusted)]
    [InlineData(SubIndication.OutOfBoundsNoPoe, Verdict.Untrusted)]
    [InlineData(SubIndication.NotYetValid, Verdict.Untrusted)]
    [InlineData(SubIndication.CryptoConstraintsFailure, Verdict.Untrusted)]
    [InlineData(SubIndication.SigConstraintsFailure, Verdict.Untrusted)]
    [InlineData(SubIndication.TryLater, Verdict.Indeterminate)]
    [InlineData(SubIndication.SignedDataNotFound, Verdict.Indeterminate)]
    public void What_waiting_cannot_cure_is_untrusted_and_the_rest_is_indeterminate(
        SubIndication sub, Verdict expected) =>
        Of(FileState.Read, Passed, Passed with { Indication = Indication.Indeterminate, SubIndication = sub })
            .ShouldBe(expected);

    [Fact]
    public void The_first_row_that_fits_decides()
    {
        SignatureFinding untrusted = Passed with
        {
            Indication = Indication.Indeterminate,
            SubIndication = SubIndication.RevokedNoPoe,
        };
        Of(FileState.Read, Late, untrusted, Failed).ShouldBe(Verdict.Invalid);
        Of(FileState.Read, Late, untrusted).ShouldBe(Verdict.Untrusted);
        Of(FileState.Read, Late, Passed with { CoversWhole = false }).ShouldBe(Verdict.Indeterminate);
        Of(FileState.Read, Passed with { CoversWhole = false, SignerIsSender = false }).ShouldBe(Verdict.Partial);
    }

    [Fact]
    public void Of_several_signatures_one_must_cover_the_whole_and_be_the_senders()
    {
        SignatureFinding part = Passed with { CoversWhole = false, SignerIsSender = true };
        SignatureFinding whole = Passed with { SignerIsSender = true };
        SignatureFinding stranger = Passed with { SignerIsSender = false };
        Of(FileState.Read, part, whole).ShouldBe(Verdict.Valid);
        Of(FileState.Read, stranger, whole).ShouldBe(Verdict.Valid);
        Of(FileState.Read, part, stranger).ShouldBe(Verdict.WrongSender);
    }

    // The contract of the command line: other programs go by these numbers.
    private static readonly Dictionary<string, int> ExitCodes = new()
    {
        ["valid"] = 0,
        ["wrong-sender"] = 1,
        ["partial"] = 1,
        ["untrusted"] = 1,
        ["invalid"] = 1,
        ["unsigned"] = 1,
        ["indeterminate"] = 2,
        ["unreadable"] = 65,
    };

    [Fact]
    public void Programs_go_by_the_exit_code_of_each_verdict_and_no_verdict_is_forgotten() =>
        Enum.GetValues<Verdict>()
            .ToDictionary(v => JsonSerializer.Serialize(v).Trim('"'), Verdicts.ExitCodeOf)
            .ShouldBe(ExitCodes, ignoreOrder: true);

    [Fact]
    public void Every_verdict_has_a_sentence_in_both_languages_whatever_was_found()
    {
        foreach (var verdict in Enum.GetValues<Verdict>())
        {
            foreach (
                IReadOnlyList<SignatureFinding> findings in new IReadOnlyList<SignatureFinding>[]
                {
                    [],
                    [Passed],
                    [Failed],
                    [Late],
                })
            {
                var summary = Verdicts.SummaryOf(verdict, findings);
                summary.Vi.ShouldNotBeNullOrWhiteSpace();
                summary.En.ShouldNotBeNullOrWhiteSpace();
            }
        }
    }

    [Fact]
    public void A_finding_is_serialised_as_the_contract_of_the_command_line_says()
    {
        var json = JsonSerializer.Serialize(Failed with { ClaimedTime = TestPki.Now }, Json);
        json.ShouldBe(
            """{"indication":"TOTAL-FAILED","subIndication":"HASH_FAILURE","reason":"""
                + """{"code":"valid","vi":"Ch\u1EEF k\u00FD h\u1EE3p l\u1EC7; """
                + """c\u00F3 th\u1EC3 d\u00F9ng v\u0103n b\u1EA3n.","""
                + "\"en\":\"The signature is valid; the document may be used.\"}"
                + ""","intact":true,"trusted":true"""
                + ""","coversWhole":true,"signerIsSender":null,"changesAfterSigning":"none","signer":"""
                + """{"subject":"CN=A","emails":["a@a.vn"],"issuer":"CN=CA","serial":"01"}"""
                + ""","digestAlgorithm":"SHA-256","claimedTime":"2026-06-01T00:00:00+00:00","provenTime":null"""
                + ""","path":["CN=A","CN=CA"]}"""
        );
        JsonSerializer.Serialize(Verdict.WrongSender).ShouldBe("\"wrong-sender\"");
        foreach (Verdict verdict in Enum.GetValues<Verdict>())
        {
            JsonSerializer.Serialize(verdict).ShouldBe(JsonSerializer.Serialize(verdict).ToLowerInvariant());
        }
    }

    private static Verdict Of(FileState state, params SignatureFinding[] findings) => Verdicts.Of(state, findings);
}
