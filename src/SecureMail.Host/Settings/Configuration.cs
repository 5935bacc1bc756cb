using System.ComponentModel;
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
using SecureMail.Host.Words;
using SecureMail.Mail.Smtp.Server;
using SecureMail.Storage;

namespace SecureMail.Host.Settings;

/// <summary>
/// The configuration of one process: a JSON file, then environment variables <c>SECUREMAIL__SECTION__NAME</c>, then
/// options of the command line. The platform's binder fills the options records from it.
/// </summary>
/// <remarks>
/// Names and values are checked before anything is bound, with or without a host, because a command opens the database
/// before a host could start. The first fault is said in one line with its name, and what is not known with the nearest
/// name that is. A name is defined by its property alone (<see cref="Setting"/>).
/// </remarks>
internal static class Configuration
{
    /// <summary>Every name there is, in the order in which the reference lists them.</summary>
    public static IReadOnlyList<Setting> Settings { get; }

    private static readonly Dictionary<string, Setting> Known;

    static Configuration()
    {
        TypeDescriptor.AddAttributes(typeof(IPEndPoint), new TypeConverterAttribute(typeof(IPEndPointConverter)));
        Type[] records =
        [
            typeof(DirectoryOptions), typeof(ProcessOptions), typeof(SmtpListenerOptions), typeof(DatabaseOptions),
            typeof(KeyOptions), typeof(TrustOptions), typeof(DeliveryOptions), typeof(InboundOptions),
            typeof(ClockOptions), typeof(HealthOptions), typeof(SmtpServerLimits), typeof(RetentionOptions),
            typeof(BackupOptions),
        ];
        Settings = [.. records.SelectMany(r => Setting.Of(r))];
        Known = Settings.ToDictionary(s => s.Name, StringComparer.OrdinalIgnoreCase);
    }

    /// <summary>Reads it.</summary>
    /// <param name="file">The JSON file; null: <c>SECUREMAIL_CONFIG</c>, else <c>securemail.json</c> in the data folder
    /// or the current one, where there is one.</param>
    /// <exception cref="ConfigurationException">Unreadable, an unknown name, or a value that cannot be.</exception>
    public static HostConfiguration Load(string? file, string? data, string? http = null, string? smtp = null)
    {
        file ??= Environment.GetEnvironmentVariable("SECUREMAIL_CONFIG") ?? DefaultFile(data);
        // Paths in the file are relative to the file; those of the command line to where it was typed.
        var home = file is null ? Environment.CurrentDirectory : Path.GetDirectoryName(Path.GetFullPath(file))!;
        var given = Read(
            file,
            new Dictionary<string, string?>
            {
                ["Data"] = data is null ? null : Path.GetFullPath(data),
                ["Http"] = http,
                ["Smtp"] = smtp,
            });
        Dictionary<string, string?> values = new(StringComparer.OrdinalIgnoreCase);
        List<ChangedSetting> changed = [];
        foreach (var (key, text) in given.AsEnumerable().OrderBy(p => p.Key, StringComparer.OrdinalIgnoreCase))
        {
            if (Find(key, text) is { } setting && !string.IsNullOrWhiteSpace(text))
            {
                var value = setting.Read(key, text, home);
                values[key] = value;
                if (!setting.IsDefault(value))
                {
                    // The environment's names are in capitals; the log has the setting's own.
                    changed.Add(
                        new ChangedSetting(
                            setting.Name.Contains('#', StringComparison.Ordinal) ? key : setting.Name,
                            setting.Show(text)));
                }
            }
        }

        RequireWholeElements(values);
        return Bind(values, changed);
    }

