using System.Net;
using Microsoft.Extensions.Configuration;
using SecureMail.Backup;
using SecureMail.Gateway;
using SecureMail.Gateway.Clock;
using SecureMail.Gateway.Directories;
using SecureMail.Gateway.Health;
using SecureMail.Gateway.Inbound;
using SecureMail.Gateway.Keys;
using SecureMail.Gateway.Outbound;
using SecureMail.Gateway.Retention;
using SecureMail.Host.Services;
using SecureMail.Mail.Smtp.Server;
using SecureMail.Storage;

namespace SecureMail.Host;

/// <summary>
/// The configuration of one process: a JSON file, then environment variables <c>SECUREMAIL__SECTION__NAME</c>, then
/// options of the command line. Every value is checked here, before anything starts; the first fault is said in one
/// line with its name.
/// </summary>
internal static class Configuration
{
    private static readonly HashSet<string> Known = new(StringComparer.OrdinalIgnoreCase)
    {
        "Name",
        "Data",
        "Http",
        "Smtp",
        "Database:Connection",
        "Database:OwnerConnection",
        "Tls:Certificate",
        "Tls:Key",
        "Directory:Publisher",
        "Delivery:ReceiptDue",
        "Delivery:GiveUpAfter",
        "Delivery:DelayNoticeAfter",
        "Delivery:PerDestination",
        "Delivery:IndeterminateFor",
        "Delivery:ClockSettles",
        "Delivery:LargestMessage",
        "Telemetry:Otlp",
        "Limits:LeastFree",
        "Limits:LeastFreeTemporary",
        "Limits:QueueDepth",
        "Limits:SlowDatabase",
        "Limits:Connections",
        "Limits:ConnectionsPerAddress",
        "Limits:ConnectionsPerPeer",
        "Limits:Messages",
        "Limits:MessagesPerPeer",
        "Limits:CommandTimeout",
        "Limits:TimeToTls",
        "Limits:TlsTimeout",
        "Limits:SessionTime",
        "Limits:DataBlockTimeout",
        "Limits:DataGrace",
        "Limits:DataBytesPerSecond",
        "Retention:Documents",
        "Retention:Composed",
        "Retention:Receipts",
        "Retention:Quarantine",
        "Retention:Duplicates",
        "Retention:DeadWork",
        "Retention:Alarms",
        "Retention:Checkpoints",
        "Backup:Folder",
        "Backup:RecoveryCertificate",
        "Backup:Synchronous",
        "Backup:Connection",
    };

    private static readonly string[] KnownLists = ["Trust:Anchors", "Trust:Intermediates", "Trust:Crls", "Tokens"];

