using System.Text;
using SecureMail.Ledger;
using SecureMail.LedgerStore;

namespace SecureMail.SystemTests.Ledger;

/// <summary>Ledger b watches ledger a, which is honest or not.</summary>
public sealed class PeerLedgerTests(PostgresFixture postgres) : IClassFixture<PostgresFixture>
{
    private static Task<IReadOnlyList<long>> SeenAsync(LedgerDatabase watcher, LedgerDatabase peer) =>
        watcher.InTransactionAsync(transaction =>
            PeerLedger.SeenSizesAsync(transaction.Connection!, peer.LogKey.Name, CancellationToken.None));

    private static Task<long> AlarmsAsync(LedgerDatabase watcher, string kind) =>
        watcher.ScalarAsync<long>($"SELECT count(*) FROM ledger.alarm WHERE kind = '{kind}'");

    [Fact]
    public async Task An_honest_log_is_followed_and_cosigned()
    {
        await using var a = await LedgerDatabase.CreateAsync(postgres);
        await using var b = await LedgerDatabase.CreateAsync(postgres, "b");
        (await SeenAsync(b, a)).ShouldBeEmpty();
        var first = await a.GrowAsync(3);
        var observation = await b.ObserveAsync(a, first);
        observation.State.ShouldBe(PeerState.Verified);
        first.CosignedAt(b.CosignerKey.Verifier, observation.Cosignature!.Line).ShouldBe(b.Time.GetUtcNow());
        (await SeenAsync(b, a)).ShouldBe([3]);

        var second = await a.GrowAsync(4);
        observation = await b.ObserveAsync(a, second, await a.ProofsAsync(7, 3));
        observation.State.ShouldBe(PeerState.Verified);
        second.CosignedAt(b.CosignerKey.Verifier, observation.Cosignature!.Line).ShouldNotBeNull();
        (await SeenAsync(b, a)).ShouldBe([7]);
        // Shown again, and an older one shown again: still verified, and the cosignature is over the newest.
        (await b.ObserveAsync(a, second)).State.ShouldBe(PeerState.Verified);
        (await b.ObserveAsync(a, first)).Cosignature!.Size.ShouldBe(7);
        (await b.ScalarAsync<long>("SELECT count(*) FROM ledger.alarm")).ShouldBe(0);
    }

    [Fact]
    public async Task Our_checkpoint_keeps_the_peers_cosignature_when_it_is_one()
    {
        await using var a = await LedgerDatabase.CreateAsync(postgres);
        await using var b = await LedgerDatabase.CreateAsync(postgres, "b");
        var checkpoint = await a.GrowAsync(3);
        var cosignature = (await b.ObserveAsync(a, checkpoint)).Cosignature!;
        Task<bool> Add(VerifierKey key, Cosignature what) =>
            a.InTransactionAsync(t => PeerLedger.AddCosignatureAsync(t, key, what, CancellationToken.None));
        (await Add(a.CosignerKey.Verifier, cosignature)).ShouldBeFalse();
        (await Add(b.CosignerKey.Verifier, cosignature with { Size = 4 })).ShouldBeFalse();
        (await Add(b.CosignerKey.Verifier, cosignature with { Line = "junk" })).ShouldBeFalse();
        (await Add(b.CosignerKey.Verifier, cosignature)).ShouldBeTrue();
        (await Add(b.CosignerKey.Verifier, cosignature)).ShouldBeTrue();
        await using var connection = await a.Gateway.OpenConnectionAsync();
        (await StoredLedger.CosignaturesAsync(connection, 10, CancellationToken.None)).ShouldBe([cosignature]);
        (await a.VerifyAsync()).Problems.ShouldBeEmpty();
        await a.ExecuteAsync("UPDATE ledger.cosignature SET line = replace(line, 'A', 'B')");
        (await a.VerifyAsync()).Problems.ShouldHaveSingleItem().Code.ShouldBe("cosignature");
    }

