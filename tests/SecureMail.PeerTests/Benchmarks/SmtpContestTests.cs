using SecureMail.Benchmarks;

namespace SecureMail.PeerTests.Benchmarks;

/// <summary>The measurement itself takes minutes and depends on the machine; here only that both sides do the same
/// work, and that each is on its own clock.</summary>
public sealed class SmtpContestTests
{
    [Fact]
    public async Task The_gateway_and_postfix_accept_and_keep_the_same_octets_each_on_its_own_clock()
    {
        await using var contests = new SmtpContests();
        var contest = contests.All.ShouldHaveSingleItem().Make();
        await contest.Agree();
        var peerClock = contest.PeerClock.ShouldNotBeNull();

        var (ours, theirs) = (contest.Clock(), peerClock());
        await contest.Ours();
        var (oursByOurs, theirsByOurs) = (contest.Clock() - ours, peerClock() - theirs);
        (ours, theirs) = (contest.Clock(), peerClock());
        contest.Theirs();
        var (oursByTheirs, theirsByTheirs) = (contest.Clock() - ours, peerClock() - theirs);

        oursByOurs.ShouldBeGreaterThan(oursByTheirs);
        theirsByTheirs.ShouldBeGreaterThan(theirsByOurs);
    }
}
