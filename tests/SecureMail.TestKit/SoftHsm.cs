using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text;

namespace SecureMail.TestKit;

/// <summary>
/// SoftHSM with a token folder of its own for the whole process: SOFTHSM2_CONF is read when the module is initialised,
/// so it is set once, before anything loads it. The module sees the tokens that exist when it is initialised: make
/// tokens first, open them afterwards.
/// </summary>
public static class SoftHsm
{
    public const string Pin = "246813";

    /// <summary>Tokens besides those of the development PKI, empty at first. All are made before the module is loaded,
    /// whichever test comes first.</summary>
    public const string OfficeToken = "Văn thư A";

    /// <summary>Objects as other tools leave them, and one key for signing beside one for decryption.</summary>
    public const string OddToken = "Khóa lạ";
    public const string OneKeyToken = "one-key";

    private static readonly string[] Tokens = [OfficeToken, "empty", "cli-wrong-pin", OddToken, OneKeyToken];

    // On a thread of the pool: xUnit's own few threads may all wait for it.
    private static readonly Lazy<string> Home = new(() => Task.Run(Prepare).GetAwaiter().GetResult());

    public static string Module { get; } =
        new[]
        {
            "/usr/lib/softhsm/libsofthsm2.so",
            "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
            "/usr/lib64/pkcs11/libsofthsm2.so",
        }.First(File.Exists);

    public static string Folder => Home.Value;

    // The file of each token with its label, its serial number and its PINs, as it was made.
    private static Dictionary<string, byte[]> Descriptions { get; set; } = [];

    /// <summary>pkcs11-tool on a token of ours, logged in.</summary>
    public static Task ToolAsync(string label, params string[] arguments) =>
        RunAsync("pkcs11-tool", ["--module", Module, "--token-label", label, "--login", "--pin", Pin, .. arguments]);

    /// <summary>Environment of this process as native code sees it: .NET's own setter stays within .NET.</summary>
    public static void SetNativeVariable(string name, string value)
    {
        Environment.SetEnvironmentVariable(name, value);
        if (setenv(Encoding.UTF8.GetBytes(name + "\0"), Encoding.UTF8.GetBytes(value + "\0"), 1) != 0)
        {
            throw new InvalidOperationException("setenv failed");
        }
    }

    public static async Task<string> RunAsync(string file, params string[] arguments)
    {
        using var process = Process.Start(
            new ProcessStartInfo(file, arguments)
            {
                RedirectStandardOutput = true,
                RedirectStandardError = true,
                UseShellExecute = false,
            }
        )!;
        var output = process.StandardOutput.ReadToEndAsync();
        var error = await process.StandardError.ReadToEndAsync();
        await process.WaitForExitAsync();
        return process.ExitCode == 0
            ? await output
            : throw new InvalidOperationException($"{file} ended with {process.ExitCode}: {error}");
    }

    /// <summary>Gives tokens back that a killed process left without their description. SoftHSM writes the file anew
    /// at each login, and is not made for a kill between its emptying and its writing.</summary>
    public static void MendTokens() => Mend(Descriptions);

    /// <summary>Gives every file back that is empty. One that holds something is another's to change.</summary>
    /// <param name="files">What each held at first, by its path.</param>
    internal static void Mend(IReadOnlyDictionary<string, byte[]> files)
    {
        foreach (var (path, octets) in files)
        {
            if (new FileInfo(path).Length == 0)
            {
                File.WriteAllBytes(path, octets);
            }
        }
    }

    private static string Prepare()
    {
        var folder = Directory.CreateTempSubdirectory("smhsm").FullName;
        Directory.CreateDirectory(Path.Combine(folder, "tokens"));
        var configuration = Path.Combine(folder, "softhsm2.conf");
        File.WriteAllText(
            configuration, $"directories.tokendir = {folder}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n");
        SetNativeVariable("SOFTHSM2_CONF", configuration);
        MakeDevelopmentPki(Path.Combine(folder, "pki"), configuration);
        foreach (var label in Tokens)
        {
            RunAsync("softhsm2-util", "--init-token", "--free", "--label", label, "--so-pin", "13572468", "--pin", Pin)
                .GetAwaiter()
                .GetResult();
        }

        Descriptions = Directory
            .EnumerateFiles(folder, "token.object", SearchOption.AllDirectories)
            .ToDictionary(path => path, File.ReadAllBytes);
        AppDomain.CurrentDomain.ProcessExit += (_, _) => Directory.Delete(folder, recursive: true);
        return folder;
    }

    /// <summary>The agencies of certs-dev, their tokens among the others: made here, because the module sees only
    /// tokens that were there before it.</summary>
    private static void MakeDevelopmentPki(string folder, string configuration)
    {
        SetNativeVariable("SECUREMAIL_DEV_SOFTHSM2_CONF", configuration);
        RunAsync(Path.Combine(Repository.Root, "certs-dev", "make"), folder).GetAwaiter().GetResult();
    }

    [DllImport("libc")]
    private static extern int setenv(byte[] name, byte[] value, int overwrite);
}
