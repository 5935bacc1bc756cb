using System.Numerics;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using SecureMail.Exchange;
using SecureMail.Gateway.Inbound;
using SecureMail.Gateway.Registers;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Ledger;
using SecureMail.Storage;
using SecureMail.Storage.Queue;
using SecureMail.Trust;

namespace SecureMail.SystemTests.Gateway;

/// <summary>Whatever is missing when a dispatch comes, and in whatever order things come: the valid dispatch ends in
/// the inbox, and only what was awaited moves it there.</summary>
public sealed class ValidatedAgainTests(PostgresFixture postgres) : IClassFixture<PostgresFixture>
{
    private const string ProvinceAddress = "vanthu@tinhuy.songlam.test";

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_renewed_certificate_is_accepted_whichever_comes_first(bool directoryFirst)
    {
        await using var pair = await TwoGateways.StartAsync(postgres);
        await pair.ListeningAsync();
        var renewed = TestSigners.Unlisted(ProvinceAddress);
        var dispatch = new TestDispatch(pair) { Signer = renewed };
        var octets = await dispatch.MakeSentAsync(TwoGateways.AnHoa);
        if (directoryFirst)
        {
            await ImportAsync(pair, 2, renewed.Certificate);
        }

        var message = await SharedPair.DeliverAsync(pair, octets);
        if (!directoryFirst)
        {
            (message.Disposition, message.Reason).ShouldBe((Disposition.Quarantine, ReasonCode.SenderNotInDirectory));
            (await pair.B.Probe.Incoming.AwaitsAsync(message.Id)).ShouldBe(AwaitedArrival.Directory);
            await ImportAsync(pair, 2, renewed.Certificate);
        }

        message = await pair.B.IncomingAsync(m => m.Id == message.Id && m.Disposition == Disposition.Inbox);
        (message.Verdict, message.Reason, message.DispatchId).ShouldBe(("valid", null, dispatch.Id));
        (await pair.B.Probe.Incoming.DocumentsAsync(message.Id)).ShouldBe(2);
        (await pair.B.Probe.Incoming.AwaitsAsync(message.Id)).ShouldBeNull();
        var answered = await pair.A.OutgoingAsync(
            dispatch.Id, d => d.Recipients[0].State == TransmissionState.Acknowledged);
        answered.Recipients[0].Reason.ShouldBeNull();

        // Each finding names its basis, and an entry of the ledger commits to it.
        var bases = await pair.B.Probe.Incoming.BasesAsync(message.Id);
        bases.Select(b => JsonDocument.Parse(b).RootElement.GetProperty("directory").GetProperty("version").GetInt64())
            .ShouldBe(directoryFirst ? [2] : [1, 2]);
        bases.ShouldAllBe(b => JsonDocument.Parse(b).RootElement.GetProperty("crls").GetArrayLength() == 2);
        (await pair.B.Probe.Ledger.EntriesOfAsync(EntryKind.MessageValidated, message.Id)).ShouldBe(bases.Count);

        // The same dispatch again is a duplicate of the one that was let in.
        (await SharedPair.DeliverAsync(pair, octets)).Disposition.ShouldBe(Disposition.Duplicate);
    }

    [Fact]
    public async Task A_directory_that_cures_nothing_changes_nothing()
    {
        await using var pair = await TwoGateways.StartAsync(postgres);
        await pair.ListeningAsync();
        var message = await SharedPair.DeliverAsync(
            pair, await new TestDispatch(pair) { Signer = TestSigners.Unlisted(ProvinceAddress) }.MakeAsync());
        await pair.B.Node.Directory.ImportAsync(await pair.PublishAsync(2), CancellationToken.None);
        await LookedAsync(pair);
        (await pair.B.Probe.Incoming.BasesAsync(message.Id)).Count.ShouldBe(1);
        (await pair.B.Probe.Incoming.AwaitsAsync(message.Id)).ShouldBe(AwaitedArrival.Directory);
        (await pair.B.Probe.Incoming.CountAsync(disposition: Disposition.Quarantine)).ShouldBe(1);
    }

