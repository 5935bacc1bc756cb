using System.CommandLine;
using SecureMail.Host.Words;
using SecureMail.Trust;
using SecureMail.Verification;

namespace SecureMail.Host.Commands;

/// <summary>
/// Opens what is encrypted and writes what is inside octet for octet, for mail the inner MIME entity. Nothing is
/// written before all of it was authenticated: by its tag (GCM), or, where the cipher proves nothing (CBC), by an
/// intact signature inside.
/// </summary>
internal static class DecryptCommand
{
    public static Command Create()
    {
        var file = new Argument<string>("FILE") { Description = Phrase.Of("decrypt.argument-file") };
        file.RefuseOptions();
        var output = new Option<string?>("--out")
        {
            Description = Phrase.Of("decrypt.out"),
            HelpName = "FILE",
        };
        var force = CommandLine.Force();
        var keys = new KeySource();
        var json = CommandLine.JsonLines();
        var command = new Command(
            "decrypt",
            Phrase.Help(
                "decrypt.help",
                "securemail decrypt --key \"pkcs11:token=VanThu;object=encrypt?module-path=/usr/lib/softhsm/libsofthsm2.so\" --pin-file pin.txt --out inner.eml thu.eml",
                "securemail decrypt --p12 khoa.p12 --p12-password-file mk.txt van-ban.docx.p7m"))
        {
            file,
            output,
            force,
            json,
        };
        foreach (var option in keys.Options)
        {
            command.Options.Add(option);
        }

        command.SetAction(
            async (parsed, cancellationToken) =>
            {
                var path = parsed.GetValue(file)!;
                var target = parsed.GetValue(output)
                    ?? (path.EndsWith(".p7m", StringComparison.OrdinalIgnoreCase) ? path[..^4] : path + ".decrypted");
                await using var input = InputFile.Open(path);
                OutputFile.RequireFree(target, parsed.GetValue(force));
                using var opened = keys.OpenRecipients(parsed);
                if (opened.Recipients.Count == 0)
                {
                    throw new UsageException(Phrase.Of("decrypt.key-needed"));
                }

                // Who signed is not asked here; only whether what is inside is whole.
                var options = new ValidationOptions
                {
                    Trust = new TrustMaterial([]),
                    At = TimeProvider.System.GetUtcNow(),
                    CheckRevocation = false,
                };
                using var report = await FileValidator.ValidateAsync(
                    path, input, null, opened.Recipients, options, cancellationToken);
                await using var content = report.OpenEnvelope();
                if (content is null)
                {
                    // What was opened and is not given out has a finding that says so.
                    var opens = report is { Encrypted: true, Error: null };
                    var reason = report.Error ?? (report.EnvelopeFindings is [.., var said] ? said : null);
                    Console.Error.WriteLine(
                        reason is null
                            ? Phrase.Of("decrypt.not-encrypted")
                            : $"{reason.Vi} / {reason.En}".ReplaceLineEndings(" "));
                    return opens || report.Verdict == Verdict.Indeterminate ? ExitCode.Undecided : ExitCode.Data;
                }

                await OutputFile.WriteAsync(target, parsed.GetValue(force), to =>
                    content.CopyToAsync(to, cancellationToken));
                CommandLine.Say(
                    parsed.GetValue(json),
                    target,
                    new
                    {
                        File = path,
                        Output = target,
                        Authenticated = true,
                        report.EnvelopeFindings,
                    },
                    Phrase.Of("decrypt.done", target));
                return ExitCode.Done;
            });
        return command;
    }
}
