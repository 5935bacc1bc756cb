using System.CommandLine;
using System.Net;
using System.Security.Cryptography;
using System.Text.Json;
using Npgsql;
using SecureMail.Backup;
using SecureMail.Cms;
using SecureMail.Exchange;
using SecureMail.Gateway.Directories;
using SecureMail.Gateway.Inbound;
using SecureMail.Gateway.Outbound;
using SecureMail.Gateway.Registers;
using SecureMail.Gateway.Retention;
using SecureMail.Host.Errors;
using SecureMail.Host.Words;
using SecureMail.Ledger;
using SecureMail.Mail.Mime;
using SecureMail.Pkcs11;
using SecureMail.Storage;
using SecureMail.Verification;

namespace SecureMail.Host;

/// <summary>
/// What all commands share: options, JSON lines on standard output, and one mapping from what went wrong to one line on
/// standard error and an exit code. A stack trace is shown with <c>--verbose</c> alone.
/// </summary>
internal static class CommandLine
{
    public static readonly Option<bool> Verbose = new("--verbose")
    {
        Description = Phrase.Of("option.verbose"),
        Recursive = true,
    };

    public static Option<string?> Config() =>
        new("--config") { Description = Phrase.Of("option.config") };

    public static Option<string?> Data() => new("--data") { Description = Phrase.Of("option.data") };

    public static Option<bool> JsonLines() =>
        new("--json") { Description = Phrase.Of("option.json") };

    /// <summary>A mistyped option is no file: what begins like one must be there, or follow <c>./</c>.</summary>
    public static void RefuseOptions<T>(this Argument<T> files) =>
        files.Validators.Add(result =>
        {
            if (result.Tokens.FirstOrDefault(t => t.Value.StartsWith('-') && !File.Exists(t.Value)) is { } stray)
            {
                result.AddError(Phrase.Of("option.none-such", stray.Value));
            }
        });

    public static Option<bool> Force() =>
        new("--force") { Description = Phrase.Of("option.force") };

    /// <summary>What a command made: a JSON line, or a sentence; nothing where the product itself went to standard
    /// output.</summary>
    public static void Say(bool json, string output, object record, string sentence)
    {
        if (json && output != "-")
        {
            WriteJson(record);
        }
        else if (output != "-")
        {
            Console.Out.WriteLine(sentence);
        }
    }

    public static void WriteJson(object value) =>
        Console.Out.WriteLine(JsonSerializer.Serialize(value, FindingJson.Options));

    /// <summary>Parses and runs; every way out has its exit code.</summary>
    public static async Task<int> RunAsync(RootCommand root, string[] args)
    {
        var parsed = root.Parse(args);
        if (parsed.Errors.Count > 0)
        {
            Console.Error.WriteLine(parsed.Errors[0].Message + " (--help)");
            return ExitCode.Usage;
        }

        try
        {
            return await parsed.InvokeAsync(
                new InvocationConfiguration
                {
                    EnableDefaultExceptionHandler = false,
                    ProcessTerminationTimeout = TimeSpan.FromSeconds(60),
                });
        }
        catch (Exception e)
        {
            return Report(e, parsed.GetValue(Verbose));
        }
    }

    /// <summary>Writes what went wrong to standard error, in one line or with <c>--verbose</c> in full, and returns the
    /// exit code.</summary>
    public static int Report(Exception e, bool verbose)
    {
        var code = ExitOf(e);
        // What a gateway says of a fault of its own is for this person.
        var line = code == ExitCode.Software && e is not GatewayProblemException
            ? ErrorWords.OfSoftware(e) : ErrorWords.Of(e);
        Console.Error.WriteLine(verbose ? e.ToString() : line.ReplaceLineEndings(" "));
        return code;
    }

    private static int ExitOf(Exception e) =>
        e switch
        {
            UsageException => ExitCode.Usage,
            ConfigurationException c => c.Opens ? ExitCode.Data : ExitCode.NoInput,
            ErasureRefusedException or NumberRefusedException or RegistrationRefusedException
                or SubmissionRefusedException or NotPermittedException =>
                ExitCode.NotPermitted,
            GatewayProblemException { Status: HttpStatusCode.UnprocessableEntity } => ExitCode.NotPermitted,
            GatewayProblemException { Status: HttpStatusCode.ServiceUnavailable } => ExitCode.Unavailable,
            GatewayProblemException { Status: HttpStatusCode.InternalServerError } => ExitCode.Software,
            GatewayProblemException => ExitCode.Data,
            DirectoryException { Code: ReasonCode.DirectoryMissing } => ExitCode.Unavailable,
            DirectoryException => ExitCode.NotPermitted,
            StorageUnavailableException or NpgsqlException => ExitCode.Unavailable,
            Pkcs11Exception p => ExitOf(p.Fault),
            CmsException { Error: CmsError.NotForUs } => ExitCode.Undecided,
            CmsException or MimeException => ExitCode.Data,
            DataFolderInUseException => ExitCode.NotPermitted,
            LedgerException or BackupException or ContentErasedException => ExitCode.Data,
            SecretFileException or InvalidDataException or CryptographicException => ExitCode.Data,
            FileNotFoundException or DirectoryNotFoundException or UnauthorizedAccessException => ExitCode.NoInput,
            // The disk is full, or the like. Nothing is left half done.
            IOException => ExitCode.TryLater,
            System.Net.Sockets.SocketException => ExitCode.Unavailable,
            OperationCanceledException => ExitCode.TryLater,
            _ => ExitCode.Software,
        };

    private static int ExitOf(Pkcs11Fault fault) =>
        fault switch
        {
            Pkcs11Fault.UriInvalid => ExitCode.Usage,
            Pkcs11Fault.PinRequired
            or Pkcs11Fault.PinIncorrect
            or Pkcs11Fault.PinRefused
            or Pkcs11Fault.PinLocked
            or Pkcs11Fault.PinExpired
            or Pkcs11Fault.Cancelled => ExitCode.NotPermitted,
            _ => ExitCode.Unavailable,
        };
}

/// <summary>The command line was not what the command takes.</summary>
internal sealed class UsageException(string message) : Exception(message);
