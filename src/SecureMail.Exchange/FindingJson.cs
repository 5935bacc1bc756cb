using System.Text.Encodings.Web;
using System.Text.Json;
using SecureMail.Trust;

namespace SecureMail.Exchange;

/// <summary>Findings as the JSON of the command line: what is stored, shown and committed to is one form.</summary>
public static class FindingJson
{
    public static readonly JsonSerializerOptions Options = new(JsonSerializerDefaults.Web)
    {
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    };

    /// <summary>The verdict's name on the wire, such as <c>wrong-sender</c>.</summary>
    public static string Name(Verdict verdict) => JsonSerializer.Serialize(verdict, Options).Trim('"');
}
