using System.CommandLine;
using System.Globalization;
using System.Text;
using SecureMail.Gateway.Jobs;
using SecureMail.Gateway.Keys;
using SecureMail.Gateway.Policy;
using SecureMail.Gateway.Registers;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Host.Words;
using SecureMail.Ledger;
using SecureMail.LedgerStore;
using SecureMail.Storage;
using SecureMail.Web;

namespace SecureMail.Host.Commands;

/// <summary>The ledger: its head, its entries, a proof for one of them, the whole verified, and the whole exported for
/// others to verify.</summary>
internal static class LedgerCommand
{
    public static Command Create()
    {
        var command = new Command("ledger", Phrase.Of("ledger.help"));
        command.Subcommands.Add(Head());
        command.Subcommands.Add(List());
        command.Subcommands.Add(Prove());
        command.Subcommands.Add(Verify());
        command.Subcommands.Add(Export());
        command.Subcommands.Add(Seen());
        command.Subcommands.Add(Alarms());
        return command;
    }

    private static Command Head()
    {
        var all = new Option<bool>("--all")
        {
            Description = Phrase.Of("ledger.all"),
        };
        return GatewayCommand.Create<LedgerRegister>(
            "head",
            Phrase.Help("ledger.head.help", "securemail ledger head"),
            [all],
            async (ledger, parsed, cancellationToken) =>
            {
                var head = await ledger.OverviewAsync(cancellationToken);
                if (head.Note is null)
                {
                    Console.Error.WriteLine(Phrase.Of("ledger.empty"));
                    return ExitCode.Undecided;
                }

                Console.Out.Write(head.Note);
                foreach (var cosignature in head.Cosignatures.Where(c => c.Size == head.Size))
                {
                    Console.Out.WriteLine(cosignature.Line);
                }

                foreach (var earlier in parsed.GetValue(all) ? head.Cosignatures.Where(c => c.Size != head.Size) : [])
                {
                    Console.Out.WriteLine($"{earlier.Size} {earlier.Line}");
                }

                return ExitCode.Done;
            });
    }

    private static Command List()
    {
        var json = CommandLine.JsonLines();
        var subject = new Option<Guid?>("--object")
        {
            Description = Phrase.Of("ledger.object"),
        };
        return GatewayCommand.Create<LedgerRegister>(
            "list",
            Phrase.Help("ledger.list.help", "securemail ledger list --object 0192f0c3-…"),
            [json, subject],
            async (ledger, parsed, cancellationToken) =>
            {
                foreach (
                    var line in parsed.GetValue(subject) is { } id
                        ? await ledger.AuditTrailAsync(id, cancellationToken)
                        : await ledger.ListAsync(1000, cancellationToken))
                {
                    if (parsed.GetValue(json))
                    {
                        CommandLine.WriteJson(line);
                    }
                    else
                    {
                        var index = line.Index?.ToString(CultureInfo.InvariantCulture) ?? "…";
                        Console.Out.WriteLine($"{index,6} {line.Time:u} {line.Kind,-22} {line.Object}");
                    }
                }

                return ExitCode.Done;
            });
    }

    private static Command Prove()
    {
        var subject = new Argument<Guid>("OBJECT")
        {
            Description = Phrase.Of("ledger.argument-object"),
        };
        return GatewayCommand.Create<GatewayDatabase, GatewayIdentity>(
            "prove",
            Phrase.Help("ledger.prove.help", "securemail ledger prove 0192f0c3-…"),
            [subject],
            async (database, identity, parsed, cancellationToken) =>
            {
                await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
                var entries = await StoredLedger.ListOfAsync(
                    connection, [parsed.GetValue(subject).ToString()], 1000, cancellationToken);
                if (entries.Count == 0)
                {
                    Console.Error.WriteLine(Phrase.Of("ledger.no-entry"));
                    return ExitCode.Wanting;
                }

                foreach (var entry in entries.Reverse())
                {
                    var evidence = await EvidenceBuilder.BuildAsync(
                        connection, entry.EntryId, [], [], cancellationToken);
                    if (evidence.Verify(identity.Ledger.Verifier) is { } problem)
                    {
                        Console.Error.WriteLine($"{problem.Vi} / {problem.En}");
                        return ExitCode.Wanting;
                    }

                    Console.Out.WriteLine(Encoding.UTF8.GetString(evidence.ToBytes()));
                }

                return ExitCode.Done;
            });
    }

