using System.CommandLine;
using System.Globalization;
using SecureMail.Gateway.Policy;
using SecureMail.Gateway.Registers;
using SecureMail.Gateway.Words;
using SecureMail.Host.Words;

namespace SecureMail.Host.Commands;

/// <summary>The numbers of outgoing documents: listed, what is missing among them, one cancelled, and how a body
/// numbers.</summary>
internal static class RegistersCommand
{
    public static Command Create()
    {
        var command = new Command("registers", Phrase.Of("registers.help"));
        command.Subcommands.Add(List());
        command.Subcommands.Add(Gaps());
        command.Subcommands.Add(Cancel());
        command.Subcommands.Add(Numbering());
        return command;
    }

    private static Option<string?> Agency() => new("--agency") { Description = Phrase.Of("registers.agency") };

    private static Command List()
    {
        var (agency, json) = (Agency(), CommandLine.JsonLines());
        return GatewayCommand.Create<NumberRegister>(
            "list",
            Phrase.Help("registers.list.help", "securemail registers list --agency H90.SL.001"),
            [agency, json],
            async (numbers, parsed, cancellationToken) =>
            {
                foreach (var number in await numbers.ListAsync(parsed.GetValue(agency), cancellationToken))
                {
                    if (parsed.GetValue(json))
                    {
                        CommandLine.WriteJson(number);
                    }
                    else
                    {
                        var state = Catalogue.InBoth(language => Catalogue.NumberState(number.State, language));
                        var detail = number.Reason ?? number.Dispatch?.ToString();
                        Console.Out.WriteLine($"{number.Agency} {number.Period,-10} {number.Text,-20} {state} {detail}");
                    }
                }

                return ExitCode.Done;
            });
    }

    private static Command Gaps()
    {
        var (agency, json) = (Agency(), CommandLine.JsonLines());
        return GatewayCommand.Create<NumberRegister>(
            "gaps",
            Phrase.Help("registers.gaps.help", "securemail registers gaps --agency H90.SL.001"),
            [agency, json],
            async (numbers, parsed, cancellationToken) =>
            {
                var gaps = await numbers.GapsAsync(parsed.GetValue(agency), cancellationToken);
                foreach (var gap in gaps)
                {
                    if (parsed.GetValue(json))
                    {
                        CommandLine.WriteJson(gap);
                    }
                    else
                    {
                        var missing = gap.First == gap.Last ? $"{gap.First}" : $"{gap.First}..{gap.Last}";
                        Console.Out.WriteLine($"{gap.Agency} {gap.Period,-10} {gap.Type}/{gap.Body}: {missing}");
                    }
                }

                return gaps.Count == 0 ? ExitCode.Done : ExitCode.Wanting;
            });
    }

    private static Command Cancel()
    {
        var agency = Agency();
        var number = new Argument<string>("NUMBER") { Description = Phrase.Of("registers.argument-number") };
        var reason = new Option<string>("--reason") { Description = Phrase.Of("registers.reason"), Required = true };
        var on = new Option<string?>("--on") { Description = Phrase.Of("registers.on") };
        return GatewayCommand.Create<NumberRegister, OperatorAccount>(
            "cancel",
            Phrase.Help(
                "registers.cancel.help",
                "securemail registers cancel 36-HD/VPTW --agency H90.SL.001 --reason \"Không phát hành\""),
            [number, agency, reason, on],
            async (numbers, person, parsed, cancellationToken) =>
            {
                await numbers.CancelAsync(
                    parsed.GetValue(agency), parsed.GetValue(number)!, parsed.GetValue(reason)!,
                    await person.AuthorityAsync(cancellationToken), cancellationToken,
                    parsed.GetValue(on) is { } day
                        ? new DateTimeOffset(DateOf(day), new TimeOnly(12, 0), TimeSpan.FromHours(7))
                        : null);
                return ExitCode.Done;
            });
    }

    private static Command Numbering()
    {
        var agency = Agency();
        var body = new Argument<string>("BODY") { Description = Phrase.Of("registers.argument-body") };
        var term = new Option<string[]>("--term") { Description = Phrase.Of("registers.term") };
        var one = new Option<bool>("--one-series") { Description = Phrase.Of("registers.one-series") };
        return GatewayCommand.Create<NumberRegister, OperatorAccount>(
            "numbering",
            Phrase.Help(
                "registers.numbering.help",
                "securemail registers numbering TU --agency H90.SL.001 --term 2025-10-16"),
            [body, agency, term, one],
            async (numbers, person, parsed, cancellationToken) =>
            {
                await numbers.SetNumberingAsync(
                    parsed.GetValue(agency), parsed.GetValue(body)!,
                    [.. (parsed.GetValue(term) ?? []).Select(DateOf)], parsed.GetValue(one),
                    await person.AuthorityAsync(cancellationToken), cancellationToken);
                return ExitCode.Done;
            });
    }

    private static DateOnly DateOf(string text) =>
        DateOnly.TryParseExact(text, "yyyy-MM-dd", CultureInfo.InvariantCulture, DateTimeStyles.None, out var day)
            ? day
            : throw new UsageException(Phrase.Of("registers.date-form"));
}