    [Fact]
    public async Task What_no_arrival_can_cure_waits_for_nothing_and_its_evidence_is_taken_in_all_the_same()
    {
        await using var pair = await TwoGateways.StartAsync(postgres);
        await pair.ListeningAsync();
        var message = await SharedPair.DeliverAsync(
            pair, await new TestDispatch(pair) { Signer = TestSigners.Stranger(ProvinceAddress) }.MakeAsync());
        (message.Verdict, message.Disposition).ShouldBe(("untrusted", Disposition.Quarantine));
        (await pair.B.Probe.Incoming.AwaitsAsync(message.Id)).ShouldBeNull();
        (await pair.B.Probe.Ledger.SeenOfAsync("gateway-a.test")).ShouldNotBeEmpty();
    }

    [Fact]
    public async Task A_proof_that_comes_later_lets_in_what_waited_for_it()
    {
        await using var pair = await TwoGateways.StartAsync(postgres);
        await pair.ListeningAsync();
        await SharedPair.DeliverAsync(pair, await new TestDispatch(pair).MakeAsync());
        var second = new TestDispatch(pair);
        var (mail, manifest) = await second.ComposeAsync();
        var unproven = await TestMail.EvidenceAsync(pair.A, await second.CommitAsync(mail, manifest), asker: null);
        var message = await SharedPair.DeliverAsync(pair, TestMail.WithField(unproven, mail.Message));
        (message.Disposition, message.Reason).ShouldBe((Disposition.Quarantine, ReasonCode.LedgerEvidence));
        (await pair.B.Probe.Incoming.AwaitsAsync(message.Id)).ShouldBe(AwaitedArrival.Evidence);

        await SharedPair.DeliverAsync(pair, await new TestDispatch(pair).MakeAsync());
        await pair.B.Probe.Queue.MakeTimerDueAsync(WorkKind.Arrivals);
        await pair.B.IncomingAsync(m => m.Id == message.Id && m.Disposition == Disposition.Inbox);
    }

    [Fact]
    public async Task A_list_that_comes_later_lets_in_what_waited_for_it_and_a_later_revocation_alarms()
    {
        var crls = Directory.CreateTempSubdirectory("smcrl").FullName;
        File.Copy(Path.Combine(TwoGateways.Pki, "root.crl.pem"), Path.Combine(crls, "root.pem"));
        await using var pair = await TwoGateways.StartAsync(
            postgres, changeB: o => o with { Crls = [crls], IndeterminateFor = TimeSpan.Zero });
        await pair.ListeningAsync();
        var signer = TestSigners.Unlisted(ProvinceAddress);
        await ImportAsync(pair, 2, signer.Certificate);
        var dispatch = new TestDispatch(pair) { Signer = signer };
        var message = await SharedPair.DeliverAsync(pair, await dispatch.MakeSentAsync(TwoGateways.AnHoa));
        (message.Verdict, message.Disposition).ShouldBe(("indeterminate", Disposition.Quarantine));
        (await pair.B.Probe.Incoming.AwaitsAsync(message.Id)).ShouldBe(AwaitedArrival.Revocation);

        WriteCrl(crls, "1", DateTimeOffset.UtcNow.AddMinutes(-1), null);
        await pair.B.IncomingAsync(m => m.Id == message.Id && m.Disposition == Disposition.Inbox);
        await pair.A.OutgoingAsync(dispatch.Id, d => d.Recipients[0].State == TransmissionState.Acknowledged);

        // The revocation is dated before the reception. A person decides; the dispatch stays where it is.
        WriteCrl(crls, "2", DateTimeOffset.UtcNow, signer.Certificate);
        message = await pair.B.IncomingAsync(m => m.Id == message.Id && m.Verdict == "untrusted");
        message.Disposition.ShouldBe(Disposition.Inbox);
        (await pair.B.Probe.Ledger.AlarmsAsync(about: message.Id)).ShouldHaveSingleItem();
        (await pair.B.Probe.Incoming.BasesAsync(message.Id)).Count.ShouldBe(3);
        await TwoGateways.UntilAsync(
            async () => await pair.A.Probe.Ledger.EntriesAsync(EntryKind.DispatchAcknowledged) == 2,
            "the receipt that says so");

        // An older list after the newer one is no arrival.
        var known = await pair.B.Probe.Incoming.CrlsAsync();
        WriteCrl(crls, "0", DateTimeOffset.UtcNow.AddDays(-1), null);
        await LookedAsync(pair);
        (await pair.B.Probe.Incoming.CrlsAsync()).ShouldBe(known);
        (await pair.B.Probe.Incoming.BasesAsync(message.Id)).Count.ShouldBe(3);
        Directory.Delete(crls, recursive: true);
    }

