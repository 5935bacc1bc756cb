using Npgsql;
using SecureMail.Ledger;
using SecureMail.LedgerStore;
using Xunit.Abstractions;

namespace SecureMail.SystemTests.Ledger;

/// <summary>Old checkpoints are thinned to the last of each day, and what they proved stays provable.</summary>
public sealed class ThinningTests(PostgresFixture postgres, ITestOutputHelper output) : IClassFixture<PostgresFixture>
{
    [Fact]
    public async Task Thinned_ledgers_verify_agree_with_every_checkpoint_ever_shown_and_are_followed_further()
    {
        await using var a = await LedgerDatabase.CreateAsync(postgres);
        await using var b = await LedgerDatabase.CreateAsync(postgres, "b");
        var shown = new List<Checkpoint>();
        for (var day = 0; day < 4; day++)
        {
            for (var n = 0; n < 5; n++)
            {
                var checkpoint = await a.GrowAsync(3);
                var observed = await b.ObserveAsync(
                    a, checkpoint, shown.Count == 0 ? null : await a.ProofsAsync(checkpoint.Size, shown[^1].Size));
                observed.State.ShouldBe(PeerState.Verified);
                if (n is 1 or 3)
                {
                    (
                        await a.InTransactionAsync(t =>
                            PeerLedger.AddCosignatureAsync(
                                t, b.CosignerKey.Verifier, observed.Cosignature!, CancellationToken.None))
                    ).ShouldBeTrue();
                }

                shown.Add(checkpoint);
                foreach (var ledger in new[] { a, b })
                {
                    ledger.Time.Advance(TimeSpan.FromMinutes(10));
                }
            }

            foreach (var ledger in new[] { a, b })
            {
                ledger.Time.Advance(TimeSpan.FromDays(1) - TimeSpan.FromMinutes(50));
            }
        }

        // The rows bear times of the test's clock, months before the database's.
        var thinned = await a.InTransactionAsync(t => ThinAsync(t, "30 days"));
        thinned.ShouldBe((12, 4, 0));
        (await b.InTransactionAsync(t => ThinAsync(t, "30 days"))).ShouldBe((0, 0, 15));
        (await b.InTransactionAsync(t => ThinAsync(t, "30 days"))).ShouldBe((0, 0, 0));
        // Kept of each day: the last, and the one that is cosigned last. Of the peer: the first ever seen and the last
        // of each day.
        (await a.ScalarAsync<long>("SELECT count(*) FROM ledger.checkpoint")).ShouldBe(8);
        (await b.ScalarAsync<long>("SELECT count(*) FROM ledger.peer_checkpoint")).ShouldBe(5);

        var report = await a.VerifyAsync([.. shown]);
        report.Problems.ShouldBeEmpty();
        report.SeenAgreed.ShouldBe(shown.Count);
        var next = await a.GrowAsync(2);
        (await b.ObserveAsync(a, next, await a.ProofsAsync(next.Size, shown[^1].Size))).State.ShouldBe(
            PeerState.Verified);
        // One that was thinned and is shown again waits for a proof as any other, and is joined by it.
        (await b.ObserveAsync(a, shown[7])).State.ShouldBe(PeerState.Pending);
        var later = await a.GrowAsync(1);
        (await b.ObserveAsync(a, later, await a.ProofsAsync(later.Size, next.Size, shown[7].Size))).State.ShouldBe(
            PeerState.Verified);
        (await b.ScalarAsync<long>("SELECT count(*) FROM ledger.peer_checkpoint WHERE state = 'pending'")).ShouldBe(0);
        (await b.ScalarAsync<long>("SELECT count(*) FROM ledger.alarm")).ShouldBe(0);

        (
            await Should.ThrowAsync<PostgresException>(() => a.InTransactionAsync(t => ThinAsync(t, "6 days")))
        ).Message.ShouldContain("seven days");
        output.WriteLine(
            $"{shown.Count} checkpoints of 4 days: 8 kept at home, 5 at the peer, all {shown.Count} still "
                + "agree with the tree"
        );
    }

    private static async Task<(long, long, long)> ThinAsync(NpgsqlTransaction transaction, string older)
    {
        await using var command = new NpgsqlCommand(
            $"SELECT checkpoints, cosignatures, peer_checkpoints FROM ledger.thin(interval '{older}')",
            transaction.Connection, transaction);
        await using var reader = await command.ExecuteReaderAsync();
        await reader.ReadAsync();
        return (reader.GetInt64(0), reader.GetInt64(1), reader.GetInt64(2));
    }
}
