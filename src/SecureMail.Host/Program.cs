using System.CommandLine;
using System.Globalization;
using SecureMail.Host;
using SecureMail.Host.Commands;
using SecureMail.Host.Words;

// Numbers, dates and comparisons are the same on every machine. Words are asked for by their language (Catalogue).
CultureInfo.DefaultThreadCurrentCulture = CultureInfo.InvariantCulture;
CultureInfo.DefaultThreadCurrentUICulture = CultureInfo.InvariantCulture;
CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
CultureInfo.CurrentUICulture = CultureInfo.InvariantCulture;
Console.OutputEncoding = new System.Text.UTF8Encoding(encoderShouldEmitUTF8Identifier: false);
var root = new RootCommand(Phrase.Of("root.help"));
root.Options.Add(CommandLine.Verbose);
(string Name, Func<Command> Create)[] commands =
[
    ("serve", ServeCommand.Create),
    ("init", InitCommand.Create),
    ("configuration", ConfigurationCommand.Create),
    ("migrate", MigrateCommand.Create),
    ("backup", BackupCommand.Create),
    ("restore", RestoreCommand.Create),
    ("directory", DirectoryCommand.Create),
    ("send", SendCommand.Create),
    ("inbox", InboxCommand.Create),
    ("queue", QueueCommand.Create),
    ("jobs", JobsCommand.Create),
    ("registers", RegistersCommand.Create),
    ("policy", PolicyCommand.Create),
    ("erase", EraseCommand.Create),
    ("storage", StorageCommand.Create),
    ("ledger", LedgerCommand.Create),
    ("verify", VerifyCommand.Create),
    ("sign", SignCommand.Create),
    ("encrypt", EncryptCommand.Create),
    ("decrypt", DecryptCommand.Create),
    ("token", TokenCommand.Create),
];
// To make a command costs the time of its options and their words: of those that are not asked for, none is made.
var asked = Array.FindAll(commands, c => c.Name == Array.Find(args, a => !a.StartsWith('-')));
foreach (var command in asked.Length > 0 ? asked : commands)
{
    root.Subcommands.Add(command.Create());
}

return await CommandLine.RunAsync(root, args);
