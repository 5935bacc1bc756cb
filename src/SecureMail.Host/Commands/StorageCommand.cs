using System.CommandLine;
using SecureMail.Gateway.Jobs;
using SecureMail.Gateway.Policy;
using SecureMail.Host.Words;
using SecureMail.Storage;

namespace SecureMail.Host.Commands;

/// <summary>The keys under which everything that is stored lies.</summary>
internal static class StorageCommand
{
    public static Command Create()
    {
        var command = new Command("storage", Phrase.Of("storage.help"));
        var resume = new Option<bool>("--resume")
        {
            Description = Phrase.Of("storage.resume"),
        };
        var background = JobsCommand.Background();
        var json = CommandLine.JsonLines();
        command.Subcommands.Add(
            GatewayCommand.Create<JobRegister, OperatorAccount>(
                "rotate",
                Phrase.Help(
                    "storage.rotate.help", "securemail storage rotate", "securemail storage rotate --background"),
                [resume, background, json],
                async (jobs, person, parsed, cancellationToken) =>
                {
                    var by = await person.AuthorityAsync(cancellationToken);
                    if (parsed.GetValue(background))
                    {
                        return JobsCommand.Requested(
                            await jobs.RequestRotationAsync(!parsed.GetValue(resume), by, cancellationToken),
                            parsed.GetValue(json));
                    }

                    var answer = await jobs.RotateAsync(!parsed.GetValue(resume), by, cancellationToken);
                    CommandLine.Say(
                        parsed.GetValue(json),
                        "",
                        answer,
                        Phrase.Of(
                            "storage.rotated",
                            answer.Key,
                            answer.Rewrapped,
                            string.Join(", ", answer.Unused.DefaultIfEmpty("-"))));
                    return ExitCode.Done;
                }));
        return command;
    }
}
