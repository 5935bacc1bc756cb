using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Options;
using Microsoft.Extensions.Time.Testing;
using Npgsql;
using SecureMail.Gateway.Health;
using SecureMail.Storage;

namespace SecureMail.Tests.Gateway;

/// <summary>What the health checks make of an answer, and what admission makes of them.</summary>
public sealed class HealthTests
{
    [Fact]
    public void Each_check_is_registered_once_with_the_limit_of_a_slow_database()
    {
        using var services = new ServiceCollection()
            .AddSingleton(new HealthOptions { SlowDatabase = TimeSpan.FromSeconds(3) })
            .AddGatewayHealth()
            .BuildServiceProvider();
        var checks = services.GetRequiredService<IOptions<HealthCheckServiceOptions>>().Value.Registrations;
        checks.Select(c => c.Name).ShouldBe(
            ["clock", "commit", "backup", "queue", "directory", "disk", "temporary-folder"]);
        checks.ShouldAllBe(c => c.Timeout == TimeSpan.FromSeconds(3) && c.Tags.Count == 1);
    }

    [Fact]
    public void A_result_is_as_bad_as_what_its_issues_refuse()
    {
        HealthChecks.Result([]).Status.ShouldBe(HealthStatus.Healthy);
        HealthChecks.Result([HealthIssue.NoDirectory]).Status.ShouldBe(HealthStatus.Degraded);
        HealthChecks.Result([HealthIssue.NoDirectory, HealthIssue.QueueFull]).Status.ShouldBe(HealthStatus.Unhealthy);
        HealthChecks.Result([HealthIssue.WorkGivenUp]).Status.ShouldBe(HealthStatus.Degraded);
        HealthChecks.Result([HealthIssue.QueueFull]).Data["queue-full"].ShouldBe(HealthIssue.QueueFull);
    }

    [Theory]
    [InlineData("away", "database")]
    [InlineData("late", "database-slow")]
    [InlineData("timed out", "database-slow")]
    [InlineData("full", "database-full, queue-full")]
    [InlineData("away, late", "database")]
    [InlineData("", "queue-full")]
    public async Task What_the_database_answers_is_named(string faults, string named)
    {
        var entries = faults
            .Split(", ", StringSplitOptions.RemoveEmptyEntries)
            .Select(f => Entry(f switch
            {
                "away" => new NpgsqlException("refused"),
                "late" => new OperationCanceledException(),
                "timed out" => new NpgsqlException("read", new TimeoutException()),
                _ => new PostgresException("no space", "ERROR", "ERROR", PostgresErrorCodes.DiskFull),
            }))
            .Append(Entry(null, HealthIssue.QueueFull));
        using var admission = Admission(new Checks(() => Task.FromResult(Report(entries))));
        (await admission.ProblemsAsync(CancellationToken.None)).ShouldBe(named.Split(", "));
    }

    [Fact]
    public async Task A_fault_of_the_program_is_no_issue_of_the_database()
    {
        using var admission = Admission(
            new Checks(() => Task.FromResult(Report([Entry(new InvalidCastException())]))));
        await Should.ThrowAsync<InvalidCastException>(() => admission.ProblemsAsync(CancellationToken.None));
    }

    [Fact]
    public async Task A_database_that_does_not_answer_is_slow_and_is_not_asked_twice()
    {
        var answer = new TaskCompletionSource<HealthReport>();
        var checks = new Checks(() => answer.Task);
        var time = new FakeTimeProvider();
        using var admission = Admission(checks, time);
        for (var n = 0; n < 2; n++)
        {
            var asked = admission.ProblemsAsync(CancellationToken.None);
            asked.IsCompleted.ShouldBeFalse();
            time.Advance(Slow);
            (await asked).ShouldBe(["database-slow"]);
            time.Advance(TimeSpan.FromSeconds(1));
        }

        admission.RefusingMail.ShouldBe(HealthIssue.DatabaseSlow);
        admission.DatabaseAway.ShouldBe(HealthIssue.DatabaseSlow);
        checks.Asked.ShouldBe(1);
        answer.SetResult(Report([Entry(null)]));
        (await admission.ProblemsAsync(CancellationToken.None)).ShouldBeEmpty();
        admission.RefusingMail.ShouldBeNull();
        admission.DatabaseAway.ShouldBeNull();
    }

