using System.CommandLine;
using SecureMail.Gateway.Policy;
using SecureMail.Host.Errors;
using SecureMail.Host.Words;

namespace SecureMail.Host.Commands;

/// <summary>The decisions that policy rests on: routes that are forbidden, and permissions for marked documents. Each
/// leaves an entry in the ledger.</summary>
internal static class PolicyCommand
{
    public static Command Create()
    {
        var command = new Command("policy", Phrase.Of("policy.help"));
        command.Subcommands.Add(List());
        command.Subcommands.Add(Forbid());
        command.Subcommands.Add(Permit());
        command.Subcommands.Add(SecrecyMark());
        return command;
    }

    private static Command List()
    {
        var json = CommandLine.JsonLines();
        return GatewayCommand.Create<PolicyBook>(
            "list",
            Phrase.Help("policy.list.help", "securemail policy list"),
            [json],
            async (policy, parsed, cancellationToken) =>
            {
                foreach (var line in await policy.ListAsync(cancellationToken))
                {
                    if (parsed.GetValue(json))
                    {
                        CommandLine.WriteJson(line);
                    }
                    else
                    {
                        Console.Out.WriteLine(
                            line.Kind == "route"
                                ? $"{line.Rule,4} {Phrase.Of("policy.forbidden")}: {line.Sender ?? "*"} → "
                                    + $"{line.Recipient ?? "*"}: {line.Detail}"
                                : $"     {Phrase.Of("policy.permitted")}: {line.Sender} "
                                    + $"{Phrase.Of("policy.up-to")} {line.Detail}");
                    }
                }

                return ExitCode.Done;
            });
    }

    private static Command Forbid()
    {
        var from = new Option<string?>("--from")
        {
            Description = Phrase.Of("policy.from"),
        };
        var to = new Option<string?>("--to")
        {
            Description = Phrase.Of("policy.to"),
        };
        var reason = new Option<string>("--reason")
        {
            Description = Phrase.Of("policy.reason"),
            Required = true,
        };
        return GatewayCommand.Create<PolicyBook, OperatorAccount>(
            "forbid",
            Phrase.Help(
                "policy.forbid.help",
                "securemail policy forbid --from H90.SL.101 --to H91.TB.001 --reason \"Gửi qua Tỉnh ủy\""),
            [from, to, reason],
            async (policy, person, parsed, cancellationToken) =>
            {
                Console.Out.WriteLine(
                    await policy.ForbidAsync(
                        parsed.GetValue(from), parsed.GetValue(to), parsed.GetValue(reason)!,
                        await person.AuthorityAsync(cancellationToken), cancellationToken));
                return ExitCode.Done;
            });
    }

    private static Command Permit()
    {
        var rule = new Argument<long>("RULE") { Description = Phrase.Of("policy.argument-rule") };
        return GatewayCommand.Create<PolicyBook, OperatorAccount>(
            "permit",
            Phrase.Help("policy.permit.help", "securemail policy permit 3"),
            [rule],
            async (policy, person, parsed, cancellationToken) =>
                await policy.PermitAsync(
                    parsed.GetValue(rule), await person.AuthorityAsync(cancellationToken), cancellationToken)
                    ? ExitCode.Done : ExitCode.Wanting);
    }

    private static Command SecrecyMark()
    {
        var agency = new Option<string>("--agency") { Description = Phrase.Of("policy.agency"), Required = true };
        var highest = new Option<string>("--highest")
        {
            Description = Phrase.Of("policy.highest"),
            Required = true,
        };
        return GatewayCommand.Create<PolicyBook, OperatorAccount>(
            "secrecy",
            Phrase.Help("policy.secrecy.help", "securemail policy secrecy --agency H90.SL.001 --highest MẬT"),
            [agency, highest],
            async (policy, person, parsed, cancellationToken) =>
            {
                var mark = parsed.GetValue(highest)!;
                try
                {
                    await policy.SetSecrecyAsync(
                        parsed.GetValue(agency)!, mark == "none" ? null : mark,
                        await person.AuthorityAsync(cancellationToken), cancellationToken);
                }
                catch (UnknownSecrecyException e)
                {
                    throw new UsageException(ErrorWords.Of(e));
                }

                return ExitCode.Done;
            });
    }
}
