using System.CommandLine;
using System.Globalization;
using SecureMail.Host;
using SecureMail.Host.Commands;

// Numbers, dates and comparisons are the same on every machine. Words are asked for by their language (Catalogue).
CultureInfo.DefaultThreadCurrentCulture = CultureInfo.InvariantCulture;
CultureInfo.DefaultThreadCurrentUICulture = CultureInfo.InvariantCulture;
CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
CultureInfo.CurrentUICulture = CultureInfo.InvariantCulture;
Console.OutputEncoding = new System.Text.UTF8Encoding(encoderShouldEmitUTF8Identifier: false);
var root = new RootCommand(
    """
    SecureMail: ký, gửi, nhận và kiểm tra văn bản điện tử giữa các cơ quan.
    SecureMail: signs, sends, receives and verifies documents between agencies.
    """
);
root.Options.Add(CommandLine.Verbose);
root.Subcommands.Add(ServeCommand.Create());
root.Subcommands.Add(InitCommand.Create());
root.Subcommands.Add(ConfigurationCommand.Create());
root.Subcommands.Add(MigrateCommand.Create());
root.Subcommands.Add(BackupCommand.Create());
root.Subcommands.Add(RestoreCommand.Create());
root.Subcommands.Add(DirectoryCommand.Create());
root.Subcommands.Add(SendCommand.Create());
root.Subcommands.Add(InboxCommand.Create());
root.Subcommands.Add(QueueCommand.Create());
root.Subcommands.Add(PolicyCommand.Create());
root.Subcommands.Add(EraseCommand.Create());
root.Subcommands.Add(StorageCommand.Create());
root.Subcommands.Add(LedgerCommand.Create());
root.Subcommands.Add(VerifyCommand.Create());
root.Subcommands.Add(SignCommand.Create());
root.Subcommands.Add(EncryptCommand.Create());
root.Subcommands.Add(DecryptCommand.Create());
root.Subcommands.Add(TokenCommand.Create());
return await CommandLine.RunAsync(root, args);
