using System.CommandLine;
using SecureMail.Gateway.Jobs;
using SecureMail.Gateway.Policy;
using SecureMail.Host.Words;
using SecureMail.Storage.Queue;

namespace SecureMail.Host.Commands;

/// <summary>The work that waits: shown, asked for again, given up.</summary>
internal static class QueueCommand
{
    public static Command Create()
    {
        var command = new Command("queue", Phrase.Of("queue.help"));
        command.Subcommands.Add(List());
        command.Subcommands.Add(Retry());
        command.Subcommands.Add(Drop());
        return command;
    }

    private static Command List()
    {
        var json = CommandLine.JsonLines();
        return GatewayCommand.Create<WorkQueue, DestinationQueues>(
            "list",
            Phrase.Help("queue.list.help", "securemail queue list"),
            [json],
            async (queue, destinations, parsed, cancellationToken) =>
            {
                foreach (var row in await queue.ListAsync(cancellationToken))
                {
                    if (parsed.GetValue(json))
                    {
                        CommandLine.WriteJson(row);
                    }
                    else
                    {
                        Console.Out.WriteLine(
                            $"{row.Id,8} {row.Kind,-8} {row.State,-7} {row.Attempts,3} {row.RunAt:u} {row.Subject} {row.Destination ?? "-"} {row.LastError}"
                        );
                    }
                }

                if (!parsed.GetValue(json))
                {
                    foreach (var lane in await destinations.BackingOffAsync(cancellationToken))
                    {
                        Console.Out.WriteLine(
                            Phrase.Of(
                                "queue.backing-off",
                                lane.Destination,
                                lane.LastError,
                                lane.Failures,
                                lane.NotBefore,
                                lane.Waiting));
                    }
                }

                return ExitCode.Done;
            });
    }

    private static Command Retry()
    {
        var id = new Argument<long?>("ID")
        {
            Description = Phrase.Of("queue.argument-id"),
            Arity = ArgumentArity.ZeroOrOne,
        };
        return GatewayCommand.Create<WaitingWork, OperatorAccount>(
            "retry",
            Phrase.Help("queue.retry.help", "securemail queue retry 42"),
            [id],
            async (work, person, parsed, cancellationToken) =>
            {
                var by = await person.AuthorityAsync(cancellationToken);
                var done = parsed.GetValue(id) is { } one
                    ? await work.RetryAsync(one, by, cancellationToken)
                        ? 1
                        : 0
                    : await work.ReleaseHeldAsync(by, cancellationToken);
                Console.Out.WriteLine(Phrase.Of("queue.put-back", done));
                return done > 0 || parsed.GetValue(id) is null ? ExitCode.Done : ExitCode.Wanting;
            });
    }

    private static Command Drop()
    {
        var id = new Argument<long>("ID") { Description = Phrase.Of("queue.drop.argument-id") };
        return GatewayCommand.Create<WaitingWork, OperatorAccount>(
            "drop",
            Phrase.Help("queue.drop.help", "securemail queue drop 42"),
            [id],
            async (work, person, parsed, cancellationToken) =>
                await work.DropAsync(
                    parsed.GetValue(id), await person.AuthorityAsync(cancellationToken), cancellationToken)
                    ? ExitCode.Done : ExitCode.Wanting);
    }
}
