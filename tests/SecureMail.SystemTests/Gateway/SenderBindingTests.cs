using SecureMail.Exchange;

namespace SecureMail.SystemTests.Gateway;

/// <summary>Agency ↔ certificate ↔ address, by the time that is proven: a claimed time may refuse and never
/// admits.</summary>
public sealed class SenderBindingTests(PostgresFixture postgres) : IClassFixture<PostgresFixture>
{
    [Theory]
    [InlineData("in force", 0, null)]
    [InlineData("ended", 0, "SENDER_BINDING")]
    [InlineData("ended", -2, "SENDER_BINDING")]
    [InlineData("withdrawn", -2, "SENDER_NOT_IN_DIRECTORY")]
    [InlineData("revoked", 0, "SENDER_BINDING")]
    [InlineData("revoked", -2, "SENDER_BINDING")]
    [InlineData("later", 0, null)]
    [InlineData("later", -2, "SENDER_BINDING")]
    [InlineData("other use", 0, "SENDER_BINDING")]
    [InlineData("new", 0, null)]
    [InlineData("new", -2, "SENDER_BINDING")]
    [InlineData("renamed", -2, "SENDER_BINDING")]
    public async Task The_sender_is_bound_at_the_reception_whatever_time_the_signature_claims(
        string agency, int claimedDays, string? reason)
    {
        var hourAgo = DateTimeOffset.UtcNow.AddHours(-1);
        await using var pair = await TwoGateways.StartAsync(postgres);
        var current = (await TestDirectory.ReadAsync(await pair.PublishAsync(2)));
        var changed = current.With(TwoGateways.Province, a => agency switch
        {
            "ended" => a with { ValidTo = hourAgo },
            "new" => a with { ValidFrom = hourAgo, Names = [a.Names[0] with { From = hourAgo }] },
            "withdrawn" => a with { Certificates = [.. a.Certificates.Where(c => c.Use != CertificateUse.Dispatch)] },
            "revoked" => a with
            {
                Certificates =
                [
                    .. a.Certificates.Select(c =>
                        c.Use == CertificateUse.Dispatch ? c with { RevokedAt = hourAgo } : c),
                ],
            },
            "later" => a with
            {
                Certificates =
                [
                    .. a.Certificates.Select(c => c.Use == CertificateUse.Dispatch ? c with { From = hourAgo } : c),
                ],
            },
            "other use" => a with
            {
                Certificates =
                [
                    .. a.Certificates.Select(c =>
                        c.Use == CertificateUse.Dispatch ? c with { Use = CertificateUse.Receipt } : c),
                ],
            },
            "renamed" => a with
            {
                Names =
                [
                    a.Names[0] with { To = hourAgo }, a.Names[0] with { Address = "moi@songlam.test", From = hourAgo },
                ],
            },
            _ => a,
        });
        var octets = await new TestDispatch(pair)
        {
            From = current.Agencies.Single(a => a.Names[0].Code == TwoGateways.Province).Names[0].Address,
            Request = r => r with { SigningTime = DateTimeOffset.UtcNow.AddDays(claimedDays) },
        }.MakeAsync();
        await pair.B.Node.Directory.ImportAsync(
            await TestDirectory.SignAsync(changed with { Version = 3 }), CancellationToken.None);

        var message = await SharedPair.DeliverAsync(pair, octets);
        (message.Verdict, message.Disposition, message.Reason).ShouldBe(
            ("valid", reason is null ? "inbox" : "quarantine", reason));
    }
}
