using System.CommandLine;
using SecureMail.Storage.Queue;

namespace SecureMail.Host.Commands;

/// <summary>The work that waits: shown, asked for again, given up.</summary>
internal static class QueueCommand
{
    public static Command Create()
    {
        var command = new Command("queue", "Hàng đợi công việc. / The queue of work.");
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
            "Liệt kê việc đang chờ. / Lists what waits. Ví dụ / example: securemail queue list",
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
                            $"{lane.Destination}: không liên lạc được ({lane.LastError}), {lane.Failures} lần liên "
                                + $"tiếp; thử lại lúc {lane.NotBefore:u}; {lane.Waiting} việc chờ. / The gateway "
                                + "cannot be reached; the next try is then.");
                    }
                }

                return ExitCode.Done;
            });
    }

    private static Command Retry()
    {
        var id = new Argument<long?>("ID")
        {
            Description = "Số của việc; bỏ trống: mọi việc đang chờ người xử lý. / The row; none: all that is held.",
            Arity = ArgumentArity.ZeroOrOne,
        };
        return GatewayCommand.Create<WorkQueue>(
            "retry",
            "Cho làm lại ngay, sau khi đã xử lý nguyên nhân (mã PIN, thiết bị lưu khóa bí mật). / Does it again now. "
                + "Ví dụ / example: securemail queue retry 42",
            [id],
            async (queue, parsed, cancellationToken) =>
            {
                var done = parsed.GetValue(id) is { } one
                    ? await queue.RetryAsync(one, cancellationToken)
                        ? 1
                        : 0
                    : await queue.ReleaseHeldAsync(cancellationToken);
                Console.Out.WriteLine($"{done} việc được làm lại. / {done} put back.");
                return done > 0 || parsed.GetValue(id) is null ? ExitCode.Done : ExitCode.Wanting;
            });
    }

    private static Command Drop()
    {
        var id = new Argument<long>("ID") { Description = "Số của việc. / The row." };
        return GatewayCommand.Create<WorkQueue>(
            "drop",
            "Bỏ một việc. / Gives a piece of work up. Ví dụ / example: securemail queue drop 42",
            [id],
            async (queue, parsed, cancellationToken) =>
                await queue.GiveUpAsync(parsed.GetValue(id), cancellationToken) ? ExitCode.Done : ExitCode.Wanting);
    }
}
