using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace SecureMail.Ledger;

/// <summary>Reads and writes the gateway's JSON formats: strict, bounded in depth, no member name twice, UTF-8 with
/// Vietnamese letters unescaped.</summary>
public static class WireJson
{
    private const int MostCritical = 32;

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
    /// <param name="critical">The names that the member <c>crit</c> may have. It lists what a reader must know, or
    /// refuse the text.</param>
    /// <exception cref="WireFormatException">The text is not JSON of this shape, is too long, has a version that this
    /// build does not know, or a critical name that it does not know.</exception>
    public static T Read<T>(
        ReadOnlyMemory<byte> json, int limit, string what, IReadOnlyCollection<string>? critical = null)
        where T : class =>
        Read(json, limit, what, critical ?? [], [1], static (_, text) => Parse<T>(text));

    /// <summary>As the other overload, for a format of several versions.</summary>
    /// <param name="versions">The versions that are read.</param>
    /// <param name="parse">Reads the text of a version; <see cref="Parse{T}"/> serves.</param>
    public static T Read<T>(
        ReadOnlyMemory<byte> json, int limit, string what, IReadOnlyCollection<string> critical,
        IReadOnlyCollection<int> versions, Func<int, ReadOnlyMemory<byte>, T> parse)
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
            int version;
            using (
                var document = JsonDocument.Parse(
                    json, new JsonDocumentOptions { MaxDepth = 16, AllowDuplicateProperties = false }))
            {
                version = VersionOf(document.RootElement, what);
                if (!versions.Contains(version))
                {
                    throw new WireFormatException(
                        WireFormatException.VersionUnknownCode,
                        $"The {what} has version {version}; this gateway knows {string.Join(", ", versions)}.");
                }

                RequireKnown(document.RootElement, what, critical);
            }

            return parse(version, json);
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // The parser throws InvalidOperationException at an escape that is half a surrogate pair. The message of
            // either can quote the text, so it is not passed on.
            throw new WireFormatException(WireFormatException.DamagedCode, $"The {what} cannot be read.");
        }
    }

    /// <exception cref="JsonException">The text has another shape.</exception>
    public static T Parse<T>(ReadOnlyMemory<byte> json)
        where T : class => JsonSerializer.Deserialize<T>(json.Span, Options) ?? throw new JsonException();

    private static int VersionOf(JsonElement root, string what) =>
        root.ValueKind == JsonValueKind.Object
        && root.TryGetProperty("v", out var v)
        && v.ValueKind == JsonValueKind.Number
        && v.TryGetInt32(out var version)
            ? version
            : throw new WireFormatException(WireFormatException.NoVersionCode, $"The {what} names no version.");

    private static void RequireKnown(JsonElement root, string what, IReadOnlyCollection<string> critical)
    {
        if (!root.TryGetProperty("crit", out var names) || names.ValueKind == JsonValueKind.Null)
        {
            return;
        }

        if (names.ValueKind != JsonValueKind.Array
            || names.GetArrayLength() is 0 or > MostCritical
            || names.EnumerateArray().Any(n => n.ValueKind != JsonValueKind.String))
        {
            throw new JsonException();
        }

        if (names.EnumerateArray().Any(n => !critical.Contains(n.GetString()!)))
        {
            throw new WireFormatException(
                WireFormatException.CriticalUnknownCode, $"The {what} demands what this gateway does not know.");
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

    /// <summary>The text names something that a reader must know, and this program does not.</summary>
    public const string CriticalUnknownCode = "FORMAT_CRITICAL_UNKNOWN";

    public string Code => code;

    /// <summary>The sentence of the message.</summary>
    public string Detail => detail;
}
