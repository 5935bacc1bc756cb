using System.CommandLine;
using System.Security.Cryptography;
using SecureMail.Host.Settings;
using SecureMail.Pkcs11;

namespace SecureMail.Host.Commands;

/// <summary>Tokens: which are there, what lies on one, and whether it signs.</summary>
internal static class TokenCommand
{
    public static Command Create()
    {
        var command = new Command("token", "Thiết bị lưu khóa bí mật (token). / Signing tokens.");
        command.Subcommands.Add(List());
        command.Subcommands.Add(Info());
        command.Subcommands.Add(SignTest());
        return command;
    }

    private static Command List()
    {
        var module = new Option<string[]>("--module")
        {
            Description =
                "Đường dẫn module PKCS#11; bỏ trống: các module trong cấu hình. / A module's path; none: those "
                + "configured.",
        };
        var (config, data, json) = (CommandLine.Config(), CommandLine.Data(), CommandLine.JsonLines());
        var command = new Command(
            "list",
            "Liệt kê thiết bị lưu khóa bí mật đang kết nối. / Lists the tokens that are there. Ví dụ / example: "
                + "securemail token list --module /usr/lib/softhsm/libsofthsm2.so")
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
                throw new UsageException(
                    "Cần --module hoặc Tokens trong cấu hình. / --module is needed, or Tokens in the configuration.");
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
                            $"{token.Label,-24} {token.Serial,-18} {token.Manufacturer} {token.Model}{(token.Initialized ? "" : " (chưa khởi tạo)")}{(token.PinLocked ? " (PIN bị khóa)" : "")}"
                        );
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
            "Xem một thiết bị lưu khóa bí mật và các chứng thư trên đó. / Shows a token and its certificates. Ví dụ / "
                + "example: securemail token info \"pkcs11:token=VanThu?module-path=/usr/lib/softhsm/libsofthsm2.so\"")
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
            "Ký thử bằng một khóa và kiểm tra chữ ký; không ký văn bản nào. / Signs random octets with a key and "
                + "verifies the result. Ví dụ / example: securemail token sign-test --pin-file pin.txt "
                + "\"pkcs11:token=VanThu;object=sign?module-path=/usr/lib/softhsm/libsofthsm2.so\"")
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
                    ? $"Thiết bị ký đúng, {clock.ElapsedMilliseconds} ms. / The token signs."
                    : "Chữ ký của thiết bị sai; không dùng thiết bị này. "
                        + "/ The token's signature is wrong: do not use it.");
            return holds ? ExitCode.Done : ExitCode.Wanting;
        });
        return command;
    }
}
