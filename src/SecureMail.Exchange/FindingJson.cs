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

    /// <summary>The verdict's name on the wire, such as <c>wrong-sender</c>: the one that the serializer writes,
    /// without the time that it takes to make the serializer ready.</summary>
    public static string Name(Verdict verdict) => JsonNamingPolicy.KebabCaseLower.ConvertName(verdict.ToString());
}
