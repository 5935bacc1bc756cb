using System.Net;
using Microsoft.Extensions.Logging;
using SecureMail.Gateway.Retention;
using SecureMail.Host;
using SecureMail.Host.Settings;
using SecureMail.Mail.Smtp.Server;

namespace SecureMail.Tests.Host;

/// <summary>What a configuration may say, what comes of it, and how a fault is named.</summary>
public sealed class ConfigurationTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory().FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void An_empty_configuration_leaves_every_default()
    {
        var loaded = Load("{}");
        loaded.Changed.ShouldBeEmpty();
        loaded.Gateway.Retention.ShouldBe(new RetentionOptions());
        loaded.Smtp.Limits.ShouldBe(new SmtpServerLimits());
        loaded.Process.Http.ShouldBe(new IPEndPoint(IPAddress.Loopback, 8080));
        loaded.Smtp.Listen.ShouldBeNull();
        loaded.Gateway.Keys.Tokens.ShouldBeEmpty();
        loaded.Gateway.Keys.Folder.ShouldBe(Path.Combine(loaded.Gateway.Database.DataFolder, "keys"));
    }

    [Fact]
    public void Every_record_is_filled_from_its_section_and_paths_begin_at_the_file()
    {
        foreach (var name in (string[])["publisher.pem", "root.pem", "tls.pem", "tls.key", "recovery.pem"])
        {
            File.WriteAllText(Path.Combine(_folder, name), "");
        }

        var loaded = Load(
            """
            {
              "Name": "gw-a.example.vn", "Data": "data", "Http": "localhost:8081", "Smtp": "0.0.0.0:2525",
              "Database": { "Connection": "Host=db;Password=hidden" },
              "Tls": { "Certificate": "tls.pem", "Key": "tls.key" },
              "Directory": { "Publisher": "publisher.pem" },
              "Trust": { "Anchors": [ "root.pem", "." ], "Crls": [] },
              "Tokens": [ { "Uri": "pkcs11:token=a?pin-value=1234", "PinFile": "a.pin" }, { "Uri": "pkcs11:token=b" } ],
              "Delivery": { "ReceiptDue": "02:00:00", "IndeterminateFor": "00:30:00", "ClockSettles": "00:01:00",
                            "PerDestination": 16, "LargestMessage": 65536 },
              "Limits": { "LeastFree": 0, "Connections": 7, "SlowDatabase": "00:00:09", "DataGrace": "00:00:02" },
              "Retention": { "Documents": 400, "Composed": "forever" },
              "Backup": { "Folder": "backup", "RecoveryCertificate": "recovery.pem", "Synchronous": false },
              "Telemetry": { "Otlp": "http://user:hidden@127.0.0.1:4317/" }
            }
            """);
        var gateway = loaded.Gateway;
        gateway.Directory.Name.ShouldBe("gw-a.example.vn");
        gateway.Directory.Publisher.ShouldBe(In("publisher.pem"));
        gateway.Database.DataFolder.ShouldBe(In("data"));
        gateway.Database.Connection.ShouldBe("Host=db;Password=hidden");
        gateway.Keys.Folder.ShouldBe(In("data/keys"));
        gateway.Keys.TlsCertificate.ShouldBe(In("tls.pem"));
        gateway.Keys.TlsKey.ShouldBe(In("tls.key"));
        gateway.Keys.Tokens.Select(t => (t.Uri, t.PinFile)).ShouldBe(
            [("pkcs11:token=a?pin-value=1234", In("a.pin")), ("pkcs11:token=b", null)]);
        gateway.Trust.Anchors.ShouldBe([In("root.pem"), _folder]);
        gateway.Trust.Crls.ShouldBeEmpty();
        gateway.Delivery.ReceiptDue.ShouldBe(TimeSpan.FromHours(2));
        gateway.Delivery.PerDestination.ShouldBe(16);
        gateway.Delivery.LargestMessage.ShouldBe(65536);
        gateway.Inbound.IndeterminateFor.ShouldBe(TimeSpan.FromMinutes(30));
        gateway.Clock.ClockSettles.ShouldBe(TimeSpan.FromMinutes(1));
        gateway.Health.LeastFree.ShouldBe(0);
        gateway.Health.SlowDatabase.ShouldBe(TimeSpan.FromSeconds(9));
        gateway.Retention.Documents.ShouldBe(400);
        gateway.Retention.Composed.ShouldBeNull();
        gateway.Retention.Receipts.ShouldBe(730);
        gateway.Backup.Folder.ShouldBe(In("backup"));
        gateway.Backup.Synchronous.ShouldBeFalse();
        loaded.Smtp.Listen.ShouldBe(new IPEndPoint(IPAddress.Any, 2525));
        loaded.Smtp.Limits.Connections.ShouldBe(7);
        loaded.Smtp.Limits.DataGrace.ShouldBe(TimeSpan.FromSeconds(2));
        loaded.Process.Http.ShouldBe(new IPEndPoint(IPAddress.Loopback, 8081));
        loaded.Process.Otlp!.Port.ShouldBe(4317);
    }

    [Theory]
    [InlineData("Delivery:ReceiptDu", "1", "did you mean Delivery:ReceiptDue?")]
    [InlineData("delivery:receiptdues", "1", "did you mean Delivery:ReceiptDue?")]
    [InlineData("ReceiptDue", "1", "did you mean Delivery:ReceiptDue?")]
    [InlineData("Limit:QueueDepth", "1", "did you mean Limits:QueueDepth?")]
    [InlineData("Trust:Anchor:0", ".", "did you mean Trust:Anchors:0?")]
    [InlineData("Trust:Anchors", ".", "did you mean Trust:Anchors:0?")]
    [InlineData("Limits:MessageBytes", "70000", "unknown")]
    [InlineData("Folder", "x", "unknown")]
    [InlineData("Nonsense", "1", "unknown")]
    [InlineData("Tokens:0:Pin", "1234", "a PIN is never written here")]
    [InlineData("Tokens:0:PinFile", "a.pin", "Uri is missing")]
    [InlineData("Name", "Cổng A", "letters, digits, dots and hyphens")]
    [InlineData("Http", "0.0.0.0:8080", "loopback")]
    [InlineData("Smtp", "25", "ADDRESS:PORT")]
    [InlineData("Delivery:ReceiptDue", "-00:01:00", "a positive time span")]
    [InlineData("Delivery:ReceiptDue", "soon", "a positive time span")]
    [InlineData("Delivery:PerDestination", "17", "a number from 1 to 16")]
    [InlineData("Delivery:LargestMessage", "65535", "a number of bytes from 65536 to 2147483648")]
    [InlineData("Limits:LeastFree", "5", "or 0")]
    [InlineData("Retention:Documents", "6", "a number of days from 7 to 36500, or forever")]
    [InlineData("Retention:Documents", "never", "or forever")]
    [InlineData("Backup:Synchronous", "maybe", "true or false")]
    [InlineData("Backup:Folder", "b", "Backup:RecoveryCertificate: the recovery certificate is missing")]
    [InlineData("Tls:Key", "none.pem", "there is no file none.pem")]
    [InlineData("Telemetry:Otlp", "ftp://a", "an http or https URL")]
    public void What_cannot_be_is_named_in_both_languages(string name, string value, string said)
    {
        var refused = Should.Throw<ConfigurationException>(() => Load("{}", (name, value)));
        refused.Message.ShouldStartWith("Cấu hình ");
        refused.Message.ShouldContain($" / Configuration {name.Split(':')[0]}");
        refused.Message.ShouldContain(said);
        refused.Message.ShouldNotContain("1234");
    }

    [Fact]
    public void What_is_blank_is_not_set() =>
        Load("{ \"Smtp\": \" \", \"Tokens\": [], \"Backup\": null, \"Delivery\": { \"ReceiptDue\": \"\" } }")
            .Changed.ShouldBeEmpty();

    [Fact]
    public void Each_default_is_a_value_that_could_be_written()
    {
        foreach (var setting in Configuration.Settings.Where(s => s.DefaultText.Length > 0))
        {
            var read = setting.Read(setting.Name, setting.DefaultText, _folder);
            setting.IsDefault(read).ShouldBeTrue(setting.Name);
        }
    }

    [Fact]
    public void At_start_each_setting_that_differs_is_logged_and_no_secret_is()
    {
        File.WriteAllText(In("recovery.pem"), "");
        var loaded = Load(
            """
            {
              "Name": "gw-a", "Data": "data",
              "Database": { "Connection": "Host=db;Password=hidden", "OwnerConnection": "Password=hidden" },
              "Tokens": [
                { "Uri": "pkcs11:token=a?pin-source=file:/run/hidden", "PinEnv": "PIN_A" },
                { "Uri": "pkcs11:token=b?pin-value=hidden" }, { "Uri": "pkcs11;token=c?pin-value=hidden" },
                { "Uri": "token=d;pin-value=hidden" }
              ],
              "DELIVERY": { "RECEIPTDUE": "1.00:00:00", "PERDESTINATION": 8 },
              "Backup": { "Folder": "b", "RecoveryCertificate": "recovery.pem", "Connection": "Password=hidden" },
              "Telemetry": { "Otlp": "http://user:hidden@127.0.0.1:4317/" }
            }
            """);
        var log = new Lines();
        StartupReport.Log(log, loaded);
        log.Said[0].ShouldContain($"data {In("data")}; database configured server; console 127.0.0.1:8080;");
        log.Said[0].ShouldContain($"mail listener none; backup {In("b")}");
        log.Said[1..].ShouldBe([
            "Configured Backup:Connection = ***",
            "Configured Backup:Folder = b",
            "Configured Backup:RecoveryCertificate = recovery.pem",
            "Configured Data = data",
            "Configured Database:Connection = ***",
            "Configured Database:OwnerConnection = ***",
            "Configured Delivery:PerDestination = 8",
            "Configured Name = gw-a",
            "Configured Telemetry:Otlp = http://127.0.0.1:4317",
            "Configured Tokens:0:PinEnv = PIN_A",
            "Configured Tokens:0:Uri = pkcs11:token=a",
            "Configured Tokens:1:Uri = ***",
            "Configured Tokens:2:Uri = ***",
            "Configured Tokens:3:Uri = ***",
        ]);
        string.Concat(log.Said).ShouldNotContain("hidden");
    }

    [Fact]
    public void The_reference_is_current() =>
        File.ReadAllText(Path.Combine(Repository(), "docs/configuration.md")).ShouldBe(
            ConfigurationReference.Markdown(),
            "Regenerate it: scripts/securemail configuration > docs/configuration.md");

    private static string Repository() =>
        Path.GetFullPath(Path.Combine(Path.GetDirectoryName(Vectors.Folder("cms"))!, "../.."));

    private string In(string name) => Path.Combine(_folder, name);

    private HostConfiguration Load(string json, params (string Name, string Value)[] more)
    {
        var file = In("securemail.json");
        var all = System.Text.Json.Nodes.JsonNode.Parse(json)!.AsObject();
        foreach (var (name, value) in more)
        {
            // The provider takes a name with colons as it takes sections.
            all[name] = value;
        }

        File.WriteAllText(file, all.ToJsonString());
        return Configuration.Load(file, data: null);
    }

    private sealed class Lines : ILogger
    {
        public List<string> Said { get; } = [];

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(
            LogLevel logLevel, EventId eventId, TState state, Exception? exception,
            Func<TState, Exception?, string> formatter) => Said.Add(formatter(state, exception));
    }
}
