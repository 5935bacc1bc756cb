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

    /// <summary>The findings of one message: an object for each signer of each signature, then one with
    /// <c>reason</c> alone for each field of the outer header that contradicts the signed one.</summary>
    public static string Write(IReadOnlyList<SignatureFinding> signatures, IReadOnlyList<Reason> headers) =>
        JsonSerializer.Serialize<object[]>(
            [.. signatures, .. headers.Select(reason => new { reason })], Options);

    /// <summary>The verdict's name on the wire, such as <c>wrong-sender</c>: the one that the serializer writes,
    /// without the time that it takes to make the serializer ready.</summary>
    public static string Name(Verdict verdict) => JsonNamingPolicy.KebabCaseLower.ConvertName(verdict.ToString());
}
