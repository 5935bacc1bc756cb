using System.Diagnostics;
using System.Globalization;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace SecureMail.TestKit;

/// <summary>A Postfix of its own, in a folder of its own, that takes mail on loopback. It relays all of it, under TLS,
/// to one port, or holds all of it. Needs root, or sudo.</summary>
internal sealed class Postfix : IAsyncDisposable
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("securemail-postfix-");

    private Postfix(int port, X509Certificate2 certificate)
    {
        Port = port;
        Certificate = certificate;
    }

    public int Port { get; }

    public X509Certificate2 Certificate { get; }

    /// <param name="relayTo">The port of 127.0.0.1 that mail goes on to. Null: what was accepted stays in the hold
    /// queue, which nothing reads (postsuper(1)).</param>
    public static async Task<Postfix> StartAsync(int? relayTo)
    {
        using var key = RSA.Create(2048);
        var now = TimeProvider.System.GetUtcNow();
        var certificate = new CertificateRequest(
            "CN=postfix.test", key, HashAlgorithmName.SHA256,
            RSASignaturePadding.Pkcs1).CreateSelfSigned(now.AddDays(-1), now.AddDays(2));
        var postfix = new Postfix(TestPorts.Next(), certificate);
        var folder = postfix._folder.FullName;
        var (relay, hold) =
            relayTo is { } port ? ($"[127.0.0.1]:{port}", "") : ("", "check_client_access static:HOLD, ");
        await File.WriteAllTextAsync(Path.Combine(folder, "cert.pem"), certificate.ExportCertificatePem());
        await File.WriteAllTextAsync(Path.Combine(folder, "key.pem"), key.ExportPkcs8PrivateKeyPem());
        await File.WriteAllTextAsync(
            Path.Combine(folder, "main.cf"),
            $"""
            compatibility_level = 3.6
            queue_directory = {folder}/queue
            data_directory = {folder}/data
            maillog_file = {folder}/log
            maillog_file_prefixes = {folder}
            myhostname = postfix.test
            mydestination =
            mynetworks = 127.0.0.0/8
            inet_interfaces = 127.0.0.1
            inet_protocols = ipv4
            relayhost = {relay}
            smtpd_recipient_restrictions = {hold}permit_mynetworks, reject
            smtp_tls_security_level = encrypt
            smtpd_tls_security_level = may
            smtpd_tls_cert_file = {folder}/cert.pem
            smtpd_tls_key_file = {folder}/key.pem
            smtputf8_enable = no
            alias_maps =
            alias_database =

            """
        );
        string[] services =
        [
            $"127.0.0.1:{postfix.Port} inet n - n - - smtpd",
            "cleanup unix n - n - 0 cleanup",
            "qmgr unix n - n 300 1 qmgr",
            "tlsmgr unix - - n 1000? 1 tlsmgr",
            "rewrite unix - - n - - trivial-rewrite",
            "bounce unix - - n - 0 bounce",
            "defer unix - - n - 0 bounce",
            "trace unix - - n - 0 bounce",
            "proxymap unix - - n - - proxymap",
            "smtp unix - - n - - smtp",
            "relay unix - - n - - smtp",
            "error unix - - n - - error",
            "retry unix - - n - - error",
            "anvil unix - - n - 1 anvil",
            "scache unix - - n - 1 scache",
            "postlog unix-dgram n - n - 1 postlogd",
        ];
        await File.WriteAllLinesAsync(Path.Combine(folder, "master.cf"), services);
        await RunAsync(
            $"chmod 755 '{folder}' && mkdir '{folder}/queue' '{folder}/data' && chown -R root:root '{folder}' && chown "
                + $"postfix '{folder}/data' && postfix -c '{folder}' start");
        return postfix;
    }

    public Task<string> LogAsync() => AskAsync($"cat '{_folder.FullName}/log'");

    /// <summary>The process that all others are children of.</summary>
    public async Task<int> MasterAsync() =>
        int.Parse(await AskAsync($"cat '{_folder.FullName}/queue/pid/master.pid'"), CultureInfo.InvariantCulture);

    /// <summary>How many messages lie in the hold queue.</summary>
    public async Task<int> CountHeldAsync() =>
        int.Parse(
            await AskAsync($"find '{_folder.FullName}/queue/hold' -type f | wc -l"), CultureInfo.InvariantCulture);

    /// <summary>One message of the hold queue, header and body, with LF line ends.</summary>
    public Task<string> ReadHeldAsync() =>
        AskAsync(
            $"postcat -c '{_folder.FullName}' -bh $(find '{_folder.FullName}/queue/hold' -type f | head -n 1)");

    public async ValueTask DisposeAsync()
    {
        Certificate.Dispose();
        await RunAsync($"postfix -c '{_folder.FullName}' stop; rm -rf '{_folder.FullName}'");
    }

    /// <summary>A daemon that the script starts inherits its outputs and keeps them open: reading them to their end
    /// would wait for the daemon.</summary>
    private static async Task RunAsync(string script)
    {
        using var process = Start(script);
        await process.WaitForExitAsync();
        process.ExitCode.ShouldBe(0, script);
    }

    private static async Task<string> AskAsync(string script)
    {
        using var process = Start(script);
        var output = await process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync();
        process.ExitCode.ShouldBe(0, script);
        return output;
    }

    private static Process Start(string script)
    {
        var root = string.Equals(Environment.UserName, "root", StringComparison.Ordinal);
        var start = new ProcessStartInfo(root ? "bash" : "sudo")
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            UseShellExecute = false,
        };
        foreach (var argument in root ? new[] { "-c", script } : ["-n", "bash", "-c", script])
        {
            start.ArgumentList.Add(argument);
        }

        start.Environment["PATH"] = "/usr/sbin:/usr/bin:/sbin:/bin";
        return Process.Start(start)!;
    }
}
