using System.CommandLine;
using SecureMail.Gateway.Directories;

namespace SecureMail.Host.Commands;

/// <summary>The directory of agencies: taken from its publisher's signed file, shown, given on.</summary>
internal static class DirectoryCommand
{
    public static Command Create()
    {
        var command = new Command("directory", "Danh bạ cơ quan. / The directory of agencies.");
        command.Subcommands.Add(Import());
        command.Subcommands.Add(Export());
        command.Subcommands.Add(List());
        return command;
    }

    private static Command Import()
    {
        var file = new Argument<FileInfo>("FILE") { Description = "Danh bạ đã ký (CMS). / The signed directory." };
        return GatewayCommand.Create<DirectoryStore>(
            "import",
            "Nhập danh bạ do nơi phát hành ký; phiên bản cũ hơn bị từ chối. / Imports a signed directory. Ví dụ / "
                + "example: securemail directory import danhba.p7m",
            [file],
            async (directories, parsed, cancellationToken) =>
            {
                var document = await directories.ImportAsync(
                    await File.ReadAllBytesAsync(parsed.GetValue(file)!.FullName, cancellationToken),
                    cancellationToken);
                Console.Out.WriteLine(
                    $"Danh bạ phiên bản {document.Version}: {document.Agencies.Count} cơ quan, "
                        + $"{document.Gateways.Count} cổng. / Directory version {document.Version}.");
                return ExitCode.Done;
            });
    }

    private static Command Export()
    {
        var file = new Argument<FileInfo>("FILE") { Description = "Nơi ghi. / Where to write it." };
        return GatewayCommand.Create<DirectoryStore>(
            "export",
            "Ghi danh bạ đang dùng ra tệp, nguyên chữ ký. / Writes the directory in use as it was signed. Ví dụ / "
                + "example: securemail directory export danhba.p7m",
            [file],
            async (directories, parsed, cancellationToken) =>
            {
                if (await directories.ExportAsync(cancellationToken) is not { } signed)
                {
                    Console.Error.WriteLine("Chưa có danh bạ. / There is no directory yet.");
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
            "Liệt kê cơ quan. / Lists the agencies. Ví dụ / example: securemail directory list --json",
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
                                agency.Record.Gateway,
                                InForce = agency.IsInForce(now),
                                agency.Record.ValidFrom,
                                agency.Record.ValidTo,
                            });
                    }
                    else
                    {
                        Console.Out.WriteLine(
                            $"{agency.LastName.Code,-14} {agency.LastName.Name} <{agency.LastName.Address}>{(agency.IsInForce(now) ? "" : " (hết hiệu lực)")}"
                        );
                    }
                }

                return ExitCode.Done;
            });
    }
}