    /// <summary>Reads it.</summary>
    /// <param name="file">The JSON file; null: <c>SECUREMAIL_CONFIG</c>, else <c>securemail.json</c> in the data folder
    /// or the current one, where there is one.</param>
    /// <exception cref="ConfigurationException">Unreadable, an unknown name, or a value that cannot be.</exception>
    public static HostConfiguration Load(string? file, string? data, string? http = null, string? smtp = null)
    {
        file ??= Environment.GetEnvironmentVariable("SECUREMAIL_CONFIG") ?? DefaultFile(data);
        var builder = new ConfigurationBuilder();
        if (file is not null)
        {
            if (!File.Exists(file))
            {
                throw new ConfigurationException(
                    $"Không có tệp cấu hình {file}. / There is no configuration file {file}.", opens: false);
            }

            builder.AddJsonFile(Path.GetFullPath(file), optional: false);
        }

        IConfigurationRoot root;
        try
        {
            root = builder.AddEnvironmentVariables("SECUREMAIL__").Build();
        }
        catch (Exception e) when (e is InvalidDataException or FormatException or IOException)
        {
            throw new ConfigurationException(
                $"Tệp cấu hình {file} hỏng: {e.InnerException?.Message ?? e.Message} / The configuration file {file} is "
                    + $"damaged.");
        }

        RequireKnown(root);
        // Paths in the file are relative to the file; those of the command line to where it was typed.
        var home = file is null ? Environment.CurrentDirectory : Path.GetDirectoryName(Path.GetFullPath(file))!;
        var folder =
            data is not null ? Path.GetFullPath(data)
            : Text(root, "Data") is { } d ? Path.GetFullPath(d, home)
            : DefaultData();
        var smtpListener = new SmtpListenerOptions
        {
            Listen = EndPoint("Smtp", smtp ?? Text(root, "Smtp")),
            Limits = SmtpLimits(root),
        };
        return new HostConfiguration(
            new GatewaySettings
            {
                Directory = new DirectoryOptions
                {
                    Name = Name(Text(root, "Name") ?? Environment.MachineName.ToLowerInvariant()),
                    Publisher = PathOf(root, "Directory:Publisher", home),
                },
                Database = new DatabaseOptions(
                    folder, Text(root, "Database:Connection"), Text(root, "Database:OwnerConnection")),
                Keys = new KeyOptions
                {
                    Folder = Path.Combine(folder, "keys"),
                    TlsCertificate = PathOf(root, "Tls:Certificate", home),
                    TlsKey = PathOf(root, "Tls:Key", home),
                    Tokens = Tokens(root, home),
                },
                Trust = new TrustOptions
                {
                    Anchors = Paths(root, "Trust:Anchors", home),
                    Intermediates = Paths(root, "Trust:Intermediates", home),
                    Crls = Paths(root, "Trust:Crls", home),
                },
                Clock = new ClockOptions
                {
                    ClockSettles = Span(root, "Delivery:ClockSettles", TimeSpan.FromMinutes(10)),
                },
                Delivery = new DeliveryOptions
                {
                    ReceiptDue = Span(root, "Delivery:ReceiptDue", TimeSpan.FromHours(24)),
                    GiveUpAfter = Span(root, "Delivery:GiveUpAfter", TimeSpan.FromDays(5)),
                    DelayNoticeAfter = Span(root, "Delivery:DelayNoticeAfter", TimeSpan.FromHours(4)),
                    PerDestination = Count(root, "Delivery:PerDestination", 4, 16),
                    LargestMessage = Size(root, "Delivery:LargestMessage", 200L * 1024 * 1024),
                },
                Inbound = new InboundOptions
                {
                    IndeterminateFor = Span(root, "Delivery:IndeterminateFor", TimeSpan.FromHours(4)),
                },
                Backup = Backup(root, home),
                Retention = Retention(root),
                Health = Health(root),
            },
            smtpListener,
            Loopback(EndPoint("Http", http ?? Text(root, "Http"))),
            Text(root, "Telemetry:Otlp") is { } otlp ? Endpoint(otlp) : null);
    }

    private static string? DefaultFile(string? data)
    {
        string[] places = data is null
            ? ["securemail.json"]
            : [Path.Combine(data, "securemail.json"), "securemail.json"];
        return places.FirstOrDefault(File.Exists);
    }