    [Fact]
    public async Task A_key_that_comes_later_opens_what_waited_for_it()
    {
        await using var pair = await TwoGateways.StartAsync(
            postgres, changeB: o => o with { IndeterminateFor = TimeSpan.Zero });
        await pair.ListeningAsync();
        // Encrypted to a key that the directory does not list for the addressee yet.
        var message = await SharedPair.DeliverAsync(
            pair, await new TestDispatch(pair) { EncryptTo = [TwoGateways.BinhMinh] }.MakeAsync());
        (message.Verdict, message.Disposition).ShouldBe(("indeterminate", Disposition.Quarantine));
        (await pair.B.Probe.Incoming.AwaitsAsync(message.Id)).ShouldBe(AwaitedArrival.Key);

        var document = await TestDirectory.ReadAsync(await pair.PublishAsync(2));
        var other = document.Agencies.Single(a => a.Names[0].Code == TwoGateways.BinhMinh)
            .Certificates.First(c => c.Use == "encrypt");
        await pair.B.Node.Directory.ImportAsync(
            await TestDirectory.SignAsync(
                document.With(TwoGateways.AnHoa, a => a with { Certificates = [.. a.Certificates, other] })),
            CancellationToken.None);
        await pair.B.IncomingAsync(m => m.Id == message.Id && m.Disposition == Disposition.Inbox);
    }

    [Fact]
    public async Task What_a_person_had_destroyed_is_not_validated_again()
    {
        await using var pair = await TwoGateways.StartAsync(postgres);
        await pair.ListeningAsync();
        var renewed = TestSigners.Unlisted(ProvinceAddress);
        var message = await SharedPair.DeliverAsync(
            pair, await new TestDispatch(pair) { Signer = renewed }.MakeAsync());
        await pair.B.Node.Erasure.EraseIncomingAsync(
            message.Id, "Thử", "Chánh Văn phòng", TestActor.VanThu, CancellationToken.None);
        await ImportAsync(pair, 2, renewed.Certificate);
        await LookedAsync(pair);
        (await pair.B.Probe.Incoming.BasesAsync(message.Id)).Count.ShouldBe(1);
        (await pair.B.Probe.Incoming.CountAsync(disposition: Disposition.Quarantine)).ShouldBe(1);
    }

