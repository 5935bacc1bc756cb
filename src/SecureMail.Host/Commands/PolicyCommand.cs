using System.CommandLine;
using SecureMail.Gateway.Policy;

namespace SecureMail.Host.Commands;

/// <summary>The decisions that policy rests on: routes that are forbidden, and permissions for marked documents. Each
/// leaves an entry in the ledger.</summary>
internal static class PolicyCommand
{
    public static Command Create()
    {
        var command = new Command("policy", "Quy định gửi nhận. / Policy: who may send what to whom.");
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
            "Liệt kê quy định đang có. / Lists what is in force. Ví dụ / example: securemail policy list",
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
                                ? $"{line.Rule,4} cấm / forbidden: {line.Sender ?? "*"} → {line.Recipient ?? "*"}: {line.Detail}"
                                : $"     cho phép / permitted: {line.Sender} tới / up to {line.Detail}");
                    }
                }

                return ExitCode.Done;
            });
    }

    private static Command Forbid()
    {
        var from = new Option<string?>("--from")
        {
            Description = "Mã cơ quan gửi; bỏ trống: mọi cơ quan. / The sender; none: any.",
        };
        var to = new Option<string?>("--to")
        {
            Description = "Mã cơ quan nhận; bỏ trống: mọi cơ quan. / The recipient; none: any.",
        };
        var reason = new Option<string>("--reason")
        {
            Description = "Lý do người gửi sẽ đọc. / The reason the sender reads.",
            Required = true,
        };
        return GatewayCommand.Create<PolicyBook>(
            "forbid",
            "Đặt quy định cấm gửi. / Forbids a route. Ví dụ / example: securemail policy forbid --from H90.SL.101 "
                + "--to H91.TB.001 --reason \"Gửi qua Tỉnh ủy\"",
            [from, to, reason],
            async (policy, parsed, cancellationToken) =>
            {
                Console.Out.WriteLine(
                    await policy.ForbidAsync(
                        parsed.GetValue(from), parsed.GetValue(to), parsed.GetValue(reason)!, cancellationToken));
                return ExitCode.Done;
            });
    }

    private static Command Permit()
    {
        var rule = new Argument<long>("RULE") { Description = "Số của quy định. / The rule's number." };
        return GatewayCommand.Create<PolicyBook>(
            "permit",
            "Bỏ một quy định cấm. / Takes a rule back. Ví dụ / example: securemail policy permit 3",
            [rule],
            async (policy, parsed, cancellationToken) =>
                await policy.PermitAsync(parsed.GetValue(rule), cancellationToken) ? ExitCode.Done : ExitCode.Wanting);
    }

    private static Command SecrecyMark()
    {
        var agency = new Option<string>("--agency") { Description = "Mã cơ quan. / The agency.", Required = true };
        var highest = new Option<string>("--highest")
        {
            Description = "MẬT, TỐI MẬT, TUYỆT MẬT, hoặc none để cấm lại. / The highest mark, or none.",
            Required = true,
        };
        return GatewayCommand.Create<PolicyBook>(
            "secrecy",
            "Quyết định của cơ quan về văn bản có độ mật; ghi vào nhật ký kiểm chứng. / An agency's decision on "
                + "marked documents. Ví dụ / example: securemail policy secrecy --agency H90.SL.001 --highest MẬT",
            [agency, highest],
            async (policy, parsed, cancellationToken) =>
            {
                var mark = parsed.GetValue(highest)!;
                try
                {
                    await policy.SetSecrecyAsync(
                        parsed.GetValue(agency)!, mark == "none" ? null : mark, cancellationToken);
                }
                catch (ArgumentException e)
                {
                    throw new UsageException(e.Message);
                }

                return ExitCode.Done;
            });
    }
}
