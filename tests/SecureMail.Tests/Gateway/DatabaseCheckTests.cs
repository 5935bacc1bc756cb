using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Time.Testing;
using SecureMail.Gateway.Health;
using SecureMail.Storage;

namespace SecureMail.Tests.Gateway;

public sealed class DatabaseCheckTests
{
    private readonly FakeTimeProvider _time = new();
    private readonly CommitSignal _commits = CommitSignal.Of(
        $"Database={Guid.NewGuid()}", CommittedRows.ReadyWork);

    [Fact]
    public async Task An_answer_without_an_issue_holds_for_three_seconds_while_nothing_is_committed()
    {
        var check = new Check(_time, _commits);
        await check.LookAsync();
        await check.LookAsync();
        check.Asked.ShouldBe(1);

        _time.Advance(TimeSpan.FromSeconds(3));
        await check.LookAsync();
        check.Asked.ShouldBe(2);
    }

    [Fact]
    public async Task A_commit_of_this_process_makes_the_check_ask_again()
    {
        var check = new Check(_time, _commits);
        await check.LookAsync();
        _commits.Raise();
        await check.LookAsync();
        await check.LookAsync();
        check.Asked.ShouldBe(2);
    }

    [Fact]
    public async Task An_issue_and_a_fault_are_asked_for_at_each_look()
    {
        var check = new Check(_time, _commits) { Found = [HealthIssue.QueueFull] };
        (await check.LookAsync()).Status.ShouldBe(HealthStatus.Unhealthy);
        await check.LookAsync();
        check.Asked.ShouldBe(2);

        check.Fault = new TimeoutException();
        await Should.ThrowAsync<TimeoutException>(check.LookAsync);
        check.Fault = null;
        check.Found = [];
        (await check.LookAsync()).Status.ShouldBe(HealthStatus.Healthy);
        check.Asked.ShouldBe(4);
    }

    [Fact]
    public async Task A_check_without_the_signal_asks_at_each_look()
    {
        var check = new Check(_time, commits: null);
        await check.LookAsync();
        await check.LookAsync();
        check.Asked.ShouldBe(2);
    }

    private sealed class Check(TimeProvider time, CommitSignal? commits)
        : DatabaseCheck(Turn, time, commits)
    {
        private static readonly DatabaseTurn Turn = new();

        public int Asked { get; private set; }

        public IReadOnlyList<HealthIssue> Found { get; set; } = [];

        public Exception? Fault { get; set; }

        public Task<HealthCheckResult> LookAsync() => CheckHealthAsync(new HealthCheckContext());

        protected override Task<IReadOnlyList<HealthIssue>> AskAsync(CancellationToken cancellationToken)
        {
            Asked++;
            return Fault is { } fault
                ? Task.FromException<IReadOnlyList<HealthIssue>>(fault)
                : Task.FromResult(Found);
        }
    }
}