    [Fact]
    public async Task An_older_list_is_no_arrival_and_ten_thousand_messages_are_taken_batch_by_batch()
    {
        var owner = await postgres.CreateMigratedDatabaseAsync();
        var probe = new SecureMail.TestKit.Probes.GatewayProbe(owner);
        await using var database = Npgsql.NpgsqlDataSource.Create(PostgresFixture.AsGateway(owner));
        RevocationListDigest List(byte digest, byte scope, int day) =>
            new(
                [.. Enumerable.Repeat(digest, 32)], [.. Enumerable.Repeat(scope, 32)],
                DateTimeOffset.UnixEpoch.AddDays(day));
        var newest = await NoteAsync(List(1, 1, 10));
        (await NoteAsync(List(2, 1, 9))).ShouldBe(newest);
        (await NoteAsync(List(1, 1, 10))).ShouldBe(newest);
        (await NoteAsync(List(3, 2, 1))).ShouldBeGreaterThan(newest);

        await probe.Incoming.AddWaitingAsync(10_000, AwaitedArrival.Revocation, "gateway-a.test");
        await probe.Incoming.AddWaitingAsync(10, AwaitedArrival.Revocation, "gateway-b.test");
        (await TakeAsync(newest)).ShouldBe(Arrivals.MostOfPeer + 10);
        (await TakeAsync(newest)).ShouldBe(0);
        (await probe.Queue.CountAsync(WorkKind.ValidateAgain)).ShouldBe(Arrivals.MostOfPeer + 10);
        await probe.Queue.DropAsync(WorkKind.ValidateAgain);
        (await TakeAsync(newest)).ShouldBe(Arrivals.MostOfPeer);

        Task<long> NoteAsync(RevocationListDigest list) =>
            database.InTransactionAsync(
                "test", t => IncomingTable.NoteCrlsAsync(t, [list], CancellationToken.None), CancellationToken.None);

        Task<int> TakeAsync(long mark) =>
            database.InTransactionAsync(
                "test",
                async t =>
                {
                    var due = await IncomingTable.TakeArrivedAsync(
                        t, AwaitedArrival.Revocation, mark, null, Arrivals.MostOfPeer, CancellationToken.None);
                    await WorkQueue.EnqueueAsync(
                        t, WorkKind.ValidateAgain, [.. due.Select(d => new NewWork(d.Id, d.Peer, null))], null,
                        CancellationToken.None);
                    return due.Count;
                },
                CancellationToken.None);
    }

    /// <summary>B looked what came after this call began, and did what that asked for.</summary>
    private static async Task LookedAsync(TwoGateways pair)
    {
        for (var round = 0; round < 2; round++)
        {
            await pair.B.Probe.Queue.MakeTimerDueAsync(WorkKind.Arrivals);
            await TwoGateways.UntilAsync(
                async () => !await pair.B.Probe.Queue.IsDueAsync(WorkKind.Arrivals), "the look at what came");
        }

        await TwoGateways.UntilAsync(
            async () => await pair.B.Probe.Queue.CountAsync(WorkKind.ValidateAgain) == 0, "the second validations");
    }

    /// <summary>B takes a directory in which the province has this certificate, too.</summary>
    private static async Task ImportAsync(TwoGateways pair, long version, X509Certificate2 certificate)
    {
        var document = (await TestDirectory.ReadAsync(await pair.PublishAsync(version))).With(
            TwoGateways.Province,
            a => a with
            {
                Certificates =
                    [.. a.Certificates, TestDirectory.Listed(CertificateUse.Dispatch, certificate.RawData)],
            });
        await pair.B.Node.Directory.ImportAsync(await TestDirectory.SignAsync(document), CancellationToken.None);
    }

    private static void WriteCrl(string folder, string name, DateTimeOffset thisUpdate, X509Certificate2? revoked)
    {
        using var issuer = X509Certificate2.CreateFromPemFile(
            Path.Combine(TwoGateways.Pki, "issuing.pem"), Path.Combine(TwoGateways.Pki, "ca", "issuing.key"));
        var builder = new CertificateRevocationListBuilder();
        if (revoked is not null)
        {
            builder.AddEntry(revoked, thisUpdate.AddDays(-1));
        }

        var list = builder.Build(
            issuer, new BigInteger(thisUpdate.ToUnixTimeSeconds()), thisUpdate.AddDays(30), HashAlgorithmName.SHA256,
            RSASignaturePadding.Pkcs1, thisUpdate);
        // Whole or not there at all: the gateway may look at any time.
        var file = Path.Combine(folder, name + ".crl");
        File.WriteAllBytes(file + ".tmp", list);
        File.Move(file + ".tmp", file);
    }
}
