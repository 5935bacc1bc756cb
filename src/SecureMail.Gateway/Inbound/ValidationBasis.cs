using System.Globalization;
using System.Reflection;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using SecureMail.Exchange;
using SecureMail.Gateway.Policy;
using SecureMail.Trust;

namespace SecureMail.Gateway.Inbound;

/// <summary>
/// What a finding rests on, as canonical JSON (RFC 8785; docs/ledger.md): the directory, the CRLs and anchors at hand,
/// the policy and the program. The entry <c>message.judged</c> commits to these bytes. CRLs enclosed in a message are
/// not named, because the message's own bytes hold them.
/// </summary>
internal static class ValidationBasis
{
    /// <summary>More CRLs than these are named by one digest, so that a finding stays small.</summary>
    internal const int MostNamed = 64;

    private static readonly string Program = typeof(ValidationBasis)
        .Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()
        ?.InformationalVersion ?? "";

    /// <param name="at">The time as of which the message was validated.</param>
    public static string Write(DateTimeOffset at, DirectorySnapshot directory, TrustMaterial material)
    {
        using var bytes = new MemoryStream();
        using (var json = new Utf8JsonWriter(bytes))
        {
            json.WriteStartObject();
            json.WriteString("anchors", DigestOf(material.Anchors.Select(a => SHA256.HashData(a.RawData))));
            json.WriteString(
                "at", at.UtcDateTime.ToString("yyyy-MM-ddTHH:mm:ss.fffZ", CultureInfo.InvariantCulture));
            json.WriteStartArray("crls");
            var crls = material.Crls.Select(c => c.Sha256).ToList();
            foreach (var crl in crls.Count <= MostNamed ? crls.Select(Hex) : [DigestOf(crls)])
            {
                json.WriteStringValue(crl);
            }

            json.WriteEndArray();
            json.WriteStartObject("directory");
            json.WriteString("sha256", Hex(directory.Sha256));
            json.WriteNumber("version", directory.Version);
            json.WriteEndObject();
            json.WriteStartArray("ocsp");
            json.WriteEndArray();
            json.WriteNumber("policy", VerdictPolicy.Version);
            json.WriteString("program", Program.Split('+')[0]);
            json.WriteEndObject();
        }

        return Encoding.UTF8.GetString(bytes.GetBuffer(), 0, (int)bytes.Length);
    }

    private static string DigestOf(IEnumerable<byte[]> digests)
    {
        using var all = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (var digest in digests.OrderBy(Hex, StringComparer.Ordinal))
        {
            all.AppendData(digest);
        }

        return Hex(all.GetHashAndReset());
    }

    private static string Hex(byte[] bytes) => Convert.ToHexStringLower(bytes);
}
