using System.CommandLine;
using System.Text;
using SecureMail.Host;
using SecureMail.Pkcs11;
using SecureMail.TestKit.Mutators;

namespace SecureMail.Tests.Fuzzing;

/// <summary>Files that an operator gives to the program.</summary>
internal static class HostTargets
{
    private static readonly Mutator[] Text = [LineMutator.Mutate, OctetMutator.Mutate];

    /// <summary>A configuration that is read is read again to the same. No secret is in what the log gets.</summary>
    public static FuzzTarget Configuration { get; } =
        new("configuration", "the JSON file of the settings", ReaderOfConfigurations)
        {
            Refusals = [typeof(ConfigurationException)],
            Mutators = [JsonMutator.Mutate, JsonMutator.Mutate, LineMutator.Mutate, OctetMutator.Mutate],
            Mutants = 500,
        };

    /// <summary>A key that is read fits its certificate.</summary>
    public static FuzzTarget KeyFile { get; } =
        new("key-file", "a private key in PEM and its certificate", ReaderOfKeyFiles)
        {
            Refusals = [typeof(InvalidDataException)],
            Mutators = [LineMutator.Mutate, OctetMutator.Mutate],
            Mutants = 150,
        };

    /// <summary>A URI that is read is written to one that means the same. What is refused is not repeated.</summary>
    public static FuzzTarget Pkcs11Uri { get; } =
        new("pkcs11-uri", "a PKCS#11 URI (RFC 7512)", _ => ReadUri)
        {
            Refusals = [typeof(Pkcs11Exception)],
            Mutators = Text,
            Mutants = 5000,
        };

    /// <summary>Neither mark nor line end of an editor is left in the secret.</summary>
    public static FuzzTarget Secret { get; } =
        new("secret", "a PIN or password as an editor wrote it", _ => ReadSecret)
        {
            Mutators = [OctetMutator.Mutate],
            ReadsEverything = true,
        };

    private static FuzzRead ReaderOfConfigurations(string folder)
    {
        var file = Path.Combine(folder, "securemail.json");
        File.WriteAllText(Path.Combine(folder, "recovery.pem"), "");
        return input =>
        {
            File.WriteAllBytes(file, input);
            var read = SecureMail.Host.Settings.Configuration.Load(file, data: null);
            SecureMail.Host.Settings.Configuration.Load(file, data: null).Changed.ShouldBe(read.Changed);
            read.Changed.ShouldAllBe(c => !c.Value.Contains("hidden", StringComparison.Ordinal));
            return string.Join(' ', read.Changed.Select(c => c.Name));
        };
    }

    private static FuzzRead ReaderOfKeyFiles(string folder)
    {
        var file = Path.Combine(folder, "key.pem");
        var source = new KeySource();
        var command = new Command("decrypt");
        foreach (var option in source.Options)
        {
            command.Options.Add(option);
        }

        var parsed = command.Parse(["--key", file]);
        return input =>
        {
            File.WriteAllBytes(file, input);
            using var keys = source.OpenRecipients(parsed);
            return $"{keys.Certificate.PublicKey.Oid.Value} {keys.Recipients.Count}";
        };
    }

    private static string ReadUri(byte[] input)
    {
        try
        {
            var text = SecureMail.Pkcs11.Pkcs11Uri.Parse(Encoding.Latin1.GetString(input)).ToString();
            SecureMail.Pkcs11.Pkcs11Uri.Parse(text).ToString().ShouldBe(text);
            return $"{text.Count(c => c == ';')} attributes, query {text.Contains('?', StringComparison.Ordinal)}";
        }
        catch (Pkcs11Exception e)
        {
            e.Fault.ShouldBe(Pkcs11Fault.UriInvalid);
            e.Message.ShouldNotContain("123456");
            throw;
        }
    }

    private static string ReadSecret(byte[] input)
    {
        var decoded = SecretText.Decode([.. input]);
        if (input is [0xEF, 0xBB, 0xBF, ..])
        {
            decoded.ShouldBe(input.AsSpan(3).TrimEnd("\r\n"u8).ToArray());
            return "utf-8";
        }

        if (input is [0xFF, 0xFE, ..] or [0xFE, 0xFF, ..])
        {
            // What is decoded is UTF-8, and decoding it again finds nothing to decode.
            new UTF8Encoding(false, throwOnInvalidBytes: true).GetString(decoded).ShouldNotEndWith("\n");
            return $"utf-16 {input[0]} {Math.Min(decoded.Length, 8)}";
        }

        decoded.ShouldBe(input);
        return input.Length == 0 ? "empty" : "as it is";
    }
}