    [Fact]
    public async Task Deliveries_that_overtake_each_other_wait_and_are_joined_later()
    {
        await using var a = await LedgerDatabase.CreateAsync(postgres);
        await using var b = await LedgerDatabase.CreateAsync(postgres, "b");
        var (c2, c5, c9, c12) = (
            await a.GrowAsync(2), await a.GrowAsync(3), await a.GrowAsync(4), await a.GrowAsync(3));
        await b.ObserveAsync(a, c2);
        (await b.ObserveAsync(a, c9, await a.ProofsAsync(9, 2))).ShouldSatisfyAllConditions(
            o => o.State.ShouldBe(PeerState.Verified), o => o.JoinedFrom.ShouldBe(2));
        // 5 comes late, with the proof from 2 that was right when it was sent: that does not join it to 9.
        (await b.ObserveAsync(a, c5, await a.ProofsAsync(5, 2))).ShouldSatisfyAllConditions(
            o => o.State.ShouldBe(PeerState.Pending), o => o.JoinedFrom.ShouldBe(2));
        (await SeenAsync(b, a)).ShouldBe([9, 5]);
        (await b.ObserveAsync(a, c12, await a.ProofsAsync(12, 9, 5))).State.ShouldBe(PeerState.Verified);
        (await SeenAsync(b, a)).ShouldBe([12]);
        (await b.ObserveAsync(a, c5)).State.ShouldBe(PeerState.Verified);
        (await b.ScalarAsync<long>("SELECT count(*) FROM ledger.alarm")).ShouldBe(0);
    }

    [Fact]
    public async Task Without_a_proof_from_the_highest_verified_size_nothing_is_verified()
    {
        await using var a = await LedgerDatabase.CreateAsync(postgres);
        await using var b = await LedgerDatabase.CreateAsync(postgres, "b");
        var (c2, c5, c9) = (await a.GrowAsync(2), await a.GrowAsync(3), await a.GrowAsync(4));
        await b.ObserveAsync(a, c2);
        await b.ObserveAsync(a, c5, await a.ProofsAsync(5, 2));
        (await b.ObserveAsync(a, c9)).ShouldSatisfyAllConditions(
            o => o.State.ShouldBe(PeerState.Pending), o => o.JoinedFrom.ShouldBeNull());
        (await b.ObserveAsync(a, c9, await a.ProofsAsync(9, 2))).ShouldSatisfyAllConditions(
            o => o.State.ShouldBe(PeerState.Pending), o => o.JoinedFrom.ShouldBe(2));
        (await b.ObserveAsync(a, c9, await a.ProofsAsync(9, 5))).State.ShouldBe(PeerState.Verified);
    }

    /// <summary>A second history of a, with a's own key: what a gateway that rewrites its ledger would sign.</summary>
    private async Task<(LedgerDatabase Rewritten, LedgerKey Key)> RewriteAsync(LedgerDatabase a, int entries)
    {
        var rewritten = await LedgerDatabase.CreateAsync(postgres);
        await rewritten.InTransactionAsync(t =>
            StoredLedger.AppendManyAsync(
                t, [.. Enumerable.Range(0, entries).Select(i => rewritten.NewEntry($"other-{i}"))],
                CancellationToken.None));
        var sequencer = rewritten.NewSequencer(key: a.LogKey);
        await sequencer.RunOnceAsync(CancellationToken.None);
        return (rewritten, a.LogKey);
    }

    [Fact]
    public async Task A_rewritten_log_of_the_same_size_is_a_fork_with_both_notes_as_evidence()
    {
        await using var a = await LedgerDatabase.CreateAsync(postgres);
        await using var b = await LedgerDatabase.CreateAsync(postgres, "b");
        var honest = await a.GrowAsync(4);
        await b.ObserveAsync(a, honest);
        var (rewritten, _) = await RewriteAsync(a, 4);
        await using var __ = rewritten;
        await using var connection = await rewritten.Gateway.OpenConnectionAsync();
        var forged = (await StoredLedger.HeadAsync(connection, CancellationToken.None))!;
        forged.IsSignedBy(a.LogKey.Verifier).ShouldBeTrue();
        var observation = await b.ObserveAsync(a, forged);
        observation.State.ShouldBe(PeerState.Fork);
        observation.Cosignature.ShouldBeNull();
        observation.AlarmRaised.ShouldBeTrue();
        (await b.ObserveAsync(a, forged)).ShouldSatisfyAllConditions(
            o => o.State.ShouldBe(PeerState.Fork), o => o.AlarmRaised.ShouldBeFalse());
        var evidence = await b.ScalarAsync<byte[][]>("SELECT evidence FROM ledger.alarm WHERE kind = 'fork'");
        evidence.ShouldBe([honest.Note.ToArray(), forged.Note.ToArray()]);
        // The honest history goes on being followed.
        var grown = await a.GrowAsync(1);
        (await b.ObserveAsync(a, grown, await a.ProofsAsync(5, 4))).State.ShouldBe(PeerState.Verified);
    }

