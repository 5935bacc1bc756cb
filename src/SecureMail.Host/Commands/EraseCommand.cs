using System.CommandLine;
using SecureMail.Gateway.Policy;
using SecureMail.Gateway.Retention;
using SecureMail.Host.Words;

namespace SecureMail.Host.Commands;

/// <summary>Destroys the content of one dispatch by order: an act that cannot be taken back, so it asks for the reason
/// and for <c>--yes</c>.</summary>
internal static class EraseCommand
{
    public static Command Create()
    {
        var outgoing = new Option<Guid?>("--dispatch") { Description = Phrase.Of("erase.dispatch") };
        var incoming = new Option<Guid?>("--incoming") { Description = Phrase.Of("erase.incoming") };
        var reason = new Option<string>("--reason")
        {
            Description = Phrase.Of("erase.reason"),
            Required = true,
        };
        var yes = new Option<bool>("--yes")
        {
            Description = Phrase.Of("erase.yes"),
        };
        var json = CommandLine.JsonLines();
        return GatewayCommand.Create<Erasure, OperatorAccount>(
            "erase",
            Phrase.Help(
                "erase.help",
                "securemail erase --dispatch 0192f0c3-… --reason \"Thu hồi theo Công văn 12-CV/VPTU\" --yes"),
            [outgoing, incoming, reason, yes, json],
            async (erasure, person, parsed, cancellationToken) =>
            {
                var (sent, came) = (parsed.GetValue(outgoing), parsed.GetValue(incoming));
                if (sent is null == came is null)
                {
                    throw new UsageException(Phrase.Of("erase.one-of-two"));
                }

                if (!parsed.GetValue(yes))
                {
                    throw new UsageException(Phrase.Of("erase.confirm"));
                }

                var by = await person.AuthorityAsync(cancellationToken);
                var answer = sent is { } dispatch
                    ? await erasure.EraseOutgoingAsync(
                        dispatch, parsed.GetValue(reason)!, Environment.UserName, by, cancellationToken)
                    : await erasure.EraseIncomingAsync(
                        came!.Value, parsed.GetValue(reason)!, Environment.UserName, by, cancellationToken);
                CommandLine.Say(
                    parsed.GetValue(json),
                    "",
                    answer,
                    answer.Shared == 0
                        ? Phrase.Of("erase.done", answer.Blobs)
                        : Phrase.Of("erase.done-shared", answer.Blobs));
                return ExitCode.Done;
            });
    }
}
