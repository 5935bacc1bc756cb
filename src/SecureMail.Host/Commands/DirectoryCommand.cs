using System.CommandLine;
using SecureMail.Gateway.Directories;
using SecureMail.Gateway.Policy;
using SecureMail.Host.Words;

namespace SecureMail.Host.Commands;

/// <summary>The directory of agencies: taken from its publisher's signed file, shown, given on.</summary>
internal static class DirectoryCommand
{
    public static Command Create()
    {
        var command = new Command("directory", Phrase.Of("directory.help"));
        command.Subcommands.Add(Import());
        command.Subcommands.Add(Export());
        command.Subcommands.Add(List());
        return command;
    }

    private static Command Import()
    {
        var file = new Argument<FileInfo>("FILE") { Description = Phrase.Of("directory.argument-file") };
        return GatewayCommand.Create<DirectoryStore, OperatorAccount>(
            "import",
            Phrase.Help("directory.import.help", "securemail directory import danhba.p7m"),
            [file],
            async (directories, person, parsed, cancellationToken) =>
            {
                var document = await directories.ImportAsync(
                    await File.ReadAllBytesAsync(parsed.GetValue(file)!.FullName, cancellationToken),
                    cancellationToken, await person.AuthorityAsync(cancellationToken));
                Console.Out.WriteLine(
                    Phrase.Of(
                        "directory.taken-in", document.Version, document.Agencies.Count, document.Gateways.Count));
                return ExitCode.Done;
            });
    }

    private static Command Export()
    {
        var file = new Argument<FileInfo>("FILE") { Description = Phrase.Of("directory.export.argument-file") };
        return GatewayCommand.Create<DirectoryStore>(
            "export",
            Phrase.Help("directory.export.help", "securemail directory export danhba.p7m"),
            [file],
            async (directories, parsed, cancellationToken) =>
            {
                if (await directories.ExportAsync(cancellationToken) is not { } signed)
                {
                    Console.Error.WriteLine(Phrase.Of("directory.none"));
                    return ExitCode.Unavailable;
                }

                await File.WriteAllBytesAsync(parsed.GetValue(file)!.FullName, signed, cancellationToken);
                return ExitCode.Done;
            });
    }

    private static Command List()
    {
        var json = CommandLine.JsonLines();
        return GatewayCommand.Create<DirectoryStore>(
            "list",
            Phrase.Help("directory.list.help", "securemail directory list --json"),
            [json],
            async (directories, parsed, cancellationToken) =>
            {
                var directory = await directories.CurrentAsync(cancellationToken);
                var now = TimeProvider.System.GetUtcNow();
                foreach (var agency in directory.Agencies.OrderBy(a => a.LastName.Code, StringComparer.Ordinal))
                {
                    if (parsed.GetValue(json))
                    {
                        CommandLine.WriteJson(
                            new
                            {
                                agency.Id,
                                agency.LastName.Code,
                                agency.LastName.Name,
                                agency.LastName.Address,
                                agency.Record.Parent,
                                agency.Record.Successor,
                                Gateway = agency.GatewayAt(now),
                                InForce = agency.IsInForce(now),
                                agency.Record.ValidFrom,
                                agency.Record.ValidTo,
                            });
                    }
                    else
                    {
                        Console.Out.WriteLine(
                            $"{agency.LastName.Code,-14} {agency.LastName.Name} <{agency.LastName.Address}>"
                                + (agency.IsInForce(now) ? "" : $" ({Phrase.Of("directory.not-in-force")})"));
                    }
                }

                return ExitCode.Done;
            });
    }
}
