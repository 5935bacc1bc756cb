using System.CommandLine;
using System.Security.Cryptography;
using SecureMail.Host.Settings;
using SecureMail.Host.Words;
using SecureMail.Pkcs11;

namespace SecureMail.Host.Commands;

/// <summary>Tokens: which are there, what lies on one, and whether it signs.</summary>
internal static class TokenCommand
{
    public static Command Create()
    {
        var command = new Command("token", Phrase.Of("token.help"));
        command.Subcommands.Add(List());
        command.Subcommands.Add(Info());
        command.Subcommands.Add(SignTest());
        return command;
    }

    private static Command List()
    {
        var module = new Option<string[]>("--module")
        {
            Description = Phrase.Of("token.module"),
        };
        var (config, data, json) = (CommandLine.Config(), CommandLine.Data(), CommandLine.JsonLines());
        var command = new Command(
            "list",
            Phrase.Help("token.list.help", "securemail token list --module /usr/lib/softhsm/libsofthsm2.so"))
        {
            module,
            config,
            data,
            json,
        };
        command.SetAction(parsed =>
        {
            var paths = parsed.GetValue(module) is { Length: > 0 } given
                ? given
                :
                [
                    .. Configuration
                        .Load(parsed.GetValue(config), parsed.GetValue(data))
                        .Gateway.Keys.Tokens.Select(t => Pkcs11Uri.Parse(t.Uri).ModulePath)
                        .OfType<string>()
                        .Distinct(StringComparer.Ordinal),
                ];
            if (paths.Length == 0)
            {
                throw new UsageException(Phrase.Of("token.module-needed"));
            }

            foreach (var path in paths)
            {
                using var opened = Pkcs11Module.Open(Path.GetFullPath(path));
                foreach (var token in opened.ListTokens())
                {
                    if (parsed.GetValue(json))
                    {
                        CommandLine.WriteJson(token);
                    }
                    else
                    {
                        Console.Out.WriteLine(
                            $"{token.Label,-24} {token.Serial,-18} {token.Manufacturer} {token.Model}"
                                + (token.Initialized ? "" : $" ({Phrase.Of("token.not-initialized")})")
                                + (token.PinLocked ? $" ({Phrase.Of("token.pin-locked")})" : ""));
                    }
                }
            }

            return ExitCode.Done;
        });
        return command;
    }

    private static Command Info()
    {
        var uri = new Argument<string>("URI") { Description = "pkcs11:token=…?module-path=…" };
        var json = CommandLine.JsonLines();
        var command = new Command(
            "info",
            Phrase.Help(
                "token.info.help",
                "securemail token info \"pkcs11:token=VanThu?module-path=/usr/lib/softhsm/libsofthsm2.so\""))
        {
            uri,
            json,
        };
        command.SetAction(parsed =>
        {
            var name = Pkcs11Uri.Parse(parsed.GetValue(uri)!);
            using var token = Pkcs11Token.Open(name, () => null);
            var certificates = token.FindCertificates(name);
            if (parsed.GetValue(json))
            {
                CommandLine.WriteJson(
                    new
                    {
                        Token = token.Info,
                        Certificates = certificates
                            .Select(c => new
                            {
                                c.Subject,
                                c.Issuer,
                                Serial = c.SerialNumber.ToLowerInvariant(),
                                c.NotBefore,
                                c.NotAfter,
                            })
                            .ToArray(),
                    });
                return ExitCode.Done;
            }

            Console.Out.WriteLine(
                $"{token.Info.Label} {token.Info.Serial} {token.Info.Manufacturer} {token.Info.Model}");
            foreach (var certificate in certificates)
            {
                Console.Out.WriteLine(
                    $"  {certificate.Subject}\n    {certificate.NotBefore.ToUniversalTime():u} – "
                        + $"{certificate.NotAfter.ToUniversalTime():u}, {certificate.Issuer}");
            }

            return ExitCode.Done;
        });
        return command;
    }

    private static Command SignTest()
    {
        var uri = new Argument<string>("URI") { Description = "pkcs11:token=…;object=…?module-path=…" };
        var (file, env) = PinSource.Options();
        var command = new Command(
            "sign-test",
            Phrase.Help(
                "token.sign-test.help",
                "securemail token sign-test --pin-file pin.txt \"pkcs11:token=VanThu;object=sign?module-path=/usr/lib/softhsm/libsofthsm2.so\""))
        {
            uri,
            file,
            env,
        };
        command.SetAction(parsed =>
        {
            var name = Pkcs11Uri.Parse(parsed.GetValue(uri)!);
            using var token = Pkcs11Token.Open(name, PinSource.Of(parsed.GetValue(file), parsed.GetValue(env)));
            using var key = token.OpenKey(name);
            var digest = RandomNumberGenerator.GetBytes(32);
            var clock = System.Diagnostics.Stopwatch.StartNew();
            var holds = key switch
            {
                RSA rsa => rsa.VerifyHash(
                    digest, rsa.SignHash(digest, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1),
                    HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1),
                ECDsa ecdsa => ecdsa.VerifyHash(digest, ecdsa.SignHash(digest)),
                _ => false,
            };
            Console.Out.WriteLine(
                holds
                    ? Phrase.Of("token.signs", clock.ElapsedMilliseconds)
                    : Phrase.Of("token.signs-wrongly"));
            return holds ? ExitCode.Done : ExitCode.Wanting;
        });
        return command;
    }
}