    [Fact]
    public async Task A_rewritten_log_that_grew_cannot_prove_its_past()
    {
        await using var a = await LedgerDatabase.CreateAsync(postgres);
        await using var b = await LedgerDatabase.CreateAsync(postgres, "b");
        await b.ObserveAsync(a, await a.GrowAsync(4));
        var (rewritten, _) = await RewriteAsync(a, 9);
        await using var __ = rewritten;
        await using var connection = await rewritten.Gateway.OpenConnectionAsync();
        var forged = (await StoredLedger.HeadAsync(connection, CancellationToken.None))!;
        (await b.ObserveAsync(a, forged)).State.ShouldBe(PeerState.Pending, "silence is not yet a fork");
        (await b.ObserveAsync(a, forged, await rewritten.ProofsAsync(9, 4))).State.ShouldBe(PeerState.Fork);
        (await AlarmsAsync(b, "fork")).ShouldBe(1);
        (await SeenAsync(b, a))[0].ShouldBe(4, "the fork did not become what is verified");
    }

    private static Task<int> OverdueAsync(LedgerDatabase watcher) =>
        watcher.InTransactionAsync(t =>
            watcher.Peers.AlarmOverdueAsync(t, TimeSpan.FromHours(24), CancellationToken.None));

    [Theory]
    [InlineData(3)]
    [InlineData(9)]
    public async Task A_rewrite_that_stays_silent_about_its_past_is_a_rollback_once_it_had_time_to_prove_it(int size)
    {
        await using var a = await LedgerDatabase.CreateAsync(postgres);
        await using var b = await LedgerDatabase.CreateAsync(postgres, "b");
        await b.ObserveAsync(a, await a.GrowAsync(4));
        var (rewritten, _) = await RewriteAsync(a, size);
        await using var __ = rewritten;
        await using var connection = await rewritten.Gateway.OpenConnectionAsync();
        (await b.ObserveAsync(a, (await StoredLedger.HeadAsync(connection, CancellationToken.None))!)).State.ShouldBe(
            PeerState.Pending);
        (await OverdueAsync(b)).ShouldBe(0);
        b.Time.Advance(TimeSpan.FromHours(25));
        (await OverdueAsync(b)).ShouldBe(0, "it did not come again");
        await rewritten.AppendAsync();
        var sequencer = rewritten.NewSequencer(key: a.LogKey);
        (await b.ObserveAsync(a, (await sequencer.RunOnceAsync(CancellationToken.None))!)).State.ShouldBeOneOf(
            PeerState.Pending, PeerState.Fork);

        (await OverdueAsync(b)).ShouldBe(1);
        (await OverdueAsync(b)).ShouldBe(0);
        (await AlarmsAsync(b, "rollback")).ShouldBe(1);
    }

    [Fact]
    public async Task An_honest_checkpoint_that_waited_and_was_joined_is_no_rollback()
    {
        await using var a = await LedgerDatabase.CreateAsync(postgres);
        await using var b = await LedgerDatabase.CreateAsync(postgres, "b");
        var (c2, c5, c9) = (await a.GrowAsync(2), await a.GrowAsync(3), await a.GrowAsync(4));
        await b.ObserveAsync(a, c2);
        (await b.ObserveAsync(a, c5)).State.ShouldBe(PeerState.Pending);
        b.Time.Advance(TimeSpan.FromHours(30));
        (await b.ObserveAsync(a, c9, await a.ProofsAsync(9, 2, 5))).State.ShouldBe(PeerState.Verified);
        (await OverdueAsync(b)).ShouldBe(0);
    }

