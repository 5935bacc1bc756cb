using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using SecureMail.Exchange;
using SecureMail.Gateway.Jobs;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Gateway.Words;
using SecureMail.Host.Words;

namespace SecureMail.Host.Commands;

/// <summary>The jobs that run beside the mail: listed, and shown with their progress.</summary>
internal static class JobsCommand
{
    private const int Listed = 200;

    public static Command Create()
    {
        var command = new Command("jobs", Phrase.Of("jobs.help"));
        command.Subcommands.Add(List());
        command.Subcommands.Add(Show());
        return command;
    }

    /// <summary>The option of a command whose work a serving gateway can do.</summary>
    public static Option<bool> Background() => new("--background") { Description = Phrase.Of("jobs.background") };

    /// <summary>Says which job was asked for.</summary>
    public static int Requested(Guid job, bool json)
    {
        CommandLine.Say(json, "", new { Job = job }, Phrase.Of("jobs.requested", job));
        return ExitCode.Done;
    }

    private static Command List()
    {
        var json = CommandLine.JsonLines();
        return GatewayCommand.Create<JobRegister>(
            "list",
            Phrase.Help("jobs.list.help", "securemail jobs list"),
            [json],
            async (jobs, parsed, cancellationToken) =>
            {
                foreach (var job in await jobs.ListAsync(Listed, cancellationToken))
                {
                    if (parsed.GetValue(json))
                    {
                        CommandLine.WriteJson(job);
                    }
                    else
                    {
                        var state = Both(job.State, Catalogue.JobState);
                        Console.Out.WriteLine(
                            $"{job.Id} {job.RequestedAt:u} {Both(job.Kind, Catalogue.Job)}: {state} {Progress(job)}");
                    }
                }

                return ExitCode.Done;
            });
    }

    private static Command Show()
    {
        var id = new Argument<Guid>("ID") { Description = Phrase.Of("jobs.argument-id") };
        var json = CommandLine.JsonLines();
        return GatewayCommand.Create<JobRegister>(
            "show",
            Phrase.Help("jobs.show.help", "securemail jobs show 0192f0c3-…"),
            [id, json],
            async (jobs, parsed, cancellationToken) =>
            {
                if (await jobs.FindAsync(parsed.GetValue(id), cancellationToken) is not { } job)
                {
                    Console.Error.WriteLine(Phrase.Of("jobs.none-such", parsed.GetValue(id)));
                    return ExitCode.Wanting;
                }

                if (parsed.GetValue(json))
                {
                    CommandLine.WriteJson(job);
                }
                else
                {
                    Write(job);
                }

                return ExitOf(job);
            });
    }

    private static void Write(JobRow job)
    {
        Console.Out.WriteLine(Phrase.Of("jobs.show.kind", Words(job.Kind, Catalogue.Job)));
        Console.Out.WriteLine(Phrase.Of("jobs.show.state", Words(job.State, Catalogue.JobState)));
        Console.Out.WriteLine(Phrase.Of("jobs.show.requested", job.RequestedAt));
        if (job.StartedAt is { } started)
        {
            Console.Out.WriteLine(Phrase.Of("jobs.show.started", started));
            Console.Out.WriteLine(Phrase.Of("jobs.show.done", Progress(job)));
        }

        if (job.EndedAt is { } ended)
        {
            Console.Out.WriteLine(Phrase.Of("jobs.show.ended", ended));
        }

        if (job.Result is { } result)
        {
            Console.Out.WriteLine(
                Phrase.Of("jobs.show.result", JsonSerializer.Serialize(result, FindingJson.Options)));
        }

        if (job.Reason is { } reason)
        {
            Console.Out.WriteLine(Phrase.Of("jobs.show.reason", Words(reason, Catalogue.JobReason)));
        }
    }

    private static int ExitOf(JobRow job) =>
        job.State switch
        {
            JobState.Done => FoundProblems(job) ? ExitCode.Wanting : ExitCode.Done,
            JobState.Failed => ExitCode.Wanting,
            _ => ExitCode.TryLater,
        };

    /// <summary>Whether a verification came to its end and found something wrong.</summary>
    private static bool FoundProblems(JobRow job) =>
        job.Result is { ValueKind: JsonValueKind.Object } result
        && result.TryGetProperty("problems", out var problems)
        && problems.GetArrayLength() > 0;

    private static string Progress(JobRow job) =>
        string.Create(CultureInfo.InvariantCulture, $"{job.Done:N0}")
        + (job.Total is { } total ? string.Create(CultureInfo.InvariantCulture, $" / {total:N0}") : "");

    private static Phrase Words(string value, Func<string, CultureInfo, string> of) =>
        new(of(value, Catalogue.Vietnamese), of(value, Catalogue.English));

    private static string Both(string value, Func<string, CultureInfo, string> of) => Words(value, of);
}