    [Fact]
    public async Task An_answer_is_good_for_a_second_where_nothing_is_refused()
    {
        var checks = new Checks(() => Task.FromResult(Report([Entry(null)])));
        var time = new FakeTimeProvider();
        using var admission = Admission(checks, time);
        await admission.RequireForSubmissionAsync(CancellationToken.None);
        time.Advance(TimeSpan.FromMilliseconds(999));
        await admission.RequireForSubmissionAsync(CancellationToken.None);
        checks.Asked.ShouldBe(1);
        time.Advance(TimeSpan.FromMilliseconds(1));
        await admission.RequireForSubmissionAsync(CancellationToken.None);
        checks.Asked.ShouldBe(2);
    }

    [Fact]
    public async Task A_refusal_is_looked_at_anew_so_that_what_was_mended_is_not_held_against_anybody()
    {
        IReadOnlyList<HealthIssue> found = [HealthIssue.QueueFull];
        var checks = new Checks(() => Task.FromResult(Report([Entry(null, [.. found])])));
        var time = new FakeTimeProvider();
        using var admission = Admission(checks, time);
        await RefusedAsync();
        found = [];
        // Within the same moment nothing is asked again.
        time.Advance(TimeSpan.FromMilliseconds(99));
        await RefusedAsync();
        checks.Asked.ShouldBe(1);
        time.Advance(TimeSpan.FromMilliseconds(1));
        await admission.RequireForSubmissionAsync(CancellationToken.None);
        checks.Asked.ShouldBe(2);

        Task RefusedAsync() =>
            Should.ThrowAsync<NotTakenNowException>(
                () => admission.RequireForSubmissionAsync(CancellationToken.None));
    }

    [Fact]
    public async Task What_refuses_nothing_lets_submissions_pass()
    {
        using var admission = Admission(
            new Checks(() => Task.FromResult(Report([Entry(null, HealthIssue.WorkGivenUp)]))), new FakeTimeProvider());
        await admission.RequireForSubmissionAsync(CancellationToken.None);
        (await admission.ProblemsAsync(CancellationToken.None)).ShouldBe([HealthIssue.WorkGivenUp.Name]);
    }

    [Fact]
    public async Task A_full_disk_that_a_write_met_is_said_for_ten_seconds()
    {
        var time = new FakeTimeProvider();
        using var admission = Admission(new Checks(() => Task.FromResult(Report([Entry(null)]))), time);
        admission.SawDiskFull();
        (await admission.ProblemsAsync(CancellationToken.None)).ShouldBe(["database-full"]);
        time.Advance(TimeSpan.FromSeconds(9.9));
        (await admission.ProblemsAsync(CancellationToken.None)).ShouldBe(["database-full"]);
        admission.SawDiskFull();
        time.Advance(TimeSpan.FromSeconds(9.9));
        (await admission.ProblemsAsync(CancellationToken.None)).ShouldBe(["database-full"]);
        time.Advance(TimeSpan.FromSeconds(0.1));
        (await admission.ProblemsAsync(CancellationToken.None)).ShouldBeEmpty();
    }

    private static readonly TimeSpan Slow = TimeSpan.FromSeconds(5);

    private static Admission Admission(HealthCheckService checks, TimeProvider? time = null) =>
        new(
            checks, null!, new HealthOptions { SlowDatabase = Slow }, time ?? TimeProvider.System,
            NullLogger<Admission>.Instance);

    private static HealthReportEntry Entry(Exception? exception, params HealthIssue[] issues) =>
        new(
            exception is null ? HealthStatus.Healthy : HealthStatus.Unhealthy, null, TimeSpan.Zero, exception,
            HealthChecks.Result(issues).Data);

    private static HealthReport Report(IEnumerable<HealthReportEntry> entries) =>
        new(
            entries.Select((e, n) => (e, n)).ToDictionary(p => $"check {p.n}", p => p.e),
            TimeSpan.Zero);

    /// <summary>The platform's service with given answers of the database; the volumes have room.</summary>
    private sealed class Checks(Func<Task<HealthReport>> database) : HealthCheckService
    {
        public int Asked { get; private set; }

        public override Task<HealthReport> CheckHealthAsync(
            Func<HealthCheckRegistration, bool>? predicate, CancellationToken cancellationToken = default)
        {
            var registration = new HealthCheckRegistration("any", _ => null!, null, [HealthChecks.Database]);
            if (!predicate!(registration))
            {
                return Task.FromResult(Report([]));
            }

            Asked++;
            return database();
        }
    }
}