    private static string DefaultData() =>
        Environment.IsPrivilegedProcess
            ? "/var/lib/securemail/data"
            : Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.LocalApplicationData), "securemail");

    private static void RequireKnown(IConfigurationRoot root)
    {
        foreach (var (key, value) in root.AsEnumerable())
        {
            if (value is not null
                && !Known.Contains(key)
                && !KnownLists.Any(l => key.StartsWith(l + ":", StringComparison.OrdinalIgnoreCase)))
            {
                throw new ConfigurationException(
                    $"Cấu hình có tên lạ: {key}. / The configuration has an unknown name: {key}.");
            }
        }
    }

    private static string? Text(IConfiguration root, string key) =>
        string.IsNullOrWhiteSpace(root[key]) ? null : root[key];

    private static string Name(string name) =>
        name.Length is > 0 and <= 120 && name.All(c => char.IsAsciiLetterOrDigit(c) || c is '.' or '-')
            ? name
            : throw Fault(
                "Name", "chỉ gồm chữ không dấu, số, dấu chấm và gạch nối", "letters, digits, dots and hyphens only");

    private static IPEndPoint? EndPoint(string key, string? text) =>
        text is null ? null
        : IPEndPoint.TryParse(text.Replace("localhost", "127.0.0.1", StringComparison.Ordinal), out var point)
        && text.Contains(':', StringComparison.Ordinal)
            ? point
        : throw Fault(
            key, "cần dạng ĐỊA-CHỈ:CỔNG, ví dụ 127.0.0.1:8080", "ADDRESS:PORT is needed, e.g. 127.0.0.1:8080");

    private static IPEndPoint? Loopback(IPEndPoint? http) =>
        http is null || IPAddress.IsLoopback(http.Address)
            ? http
            : throw Fault(
                "Http", "trang quản trị chưa có đăng nhập nên chỉ chạy trên địa chỉ loopback",
                "the console has no sign-in yet and listens on loopback only");

    private static Uri Endpoint(string text) =>
        Uri.TryCreate(text, UriKind.Absolute, out var uri) && uri.Scheme is "http" or "https"
            ? uri
            : throw Fault("Telemetry:Otlp", "cần một URL http", "an http URL is needed");

    private static string? PathOf(IConfiguration root, string key, string home) =>
        Text(root, key) is not { } path ? null
        : File.Exists(Path.GetFullPath(path, home)) ? Path.GetFullPath(path, home)
        : throw Fault(key, $"không có tệp {path}", $"there is no file {path}");

    private static List<string> Paths(IConfiguration root, string key, string home)
    {
        List<string> paths = [];
        foreach (var path in root.GetSection(key).GetChildren().Select(c => c.Value).OfType<string>())
        {
            var full = Path.GetFullPath(path, home);
            paths.Add(
                File.Exists(full) || Directory.Exists(full)
                    ? full
                    : throw Fault(key, $"không có {path}", $"there is no {path}"));
        }

        return paths;
    }

    private static List<TokenOptions> Tokens(IConfiguration root, string home)
    {
        List<TokenOptions> tokens = [];
        foreach (var section in root.GetSection("Tokens").GetChildren())
        {
            var uri = Text(section, "Uri") ?? throw Fault(section.Path, "thiếu Uri", "Uri is missing");
            if (
                section
                    .GetChildren()
                    .FirstOrDefault(c => c.Key.ToUpperInvariant() is not ("URI" or "PINFILE" or "PINENV")) is
                { } stray)
            {
                throw Fault(
                    stray.Path, "tên lạ (mã PIN không được ghi trong cấu hình; dùng PinFile hoặc PinEnv)",
                    "unknown name (a PIN is never written here: PinFile or PinEnv)");
            }

            tokens.Add(
                new TokenOptions(
                    uri, Text(section, "PinFile") is { } pin ? Path.GetFullPath(pin, home) : null,
                    Text(section, "PinEnv")));
        }

        return tokens;
    }

    private static BackupOptions Backup(IConfigurationRoot root, string home)
    {
        if (Text(root, "Backup:Folder") is not { } folder)
        {
            return new BackupOptions();
        }

        var certificate = PathOf(root, "Backup:RecoveryCertificate", home)
            ?? throw Fault(
                "Backup:RecoveryCertificate", "thiếu chứng thư phục hồi", "the recovery certificate is missing");
        var synchronous = Text(root, "Backup:Synchronous") ?? "true";
        return bool.TryParse(synchronous, out var waits)
            ? new BackupOptions
            {
                Folder = Path.GetFullPath(folder, home),
                RecoveryCertificate = certificate,
                Synchronous = waits,
                Connection = Text(root, "Backup:Connection"),
            }
            : throw Fault("Backup:Synchronous", "cần true hoặc false", "true or false is needed");
    }

    private static TimeSpan Span(IConfiguration root, string key, TimeSpan standard) =>
        Text(root, key) is not { } text ? standard
        : TimeSpan.TryParse(text, System.Globalization.CultureInfo.InvariantCulture, out var span)
        && span > TimeSpan.Zero
            ? span
        : throw Fault(
            key, "cần một khoảng thời gian dương, ví dụ 1.00:00:00", "a positive time span is needed, e.g. 1.00:00:00");

    private static int Count(IConfiguration root, string key, int standard, int most) =>
        Text(root, key) is not { } text ? standard
        : int.TryParse(text, out var count) && count >= 1 && count <= most ? count
        : throw Fault(key, $"cần một số từ 1 tới {most}", $"a number from 1 to {most} is needed");

    private static long Size(IConfiguration root, string key, long standard, long most = 2L * 1024 * 1024 * 1024) =>
        Text(root, key) is not { } text ? standard
        : long.TryParse(text, out var size) && size >= 64 * 1024 && size <= most ? size
        : throw Fault(key, $"cần số octet từ 65536 tới {most}", $"a number of octets from 65536 to {most} is needed");

    private static HealthOptions Health(IConfiguration root)
    {
        var standard = new HealthOptions();
        return new HealthOptions
        {
            LeastFree = Free(root, "Limits:LeastFree", standard.LeastFree),
            LeastFreeTemporary = Free(root, "Limits:LeastFreeTemporary", standard.LeastFreeTemporary),
            QueueDepth = Count(root, "Limits:QueueDepth", standard.QueueDepth, 10_000_000),
            SlowDatabase = Span(root, "Limits:SlowDatabase", standard.SlowDatabase),
        };
    }

    private static long Free(IConfiguration root, string key, long standard) =>
        Text(root, key) == "0" ? 0 : Size(root, key, standard, long.MaxValue);

    private static SmtpServerLimits SmtpLimits(IConfiguration root)
    {
        var smtp = new SmtpServerLimits();
        return smtp with
        {
            Connections = Count(root, "Limits:Connections", smtp.Connections, 10_000),
            ConnectionsPerAddress = Count(root, "Limits:ConnectionsPerAddress", smtp.ConnectionsPerAddress, 10_000),
            ConnectionsPerPeer = Count(root, "Limits:ConnectionsPerPeer", smtp.ConnectionsPerPeer, 10_000),
            Messages = Count(root, "Limits:Messages", smtp.Messages, 1000),
            MessagesPerPeer = Count(root, "Limits:MessagesPerPeer", smtp.MessagesPerPeer, 1000),
            CommandTimeout = Span(root, "Limits:CommandTimeout", smtp.CommandTimeout),
            TimeToTls = Span(root, "Limits:TimeToTls", smtp.TimeToTls),
            TlsTimeout = Span(root, "Limits:TlsTimeout", smtp.TlsTimeout),
            SessionTime = Span(root, "Limits:SessionTime", smtp.SessionTime),
            DataBlockTimeout = Span(root, "Limits:DataBlockTimeout", smtp.DataBlockTimeout),
            DataGrace = Span(root, "Limits:DataGrace", smtp.DataGrace),
            DataBytesPerSecond = Count(root, "Limits:DataBytesPerSecond", smtp.DataBytesPerSecond, int.MaxValue),
        };
    }

    private static RetentionOptions Retention(IConfiguration root)
    {
        var standard = new RetentionOptions();
        return new RetentionOptions
        {
            Documents = Days(root, "Retention:Documents", standard.Documents),
            Composed = Days(root, "Retention:Composed", standard.Composed),
            Receipts = Days(root, "Retention:Receipts", standard.Receipts),
            Quarantine = Days(root, "Retention:Quarantine", standard.Quarantine),
            Duplicates = Days(root, "Retention:Duplicates", standard.Duplicates),
            DeadWork = Days(root, "Retention:DeadWork", standard.DeadWork),
            Alarms = Days(root, "Retention:Alarms", standard.Alarms),
            Checkpoints = Days(root, "Retention:Checkpoints", standard.Checkpoints),
        };
    }

    // A week at least: what is destroyed too early by a mistyped figure does not come back.
    private static int? Days(IConfiguration root, string key, int? standard) =>
        Text(root, key) switch
        {
            null => standard,
            "forever" => null,
            var text => int.TryParse(text, System.Globalization.CultureInfo.InvariantCulture, out var days)
            && days is >= 7 and <= 36500
                ? days
                : throw Fault(
                    key, "cần số ngày từ 7 tới 36500, hoặc forever",
                    "a number of days from 7 to 36500 is needed, or forever"),
        };

    private static ConfigurationException Fault(string key, string vi, string en) =>
        new($"Cấu hình {key}: {vi}. / Configuration {key}: {en}.");
}

/// <param name="Http">Where the console listens; null: 127.0.0.1:8080.</param>
/// <param name="Otlp">Where metrics and traces go; null: nowhere.</param>
internal sealed record HostConfiguration(
    GatewaySettings Gateway, SmtpListenerOptions Smtp, IPEndPoint? Http, Uri? Otlp);

/// <summary>The configuration cannot be used.</summary>
/// <param name="opens">False when the file cannot be opened at all.</param>
internal sealed class ConfigurationException(string message, bool opens = true) : Exception(message)
{
    public bool Opens => opens;
}