    private static HostConfiguration Bind(Dictionary<string, string?> values, IReadOnlyList<ChangedSetting> changed)
    {
        values.TryAdd("Name", Environment.MachineName.ToLowerInvariant());
        values.TryAdd("Data", DefaultData());
        // What follows from the data folder, and is no setting of its own.
        values["Database:DataFolder"] = values["Data"];
        values["Folder"] = Path.Combine(values["Data"]!, "keys");
        var root = new ConfigurationBuilder().AddInMemoryCollection(values).Build();
        var backup = Of<BackupOptions>(root);
        if (backup is { IsConfigured: true, RecoveryCertificate: null })
        {
            throw new ConfigurationException(
                Phrase.Of(
                    "configuration.fault", "Backup:RecoveryCertificate",
                    Phrase.Of("configuration.no-recovery-certificate")));
        }

        return new HostConfiguration(
            new GatewaySettings
            {
                Directory = Of<DirectoryOptions>(root),
                Database = Of<DatabaseOptions>(root),
                Keys = Of<KeyOptions>(root),
                Trust = Of<TrustOptions>(root),
                Clock = Of<ClockOptions>(root),
                Delivery = Of<DeliveryOptions>(root),
                Inbound = Of<InboundOptions>(root),
                Health = Of<HealthOptions>(root),
                Retention = Of<RetentionOptions>(root),
                Backup = backup,
            },
            Of<SmtpListenerOptions>(root),
            Of<ProcessOptions>(root),
            changed);
    }

    private static T Of<T>(IConfigurationRoot root)
        where T : class
    {
        IConfiguration configuration = Setting.SectionOf(typeof(T)) is { } section ? root.GetSection(section) : root;
        return configuration.Get<T>() ?? Activator.CreateInstance<T>();
    }

    private static IConfigurationRoot Read(string? file, Dictionary<string, string?> arguments)
    {
        var builder = new ConfigurationBuilder();
        if (file is not null)
        {
            if (!File.Exists(file))
            {
                throw new ConfigurationException(Phrase.Of("configuration.missing", file), opens: false);
            }

            builder.AddJsonFile(Path.GetFullPath(file), optional: false);
        }

        try
        {
            return builder
                .AddEnvironmentVariables("SECUREMAIL__")
                .AddInMemoryCollection(arguments.Where(a => a.Value is not null))
                .Build();
        }
        catch (Exception e) when (e is InvalidDataException or FormatException or IOException)
        {
            throw new ConfigurationException(
                Phrase.Of("configuration.damaged", file, e.InnerException?.Message ?? e.Message));
        }
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

    /// <summary>The setting of a key; null: a section, which has no value of its own.</summary>
    private static Setting? Find(string key, string? text)
    {
        var pattern = Setting.Pattern(key);
        if (Known.GetValueOrDefault(pattern) is { } setting)
        {
            return setting;
        }

        // An object or a list that is empty or null in the file.
        if (string.IsNullOrEmpty(text)
            && (text is null || Known.Keys.Any(n => n.StartsWith(pattern + ":", StringComparison.OrdinalIgnoreCase))))
        {
            return null;
        }

        throw new ConfigurationException(
            Phrase.Of(
                "configuration.fault", key,
                pattern.StartsWith("Tokens:", StringComparison.OrdinalIgnoreCase)
                    ? Phrase.Of("configuration.unknown-of-token")
                : NearestName.To(pattern, Known.Keys) is { } nearest
                    ? Phrase.Of("configuration.unknown-near", nearest.Replace("#", "0", StringComparison.Ordinal))
                : Phrase.Of("configuration.unknown")));
    }

    private static void RequireWholeElements(Dictionary<string, string?> values)
    {
        foreach (var required in Settings.Where(s => s.IsRequired))
        {
            var list = required.Name[..required.Name.IndexOf('#', StringComparison.Ordinal)];
            var name = required.Name[(list.Length + 1)..];
            foreach (var key in values.Keys.Where(k => k.StartsWith(list, StringComparison.OrdinalIgnoreCase)))
            {
                var element = key[..key.IndexOf(':', list.Length)];
                if (!values.ContainsKey(element + name))
                {
                    throw new ConfigurationException(
                        Phrase.Of(
                            "configuration.fault", element,
                            Phrase.Of("configuration.incomplete", name.TrimStart(':'))));
                }
            }
        }
    }
}

/// <param name="Process">What the process is told beside the gateway's settings.</param>
/// <param name="Changed">What is configured otherwise than it would be by itself, in the order of the names.</param>
internal sealed record HostConfiguration(
    GatewaySettings Gateway, SmtpListenerOptions Smtp, ProcessOptions Process, IReadOnlyList<ChangedSetting> Changed);

/// <param name="Value">As the log may show it.</param>
internal sealed record ChangedSetting(string Name, string Value);