    private static Command Verify()
    {
        var seen = new Option<FileInfo?>("--seen")
        {
            Description = Phrase.Of("ledger.seen"),
        };
        var background = JobsCommand.Background();
        var json = CommandLine.JsonLines();
        return GatewayCommand.Create<GatewayDatabase, GatewayIdentity, JobRegister, OperatorAccount>(
            "verify",
            Phrase.Help(
                "ledger.verify.help", "securemail ledger verify --seen cong-b.jsonl",
                "securemail ledger verify --background"),
            [seen, background, json],
            async (database, identity, jobs, person, parsed, cancellationToken) =>
            {
                if (parsed.GetValue(background))
                {
                    return parsed.GetValue(seen) is null
                        ? JobsCommand.Requested(
                            await jobs.RequestAsync(
                                JobKind.LedgerVerification, await person.AuthorityAsync(cancellationToken),
                                cancellationToken),
                            parsed.GetValue(json))
                        : throw new UsageException(Phrase.Of("jobs.background-alone"));
                }

                IReadOnlyList<Checkpoint> held = [];
                if (parsed.GetValue(seen) is { } file)
                {
                    await using var input = file.OpenRead();
                    held = await LedgerExport.ReadSeenAsync(input, cancellationToken);
                }

                var report = await LedgerVerifier.VerifyAsync(
                    database.Source, identity.Ledger.Verifier, held, cancellationToken);
                if (parsed.GetValue(json))
                {
                    CommandLine.WriteJson(report);
                }
                else
                {
                    foreach (var problem in report.Problems)
                    {
                        Console.Out.WriteLine($"✗ {problem.Vi} / {problem.En}");
                    }

                    Console.Out.WriteLine(
                        Phrase.Of(
                            "ledger.verified",
                            report.Entries,
                            report.Checkpoints,
                            report.SeenAgreed,
                            report.Problems.Count));
                }

                return report.Problems.Count == 0 ? ExitCode.Done : ExitCode.Wanting;
            });
    }

    private static Command Export()
    {
        var file = new Argument<FileInfo?>("FILE")
        {
            Description = Phrase.Of("ledger.argument-file"),
            Arity = ArgumentArity.ZeroOrOne,
        };
        var background = JobsCommand.Background();
        var json = CommandLine.JsonLines();
        return GatewayCommand.Create<GatewayDatabase, GatewayIdentity, JobRegister, OperatorAccount>(
            "export",
            Phrase.Help(
                "ledger.export.help", "securemail ledger export nhatky.jsonl", "securemail ledger export --background"),
            [file, background, json],
            async (database, identity, jobs, person, parsed, cancellationToken) =>
            {
                if (parsed.GetValue(background) == (parsed.GetValue(file) is not null))
                {
                    throw new UsageException(Phrase.Of("ledger.file-or-background"));
                }

                if (parsed.GetValue(background))
                {
                    return JobsCommand.Requested(
                        await jobs.RequestAsync(
                            JobKind.LedgerExport, await person.AuthorityAsync(cancellationToken), cancellationToken),
                        parsed.GetValue(json));
                }

                await using var output = parsed.GetValue(file)!.Create();
                await LedgerExporter.WriteAsync(database.Source, identity.Ledger.Verifier, output, cancellationToken);
                return ExitCode.Done;
            });
    }

    private static Command Seen()
    {
        var peer = new Argument<string>("GATEWAY") { Description = Phrase.Of("ledger.argument-gateway") };
        return GatewayCommand.Create<GatewayDatabase>(
            "seen",
            Phrase.Help("ledger.seen.help", "securemail ledger seen gw-a > gw-a.jsonl"),
            [peer],
            async (database, parsed, cancellationToken) =>
            {
                await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
                await using var output = Console.OpenStandardOutput();
                await LedgerExporter.WriteSeenAsync(connection, parsed.GetValue(peer)!, output, cancellationToken);
                return ExitCode.Done;
            });
    }

    private static Command Alarms()
    {
        var json = CommandLine.JsonLines();
        return GatewayCommand.Create<LedgerRegister>(
            "alarms",
            Phrase.Help("ledger.alarms.help", "securemail ledger alarms"),
            [json],
            async (ledger, parsed, cancellationToken) =>
            {
                var alarms = await ledger.AlarmsAsync(cancellationToken);
                foreach (var alarm in alarms)
                {
                    if (parsed.GetValue(json))
                    {
                        CommandLine.WriteJson(alarm);
                    }
                    else
                    {
                        Console.Out.WriteLine(
                            $"{alarm.Time:u} {Wording.Alarm(alarm.Kind)} — {alarm.Subject}: {alarm.Detail}");
                    }
                }

                return alarms.Count == 0 ? ExitCode.Done : ExitCode.Wanting;
            });
    }
}
