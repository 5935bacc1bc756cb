using SecureMail.Exchange;
using SecureMail.Gateway.Outbound;

namespace SecureMail.SystemTests.Gateway;

/// <summary>Each addressee succeeds or fails by itself and by name; what is refused as a whole leaves nothing
/// behind.</summary>
public sealed class AddresseeTests(PostgresFixture postgres) : IClassFixture<PostgresFixture>
{
    private const string Revoked = "H90.SL.104";
    private const string Succeeded = "H90.SL.105";

    [Fact]
    public async Task What_is_refused_as_a_whole_leaves_nothing_behind()
    {
        await using var pair = await TwoGateways.StartAsync(postgres);
        var before = await TracesAsync(pair);
        var good = TwoGateways.Submission(TwoGateways.AnHoa);
        var refused = new Dictionary<string, Submission>
        {
            ["RECIPIENT_UNKNOWN"] = TwoGateways.Submission("H99.XX.999"),
            ["RECIPIENT_SUCCEEDED"] = TwoGateways.Submission(Succeeded),
            ["NO_RECIPIENT"] = TwoGateways.Submission("H99.XX.999", Succeeded),
            ["SENDER_UNKNOWN"] = good with { Sender = "H99.XX.999" },
            ["SENDER_NOT_HERE"] = good with { Sender = TwoGateways.BinhMinh },
            ["NUMBER_INVALID"] = good with { Number = "số một" },
            ["SECRECY_REFUSED"] = good with { Fields = good.Fields with { Secrecy = "Tối mật" } },
            ["FIELD_INVALID"] = good with { Fields = good.Fields with { Subject = "Một dòng\r\nBcc: ai@do.test" } },
        };
        foreach (var (code, submission) in refused)
        {
            await RefusedAsync(pair, submission, code);
        }

        // What no header could carry must be said now, not when it is signed.
        var document = await good.Documents.FirstAsync();
        foreach (
            var bad in new[]
            {
                document with
                {
                    Name = "a/b.pdf",
                },
                document with
                {
                    Name = "..",
                },
                document with
                {
                    Name = "a\nb.pdf",
                },
                document with
                {
                    MediaType = "pdf",
                },
                document with
                {
                    MediaType = "text/plain\r\nX: y",
                },
                document with
                {
                    Name = "\ud800.pdf",
                },
            })
        {
            await RefusedAsync(pair, good with { Documents = TwoGateways.Documents(bad) }, "FIELD_INVALID");
        }

        await RefusedAsync(pair, good with { Documents = TwoGateways.Documents(document, document) }, "FIELD_INVALID");
        await RefusedAsync(pair, good with { Documents = TwoGateways.Documents() }, "FIELD_INVALID");
        await RefusedAsync(pair, good with { Recipients = [] }, "NO_RECIPIENT");
        await Should.ThrowAsync<IOException>(() =>
            pair.A.Node.SubmitAsync(
                good with
                {
                    Documents = TwoGateways.Documents(
                        document, document with { Name = "2.txt", Open = () => throw new IOException() }),
                },
                CancellationToken.None));
        (await TracesAsync(pair)).ShouldBe(before);

        // And the next one has the first number.
        (await pair.A.Node.SubmitAsync(good, CancellationToken.None)).Number.ShouldBe("01-CV/VPTU");
    }

