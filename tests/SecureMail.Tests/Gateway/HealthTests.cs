using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Options;
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
        using var admission = Admission(checks, TimeSpan.FromMilliseconds(20));
        (await admission.ProblemsAsync(CancellationToken.None)).ShouldBe(["database-slow"]);
        await Task.Delay(150);
        (await admission.ProblemsAsync(CancellationToken.None)).ShouldBe(["database-slow"]);
        admission.RefusingMail.ShouldBe(HealthIssue.DatabaseSlow);
        checks.Asked.ShouldBe(1);
        answer.SetResult(Report([Entry(null)]));
        await Task.Delay(150);
        (await admission.ProblemsAsync(CancellationToken.None)).ShouldBeEmpty();
        admission.RefusingMail.ShouldBeNull();
    }

    private static Admission Admission(HealthCheckService checks, TimeSpan? slow = null) =>
        new(
            checks, null!, new HealthOptions { SlowDatabase = slow ?? TimeSpan.FromSeconds(5) }, TimeProvider.System,
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