    [Fact]
    public async Task A_note_that_the_peer_did_not_sign_changes_nothing_but_the_alarms()
    {
        await using var a = await LedgerDatabase.CreateAsync(postgres);
        await using var b = await LedgerDatabase.CreateAsync(postgres, "b");
        await using var stranger = await LedgerDatabase.CreateAsync(postgres);
        var foreign = await stranger.GrowAsync(2);
        (await b.ObserveAsync(a, foreign)).State.ShouldBe(PeerState.BadSignature);
        var junk = await b.InTransactionAsync(t =>
            b.Peers.ObserveAsync(
                t, a.LogKey.Verifier, Encoding.UTF8.GetBytes("junk"), new Dictionary<long, IReadOnlyList<byte[]>>(),
                CancellationToken.None));
        junk.State.ShouldBe(PeerState.BadSignature);
        junk.Checkpoint.ShouldBeNull();
        (await AlarmsAsync(b, "bad-signature")).ShouldBe(2);
        (await b.ScalarAsync<long>("SELECT count(*) FROM ledger.peer_checkpoint")).ShouldBe(0);
    }

    [Fact]
    public async Task A_peer_that_never_proves_anything_cannot_fill_the_table()
    {
        await using var a = await LedgerDatabase.CreateAsync(postgres);
        await using var b = await LedgerDatabase.CreateAsync(postgres, "b");
        await b.ObserveAsync(a, await a.GrowAsync(1));
        await b.ExecuteAsync(
            """
            INSERT INTO ledger.peer_checkpoint (origin, size, root, note, state, seen_at)
            SELECT $1, 100 + i, decode(repeat('00', 32), 'hex'), '\x00', 'pending', now()
            FROM generate_series(1, 1000) i
            """,
            a.LogKey.Name);
        var next = await a.GrowAsync(1);
        (await Should.ThrowAsync<LedgerException>(() => b.ObserveAsync(a, next))).Fault.ShouldBe(LedgerFault.TooLarge);
        (await SeenAsync(b, a)).ShouldBe([
            1,
            .. Enumerable.Range(101, LedgerEvidence.MaxProofs - 1).Select(size => (long)size),
        ]);
    }

    [Fact]
    public async Task Evidence_travels_as_octets_and_convinces_the_receiver()
    {
        await using var a = await LedgerDatabase.CreateAsync(postgres);
        await using var b = await LedgerDatabase.CreateAsync(postgres, "b");
        var receipt = await a.AppendAsync();
        await using var connection = await a.Gateway.OpenConnectionAsync();
        (
            await Should.ThrowAsync<LedgerException>(() =>
                EvidenceBuilder.BuildAsync(connection, receipt.EntryId, [], [], CancellationToken.None))
        ).Fault.ShouldBe(LedgerFault.NotCovered);
        (
            await Should.ThrowAsync<LedgerException>(() =>
                EvidenceBuilder.BuildAsync(connection, receipt.EntryId + 100, [], [], CancellationToken.None))
        ).Fault.ShouldBe(LedgerFault.NotFound);
        await b.ObserveAsync(a, await a.GrowAsync(4));
        await a.GrowAsync(3);
        var ours = await b.GrowAsync(2);
        await a.ObserveAsync(b, ours);
        var cosignature = await a.InTransactionAsync(t =>
            a.Peers.CosignHighestAsync(t, b.LogKey.Name, CancellationToken.None));

        var built = await EvidenceBuilder.BuildAsync(
            connection, receipt.EntryId, await SeenAsync(b, a), [cosignature!], CancellationToken.None);
        var read = LedgerEvidence.Parse(built.ToBytes());
        read.Verify(a.LogKey.Verifier).ShouldBeNull();
        read.Verify(b.LogKey.Verifier)!.Code.ShouldBe("checkpoint-signature");
        read.Entry.Object.ShouldBe("dispatch-1");
        var observation = await b.InTransactionAsync(t =>
            b.Peers.ObserveAsync(t, a.LogKey.Verifier, read.Checkpoint.Note, read.Consistency, CancellationToken.None));
        observation.State.ShouldBe(PeerState.Verified);
        (
            await b.InTransactionAsync(t =>
                PeerLedger.AddCosignatureAsync(
                    t, a.CosignerKey.Verifier, read.Cosignatures.ShouldHaveSingleItem(), CancellationToken.None))
        ).ShouldBeTrue();

        var bent = Encoding
            .UTF8.GetString(built.ToBytes())
            .Replace($"\"index\":{built.Index},", $"\"index\":{built.Index + 1},", StringComparison.Ordinal);
        LedgerEvidence.Parse(Encoding.UTF8.GetBytes(bent)).Verify(a.LogKey.Verifier)!.Code.ShouldBe("inclusion");
    }
}
