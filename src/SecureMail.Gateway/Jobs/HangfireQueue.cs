using Npgsql;
using SecureMail.Storage;

namespace SecureMail.Gateway.Jobs;

/// <summary>
/// Hands jobs to Hangfire with plain SQL, in the caller's transaction: the job is queued exactly when what asks for it
/// is durable, and a command need not load Hangfire for it.
/// </summary>
/// <remarks>
/// The rows are those that Hangfire.PostgreSql 1.21 writes: the call in <c>job</c>, its state in <c>state</c>, its
/// place in <c>jobqueue</c>. A test lets Hangfire do what was queued here. The names of types are ours (<c>Jobs</c> in
/// the host resolves them and no others), so that no row can name other code.
/// </remarks>
internal static class HangfireQueue
{
    /// <summary>The name of the class of jobs, and of the type of its argument.</summary>
    public const string JobsType = "securemail-jobs",
        GuidType = "guid";

    /// <summary>Queues one call of a method for each argument.</summary>
    /// <param name="method">A method of the class of jobs that takes one Guid.</param>
    public static Task EnqueueAsync(
        NpgsqlTransaction transaction, string method, IReadOnlyCollection<Guid> arguments,
        CancellationToken cancellationToken) =>
        arguments.Count == 0
            ? Task.CompletedTask
            : transaction.ExecuteAsync(
                $"""
                WITH call AS MATERIALIZED (
                  SELECT nextval('hangfire.job_id_seq') AS job, nextval('hangfire.state_id_seq') AS state,
                    jsonb_build_array(to_json(argument::text)::text) AS arguments
                  FROM unnest(@arguments) argument),
                job AS (
                  INSERT INTO hangfire.job (id, stateid, statename, invocationdata, arguments, createdat)
                  SELECT job, state, 'Enqueued',
                    jsonb_build_object(
                      'Type', '{JobsType}', 'Method', @method, 'ParameterTypes', '["{GuidType}"]',
                      'Arguments', arguments::text),
                    arguments, now()
                  FROM call),
                state AS (
                  INSERT INTO hangfire.state (id, jobid, name, createdat, data)
                  SELECT state, job, 'Enqueued', now(), jsonb_build_object(
                    'EnqueuedAt', to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
                    'Queue', '{Queue}')
                  FROM call)
                INSERT INTO hangfire.jobqueue (jobid, queue) SELECT job, '{Queue}' FROM call;
                NOTIFY new_job
                """,
                new { method, arguments = arguments.ToArray() }, cancellationToken);

    /// <summary>SQL: whether Hangfire has a call queued or under way for the Guid
    /// <paramref name="argument"/>.</summary>
    public static string IsQueued(string argument) =>
        $"""
        EXISTS (
          SELECT FROM hangfire.jobqueue q JOIN hangfire.job h ON h.id = q.jobid
          WHERE h.arguments ->> 0 = '"' || {argument} || '"')
        """;

    private const string Queue = "default";
}
