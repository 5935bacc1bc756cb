using System.CommandLine;
using System.Security.Cryptography;
using System.Text.Encodings.Web;
using System.Text.Json;
using Npgsql;
using SecureMail.Backup;
using SecureMail.Cms;
using SecureMail.Exchange;
using SecureMail.Gateway.Directories;
using SecureMail.Gateway.Outbound;
using SecureMail.Gateway.Retention;
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
    public static readonly JsonSerializerOptions Json = new(JsonSerializerDefaults.Web)
    {
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    };

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

    public static void WriteJson(object value) => Console.Out.WriteLine(JsonSerializer.Serialize(value, Json));

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

    /// <summary>Says in one line what went wrong, with <c>--verbose</c> in many, and answers the exit code.</summary>
    public static int Report(Exception e, bool verbose)
    {
        var (code, sentence) = Explain(e);
        Console.Error.WriteLine(verbose ? e.ToString() : sentence.ReplaceLineEndings(" "));
        return code;
    }

    private static (int Code, string Sentence) Explain(Exception e) =>
        e switch
        {
            UsageException => (ExitCode.Usage, e.Message),
            ConfigurationException c => (c.Opens ? ExitCode.Data : ExitCode.NoInput, e.Message),
            ErasureRefusedException or SubmissionRefusedException or NotPermittedException => (
                ExitCode.NotPermitted, e.Message),
            DirectoryException { Code: ReasonCode.DirectoryMissing } => (ExitCode.Unavailable, e.Message),
            DirectoryException => (ExitCode.NotPermitted, e.Message),
            StorageUnavailableException or NpgsqlException => (ExitCode.Unavailable, e.Message),
            Pkcs11Exception p => (ExitOf(p.Fault), $"{p.Vi} / {p.Message}"),
            CmsException { Error: CmsError.NotForUs } => (ExitCode.Undecided, e.Message),
            CmsException or MimeException => (
                ExitCode.Data, $"Dữ liệu không dùng được: {e.Message}. / Unusable data: {e.Message}."),
            DataFolderInUseException => (ExitCode.NotPermitted, e.Message),
            LedgerException or BackupException or ContentErasedException => (ExitCode.Data, e.Message),
            InvalidDataException or CryptographicException => (ExitCode.Data, e.Message),
            FileNotFoundException or DirectoryNotFoundException or UnauthorizedAccessException => (
                ExitCode.NoInput, e.Message),
            // Disk full and the like: nothing was left half done.
            IOException => (ExitCode.TryLater, e.Message),
            System.Net.Sockets.SocketException s => (
                ExitCode.Unavailable,
                $"Không mở được địa chỉ mạng đã cấu hình ({s.SocketErrorCode}); có thể một chương trình khác đang dùng. "
                    + $"/ The configured address cannot be listened on ({s.SocketErrorCode}): another program may be "
                    + $"using it."),
            OperationCanceledException => (ExitCode.TryLater, "Đã dừng. / Stopped."),
            _ => (
                ExitCode.Software,
                $"Lỗi của chương trình ({e.GetType().Name}); chạy lại với --verbose và báo cho quản trị. / A fault of "
                    + $"ours ({e.GetType().Name}): run again with --verbose and report it."),
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
