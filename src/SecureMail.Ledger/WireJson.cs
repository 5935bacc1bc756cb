using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace SecureMail.Ledger;

/// <summary>Reads and writes the gateway's JSON formats: strict, bounded in depth, no member name twice, UTF-8 with
/// Vietnamese letters unescaped.</summary>
public static class WireJson
{
    public static readonly JsonSerializerOptions Options = new(JsonSerializerDefaults.Web)
    {
        NumberHandling = JsonNumberHandling.Strict,
        PropertyNameCaseInsensitive = false,
        AllowDuplicateProperties = false,
        RespectNullableAnnotations = true,
        RespectRequiredConstructorParameters = true,
        MaxDepth = 16,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    };

    /// <summary>Reads one of our formats. The version is read first, because a text of an unknown version may have any
    /// shape.</summary>
    /// <param name="limit">The most bytes that are read.</param>
    /// <param name="what">The name of the format, for the message.</param>
    /// <exception cref="WireFormatException">The text is not JSON of this shape, is too long, or has a version that
    /// this build does not know.</exception>
    public static T Read<T>(ReadOnlyMemory<byte> json, int limit, string what)
        where T : class
    {
        if (json.Length > limit)
        {
            throw new WireFormatException(
                WireFormatException.TooLargeCode, $"The {what} is longer than {limit} bytes.");
        }

        // RFC 8259 §8.1: a byte order mark may be passed over. Editors put it before a directory that a person writes.
        if (json.Span.StartsWith("\uFEFF"u8))
        {
            json = json[3..];
        }

        try
        {
            using (
                var document = JsonDocument.Parse(
                    json, new JsonDocumentOptions { MaxDepth = 16, AllowDuplicateProperties = false }))
            {
                if (document.RootElement.ValueKind != JsonValueKind.Object
                    || !document.RootElement.TryGetProperty("v", out var v)
                    || v.ValueKind != JsonValueKind.Number
                    || !v.TryGetInt32(out var version))
                {
                    throw new WireFormatException(WireFormatException.NoVersionCode, $"The {what} names no version.");
                }

                if (version != 1)
                {
                    throw new WireFormatException(
                        WireFormatException.VersionUnknownCode,
                        $"The {what} has version {version}; this gateway knows 1.");
                }
            }

            return JsonSerializer.Deserialize<T>(json.Span, Options) ?? throw new JsonException();
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // The parser throws InvalidOperationException at an escape that is half a surrogate pair. The message of
            // either can quote the text, so it is not passed on.
            throw new WireFormatException(WireFormatException.DamagedCode, $"The {what} cannot be read.");
        }
    }
}

/// <summary>A text in one of our formats that cannot be read. The message is for the log and quotes nothing of the text
/// but names of fields. Users read the words of the code.</summary>
/// <param name="code">One of <c>ReasonCode</c>.</param>
/// <param name="detail">One English sentence.</param>
public sealed class WireFormatException(string code, string detail) : Exception($"{code}: {detail}")
{
    /// <summary>The text is not the JSON of its format.</summary>
    public const string DamagedCode = "FORMAT_DAMAGED";

    /// <summary>The text names no version.</summary>
    public const string NoVersionCode = "FORMAT_NO_VERSION";

    /// <summary>The text is longer than its limit.</summary>
    public const string TooLargeCode = "FORMAT_TOO_LARGE";

    /// <summary>The text has a version that this program does not know.</summary>
    public const string VersionUnknownCode = "FORMAT_VERSION_UNKNOWN";

    public string Code => code;

    /// <summary>The sentence of the message.</summary>
    public string Detail => detail;
}
