using System.CommandLine;
using System.Text;
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
                Description = "Tệp chứa mã PIN, quyền 0600. / A file of mode 0600 that holds the PIN.",
            },
            new("--pin-env")
            {
                Description = "Tên biến môi trường chứa mã PIN. / The environment variable that holds the PIN.",
            });

    /// <summary>Answers a fresh copy at each call; null when there is none.</summary>
    public static Func<byte[]?> Of(string? file, string? env) =>
        () =>
        {
            if (file is not null)
            {
                return SecretFile.ReadPin(file);
            }

            if (env is not null)
            {
                return Environment.GetEnvironmentVariable(env) is { } value ? Encoding.UTF8.GetBytes(value) : null;
            }

            return Console.IsInputRedirected ? null : Prompt();
        };

    private static byte[]? Prompt()
    {
        Console.Error.Write("Mã PIN / PIN: ");
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