    [Fact]
    public async Task A_bad_addressee_is_named_with_its_reason_and_stops_no_other()
    {
        await using var pair = await TwoGateways.StartAsync(postgres);
        await pair.A.Node.Policy.ForbidAsync(
            TwoGateways.Province, TwoGateways.BinhMinh, "tạm dừng", TestActor.VanThu, CancellationToken.None);
        var answer = await pair.A.Node.SubmitAsync(
            TwoGateways.Submission(
                TwoGateways.AnHoa, "H99.XX.999", Revoked, Succeeded, TwoGateways.BinhMinh, TwoGateways.AnHoa),
            CancellationToken.None);
        var told = answer.Recipients.ToDictionary(r => r.Code, r => r.Refusal);
        told.Count.ShouldBe(5);
        told[TwoGateways.AnHoa].ShouldBeNull();
        told["H99.XX.999"]!.Code.ShouldBe("RECIPIENT_UNKNOWN");
        told[Succeeded]!.Code.ShouldBe("RECIPIENT_SUCCEEDED");
        told[Succeeded]!.Vi.ShouldContain("Đảng ủy xã An Hòa (H90.SL.101)");
        told[TwoGateways.BinhMinh]!.Code.ShouldBe("ROUTE_REFUSED");
        told[TwoGateways.BinhMinh]!.Vi.ShouldContain("tạm dừng");

        var sent = await pair.A.OutgoingAsync(answer.DispatchId, d => d.Recipients.All(r => r.ClosedAt is not null));
        sent.Recipients.ToDictionary(r => r.Code, r => (r.State, r.Reason))
            .ShouldBe(
                new Dictionary<string, (string, string?)>
                {
                    [TwoGateways.AnHoa] = ("acknowledged", null),
                    ["H99.XX.999"] = ("failed", "RECIPIENT_UNKNOWN"),
                    [Revoked] = ("failed", "RECIPIENT_CERTIFICATE"),
                    [Succeeded] = ("failed", "RECIPIENT_SUCCEEDED"),
                    [TwoGateways.BinhMinh] = ("failed", "ROUTE_REFUSED"),
                },
                ignoreOrder: true);
        (await pair.B.Node.Incoming.ListAsync(TwoGateways.BinhMinh, null, 10, CancellationToken.None)).ShouldBeEmpty();
    }

    [Fact]
    public async Task A_dispatch_that_nobody_can_get_is_refused_when_it_is_sealed_and_keeps_its_number()
    {
        await using var pair = await TwoGateways.StartAsync(postgres);
        var answer = await pair.A.Node.SubmitAsync(TwoGateways.Submission(Revoked), CancellationToken.None);
        var refused = await pair.A.OutgoingAsync(answer.DispatchId, d => d.State == "refused");
        refused.Reason.ShouldBe("NO_RECIPIENT");
        refused.Recipients.ShouldHaveSingleItem().Reason.ShouldBe("RECIPIENT_CERTIFICATE");
        refused.Card.Number.ShouldBe("01-CV/VPTU");
        (await pair.A.Node.Ledger.AuditTrailAsync(answer.DispatchId, CancellationToken.None))
            .Select(l => l.Kind)
            .ShouldBe(["dispatch.accepted", "dispatch.failed", "dispatch.refused"]);
        (
            await pair.A.Node.SubmitAsync(TwoGateways.Submission(TwoGateways.AnHoa), CancellationToken.None)
        ).Number.ShouldBe("02-CV/VPTU");
    }

    [Fact]
    public async Task A_marked_document_goes_only_where_both_sides_decided_so()
    {
        await using var pair = await TwoGateways.StartAsync(postgres);
        var secret = TwoGateways.Submission(TwoGateways.AnHoa);
        secret = secret with { Fields = secret.Fields with { Secrecy = "MẬT" } };
        await RefusedAsync(pair, secret, "SECRECY_REFUSED");
        await pair.A.Node.Policy.SetSecrecyAsync(TwoGateways.Province, "MẬT", TestActor.VanThu, CancellationToken.None);
        await RefusedAsync(
            pair,
            secret with
            {
                Fields = secret.Fields with { Secrecy = "TUYỆT MẬT" },
            },
            "SECRECY_REFUSED");
        await RefusedAsync(pair, secret with { Fields = secret.Fields with { Secrecy = "Kín" } }, "SECRECY_REFUSED");

        // The receiver decides for itself.
        var first = await pair.A.Node.SubmitAsync(secret, CancellationToken.None);
        (await pair.A.OutgoingAsync(first.DispatchId, d => d.Recipients[0].ClosedAt is not null))
            .Recipients[0]
            .Reason.ShouldBe("SECRECY_REFUSED");
        await pair.B.Node.Policy.SetSecrecyAsync(
            TwoGateways.AnHoa, "TỐI MẬT", TestActor.VanThu, CancellationToken.None);
        var second = await pair.A.Node.SubmitAsync(secret, CancellationToken.None);
        (await pair.A.OutgoingAsync(second.DispatchId, d => d.Recipients[0].ClosedAt is not null))
            .Recipients[0]
            .State.ShouldBe("acknowledged");
    }

