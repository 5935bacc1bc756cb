using System.CommandLine;
using System.Globalization;
using SecureMail.Cms;
using SecureMail.Exchange;
using SecureMail.Host.Words;
using SecureMail.Trust;
using SecureMail.Verification;

namespace SecureMail.Host.Commands;

/// <summary>Validates files: mail, CMS, PDF. Needs neither database nor gateway; with <c>--trust</c> no configuration
/// either.</summary>
internal static class VerifyCommand
{
    public static Command Create()
    {
        var files = new Argument<string[]>("FILE")
        {
            Description = Phrase.Of("verify.argument-file"),
            Arity = ArgumentArity.OneOrMore,
        };
        files.RefuseOptions();
        var trust = new TrustArguments();
        var content = new Option<string?>("--content")
        {
            Description = Phrase.Of("verify.content"),
            HelpName = "FILE",
        };
        var keys = new KeySource();
        var json = CommandLine.JsonLines();
        var command = new Command(
            "verify",
            Phrase.Help(
                "verify.help",
                "securemail verify --trust root.pem --crl ca.crl thu.eml",
                "securemail verify --trust root.pem --content van-ban.docx van-ban.docx.p7s"))
        {
            files,
            content,
            json,
        };
        foreach (var option in trust.Options.Concat(keys.Options))
        {
            command.Options.Add(option);
        }

        command.SetAction(
            async (parsed, cancellationToken) =>
            {
                var options = trust.Read(parsed);
                if (parsed.GetValue(content) is { } path && !File.Exists(path))
                {
                    throw new FileNotFoundException(Phrase.Of("verify.no-content", path));
                }

                using var opened = keys.OpenRecipients(parsed);
                List<int> codes = [];
                foreach (var file in parsed.GetValue(files)!)
                {
                    codes.Add(
                        await VerifyAsync(
                            file, parsed.GetValue(content), opened.Recipients, options, parsed.GetValue(json),
                            parsed.GetValue(CommandLine.Verbose), cancellationToken));
                }

                return ExitCode.Of(codes);
            });
        return command;
    }

    private static async Task<int> VerifyAsync(
        string path, string? content, IReadOnlyList<RecipientKey> keys, ValidationOptions options, bool json,
        bool verbose, CancellationToken cancellationToken)
    {
        try
        {
            await using var file = InputFile.TryOpen(path);
            await using var detached = content is null ? null : InputFile.Open(content);
            using var report = file is null
                ? ValidationReport.CannotOpen(path)
                : await FileValidator.ValidateAsync(path, file, detached, keys, options, cancellationToken);
            Report(report, json);
            return file is null ? ExitCode.NoInput : Verdicts.ExitCodeOf(report.Verdict);
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            // What stops one file is said, and does not hide what the others are.
            return CommandLine.Report(e, verbose);
        }
    }

    private static void Report(ValidationReport report, bool json)
    {
        if (json)
        {
            CommandLine.WriteJson(report);
            return;
        }

        var output = Console.Out;
        // The verdict's English word is its name on the wire (CLI.md).
        output.WriteLine(
            $"{report.File}: {Phrase.Of("verdict." + FindingJson.Name(report.Verdict))}"
                + (report.Encrypted ? $" ({Phrase.Of("verify.encrypted")})" : ""));
        output.WriteLine($"  {report.Summary.Vi}");
        output.WriteLine($"  {report.Summary.En}");
        foreach (var finding in report.EnvelopeFindings.Concat(report.HeaderFindings))
        {
            Line(Phrase.Of("verify.note"), finding.Vi);
            Line("", finding.En);
        }

        foreach (var (signature, n) in report.Signatures.Select((s, i) => (s, i + 1)))
        {
            output.WriteLine(
                $"  {Phrase.Of("verify.signature")} {n}: "
                    + (signature.Signer.Subject ?? $"({Phrase.Of("verify.no-certificate")})"));
            Line(Phrase.Of("verify.emails"), string.Join(", ", signature.Signer.Emails));
            Line(Phrase.Of("verify.issuer"), signature.Signer.Issuer);
            Line(Phrase.Of("verify.serial"), signature.Signer.Serial);
            Line(Phrase.Of("verify.finding"), signature.Reason.Vi);
            Line("", signature.Reason.En);
            Line(Phrase.Of("verify.path"), string.Join(" ← ", signature.Path));
            Line(Phrase.Of("verify.claimed-time"), LocalTime(signature.ClaimedTime));
            Line(Phrase.Of("verify.proven-time"), LocalTime(signature.ProvenTime));
        }

        void Line(string label, string? text)
        {
            if (!string.IsNullOrEmpty(text))
            {
                // What stands in a certificate may try to write to the terminal.
                var harmless = new string([.. text.Select(c => char.IsControl(c) ? '?' : c)]);
                output.WriteLine($"    {(label.Length == 0 ? "" : label + ": ")}{harmless}");
            }
        }
    }

    private static string? LocalTime(DateTimeOffset? time) =>
        time?.ToOffset(TimeSpan.FromHours(7)).ToString("yyyy-MM-dd HH:mm:ss zzz", CultureInfo.InvariantCulture);
}
