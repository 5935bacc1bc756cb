using System.CommandLine;
using SecureMail.Exchange;
using SecureMail.Gateway.Inbound;
using SecureMail.Gateway.Policy;
using SecureMail.Gateway.Registers;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Host.Words;
using SecureMail.Web;

namespace SecureMail.Host.Commands;

/// <summary>What came in: listed, shown, and taken out of the gateway with its documents.</summary>
internal static class InboxCommand
{
    public static Command Create()
    {
        var agency = new Option<string?>("--agency")
        {
            Description = Phrase.Of("inbox.agency"),
        };
        var place = new Option<string?>("--place")
        {
            Description = Phrase.Of("inbox.place"),
        };
        place.AcceptOnlyFromAmong(
            Disposition.Inbox, Disposition.Quarantine, Disposition.Returned, Disposition.Duplicate, "notice");
        var json = CommandLine.JsonLines();
        var command = GatewayCommand.Create<IncomingRegister, NoticeRegister>(
            "inbox",
            Phrase.Help("inbox.help", "securemail inbox --agency H90.SL.101 --json"),
            [agency, place, json],
            async (incoming, notices, parsed, cancellationToken) =>
            {
                var (which, asJson) = (parsed.GetValue(place), parsed.GetValue(json));
                // As JSON only when asked for: a line of this list is a message, and other programs count on it.
                if (which == "notice" || (which is null && !asJson))
                {
                    foreach (var notice in await notices.ListAsync(parsed.GetValue(agency), 1000, cancellationToken))
                    {
                        WriteNotice(notice, asJson);
                    }
                }

                foreach (
                    var message in which == "notice"
                        ? []
                        : await incoming.ListAsync(parsed.GetValue(agency), which, 1000, cancellationToken))
                {
                    if (asJson)
                    {
                        CommandLine.WriteJson(await DescribeAsync(incoming, message, cancellationToken));
                    }
                    else
                    {
                        Console.Out.WriteLine(
                            $"{message.Id} {message.Disposition ?? IncomingState.Received,-10} {message.Verdict ?? "-",-13} {message.ArrivalNumber,4} {message.Card?.Number} {message.Card?.Subject} {message.Reason}"
                        );
                    }
                }

                return ExitCode.Done;
            });
        command.Subcommands.Add(Register());
        command.Subcommands.Add(Export());
        return command;
    }

    private static void WriteNotice(SenderNotice notice, bool asJson)
    {
        var words = Wording.Notice(notice);
        if (asJson)
        {
            CommandLine.WriteJson(
                new
                {
                    Place = "notice",
                    notice.AgencyCode,
                    notice.Action,
                    notice.Kind,
                    notice.DispatchId,
                    notice.Number,
                    notice.RecipientCode,
                    notice.State,
                    notice.Reason,
                    notice.Remote,
                    notice.Diagnostic,
                    notice.MayHaveArrived,
                    notice.RaisedAt,
                    notice.RetryUntil,
                    Text = new { words.Vi, words.En },
                });
        }
        else
        {
            Console.Out.WriteLine(
                $"{notice.RaisedAt:u} notice     {notice.Action,-8} {notice.Number} {words.Vi} / {words.En}");
        }
    }

    private static Command Register()
    {
        var id = new Argument<Guid>("ID") { Description = Phrase.Of("inbox.argument-id") };
        return GatewayCommand.Create<Registration, OperatorAccount>(
            "register",
            Phrase.Help("inbox.register.help", "securemail inbox register 0192f0c3-…"),
            [id],
            async (registration, person, parsed, cancellationToken) =>
            {
                Console.Out.WriteLine(
                    await registration.RegisterAsync(
                        parsed.GetValue(id), await person.AuthorityAsync(cancellationToken), cancellationToken));
                return ExitCode.Done;
            });
    }

    private static Command Export()
    {
        var id = new Argument<Guid>("ID") { Description = Phrase.Of("inbox.argument-id") };
        var folder = new Argument<DirectoryInfo>("DIR") { Description = Phrase.Of("inbox.argument-dir") };
        return GatewayCommand.Create<IncomingRegister>(
            "export",
            Phrase.Help("inbox.export.help", "securemail inbox export 0192f0c3-… /tmp/congvan"),
            [id, folder],
            async (incoming, parsed, cancellationToken) =>
            {
                var message = await incoming.FindAsync(parsed.GetValue(id), cancellationToken);
                if (message is null)
                {
                    Console.Error.WriteLine(Phrase.Of("inbox.none-such"));
                    return ExitCode.NoInput;
                }

                var target = parsed.GetValue(folder)!.FullName;
                // A manifest refuses names with separators; only the name's last part is used all the same.
                string[] documents = message.Disposition == Disposition.Inbox
                    ? [.. message.Card!.Documents.Select(d => Path.Combine(target, Path.GetFileName(d)))]
                    : [];
                MakePrivate(target);
                string[] paths = [Path.Combine(target, "message.eml"), .. documents];
                Array.ForEach(paths, p => OutputFile.RequireFree(p, force: false));
                for (var n = 0; n < paths.Length; n++)
                {
                    await using var content = n == 0
                        ? await incoming.OpenReceivedAsync(message.Id, cancellationToken)
                        : await incoming.OpenDocumentAsync(message.Id, n, cancellationToken);
                    await OutputFile.WriteAsync(
                        paths[n], force: false, file => content.CopyToAsync(file, cancellationToken));
                }

                return ExitCode.Done;
            });
    }

    private static async Task<object> DescribeAsync(
        IncomingRegister incoming, IncomingMessage message, CancellationToken cancellationToken)
    {
        var findings = await incoming.FindingsAsync(message.Id, cancellationToken);
        return new
        {
            message.Id,
            message.AgencyCode,
            message.State,
            message.Kind,
            Place = message.Disposition,
            message.Verdict,
            message.Reason,
            message.SenderName,
            message.DispatchId,
            message.ArrivalNumber,
            Number = message.Card?.Number,
            Subject = message.Card?.Subject,
            Documents = message.Card?.Documents ?? [],
            Findings = findings.Count == 0
                ? []
                : System.Text.Json.JsonSerializer.Deserialize<System.Text.Json.JsonElement[]>(findings[^1].Json) ?? [],
            message.ReceivedAt,
            message.ErasedAt,
        };
    }

    /// <summary>Makes the folder for decrypted documents, open to its owner alone. A folder that is there stays as it
    /// is.</summary>
    private static void MakePrivate(string folder)
    {
        if (OperatingSystem.IsWindows())
        {
            Directory.CreateDirectory(folder);
        }
        else
        {
            Directory.CreateDirectory(
                folder, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        }
    }
}