    [Fact]
    public async Task A_certificate_that_expired_never_stands_in_the_way_of_one_that_is_valid()
    {
        await using var pair = await TwoGateways.StartAsync(postgres);
        var now = DateTimeOffset.UtcNow;
        var (old, oldKey) = TestDirectory.EncryptionCertificate(now.AddYears(-3), now.AddDays(-1));
        var (young, youngKey) = TestDirectory.EncryptionCertificate(now.AddHours(1), now.AddYears(1));
        using (old)
        using (oldKey)
        using (young)
        using (youngKey)
        {
            var document = await TestDirectory.ReadAsync(await pair.PublishAsync(2));
            document = document.With(TwoGateways.AnHoa, a =>
                a with
                {
                    Certificates =
                    [
                        TestDirectory.Listed("encrypt", old.RawData), TestDirectory.Listed("encrypt", young.RawData),
                        .. a.Certificates,
                    ],
                });
            foreach (var gateway in new[] { pair.A, pair.B })
            {
                await gateway.Node.Directory.ImportAsync(
                    await TestDirectory.SignAsync(document), CancellationToken.None);
            }

            var answer = await pair.A.Node.SubmitAsync(
                TwoGateways.Submission(TwoGateways.AnHoa), CancellationToken.None);
            (await pair.A.OutgoingAsync(answer.DispatchId, d => d.Recipients[0].ClosedAt is not null))
                .Recipients[0]
                .State.ShouldBe("acknowledged");
        }
    }

    [Fact]
    public async Task What_was_encrypted_to_a_certificate_that_is_no_longer_chosen_is_still_opened()
    {
        await using var pair = await TwoGateways.StartAsync(postgres);
        var now = DateTimeOffset.UtcNow;
        // A knows only the token's certificate; B already lists a younger one, whose key it has not, as the better.
        var (young, key) = TestDirectory.EncryptionCertificate(now.AddMinutes(-1), now.AddYears(1));
        using (young)
        using (key)
        {
            var document = await TestDirectory.ReadAsync(await pair.PublishAsync(2));
            document = document.With(TwoGateways.AnHoa, a =>
                a with
                {
                    Certificates = [TestDirectory.Listed("encrypt", young.RawData), .. a.Certificates],
                });
            await pair.B.Node.Directory.ImportAsync(await TestDirectory.SignAsync(document), CancellationToken.None);
            var answer = await pair.A.Node.SubmitAsync(
                TwoGateways.Submission(TwoGateways.AnHoa), CancellationToken.None);
            (await pair.A.OutgoingAsync(answer.DispatchId, d => d.Recipients[0].ClosedAt is not null))
                .Recipients[0]
                .State.ShouldBe("acknowledged");
        }
    }

    private static async Task RefusedAsync(TwoGateways pair, Submission submission, string code)
    {
        var refusal = (
            await Should.ThrowAsync<SubmissionRefusedException>(
                () => pair.A.Node.SubmitAsync(submission, CancellationToken.None), code)
        ).Refusal;
        refusal.Code.ShouldBe(code);
        refusal.Vi.ShouldNotBeEmpty();
    }

    /// <summary>What a submission could leave: rows, numbers, blobs, entries.</summary>
    private static async Task<string> TracesAsync(TwoGateways pair) =>
        string.Join(' ', await pair.A.Probe.FootprintAsync());
}
