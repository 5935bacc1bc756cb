using System.CommandLine;
using System.Text;
using SecureMail.Host.Words;
using SecureMail.Pkcs11;
using SecureMail.Storage;

namespace SecureMail.Host;

/// <summary>Where a PIN comes from: a private file, an environment variable, or a prompt. Never an argument, which
/// every process can read.</summary>
internal static class PinSource
{
    public static (Option<string?> File, Option<string?> Env) Options() =>
        (
            new("--pin-file")
            {
                Description = Phrase.Of("pin.pin-file"),
            },
            new("--pin-env")
            {
                Description = Phrase.Of("pin.pin-env"),
            });

    /// <summary>Answers a fresh copy at each call; null when there is none.</summary>
    public static Func<byte[]?> Of(string? file, string? env) =>
        () =>
        {
            if (file is not null)
            {
                return SecretText.Decode(SecretFile.ReadPin(file));
            }

            if (env is not null)
            {
                return Environment.GetEnvironmentVariable(env) is { } value ? Encoding.UTF8.GetBytes(value) : null;
            }

            return Console.IsInputRedirected ? null : Prompt();
        };

    private static byte[]? Prompt()
    {
        Console.Error.Write($"{Phrase.Of("pin.prompt")}: ");
        var typed = new StringBuilder();
        for (ConsoleKeyInfo key; (key = Console.ReadKey(intercept: true)).Key != ConsoleKey.Enter;)
        {
            if (key.Key == ConsoleKey.Backspace && typed.Length > 0)
            {
                typed.Length--;
            }
            else if (!char.IsControl(key.KeyChar))
            {
                typed.Append(key.KeyChar);
            }
        }

        Console.Error.WriteLine();
        return typed.Length == 0 ? null : Encoding.UTF8.GetBytes(typed.ToString());
    }
}
