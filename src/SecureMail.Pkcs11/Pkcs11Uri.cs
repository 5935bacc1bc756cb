using System.Buffers;
using System.Globalization;
using System.Text;

namespace SecureMail.Pkcs11;

/// <summary>
/// A PKCS#11 URI (RFC 7512): the token, the object on it, and the module. An unknown path attribute is an error,
/// because it could name another key than the one meant. Text is UTF-8 after percent-decoding; an id is bytes.
/// </summary>
/// <remarks>
/// <c>pin-value</c> is refused, because a URI appears in configurations, logs and process lists. <c>pin-source</c> is
/// kept for the caller, who decides which files may be read; no file is opened here. <c>module-name</c> is accepted and
/// ignored.
/// </remarks>
public sealed class Pkcs11Uri
{
    private const string Scheme = "pkcs11:";
    private const int MaxLength = 4096;

    // RFC 7512 §2.3: pk11-path-char and pk11-query-char without percent.
    private static readonly SearchValues<char> PathCharacters = SearchValues.Create(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~:[]@!$'()*+,=&");
    private static readonly SearchValues<char> QueryCharacters = SearchValues.Create(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~:[]@!$'()*+,=/?|");

    private static readonly string[] PathNames =
    [
        "token",
        "manufacturer",
        "serial",
        "model",
        "library-manufacturer",
        "library-version",
        "library-description",
        "object",
        "type",
        "id",
        "slot-description",
        "slot-manufacturer",
        "slot-id",
    ];

    private readonly Dictionary<string, byte[]> _path = new(StringComparer.Ordinal);
    private readonly Dictionary<string, byte[]> _query = new(StringComparer.Ordinal);

    private Pkcs11Uri() { }

    /// <summary>CK_TOKEN_INFO's label.</summary>
    public string? Token => Text(_path, "token");

    public string? Serial => Text(_path, "serial");

    public string? Model => Text(_path, "model");

    public string? Manufacturer => Text(_path, "manufacturer");

    public string? SlotDescription => Text(_path, "slot-description");

    public string? SlotManufacturer => Text(_path, "slot-manufacturer");

    public ulong? SlotId =>
        Text(_path, "slot-id") is { } digits
            ? ulong.Parse(digits, NumberStyles.None, CultureInfo.InvariantCulture)
            : null;

    /// <summary>CKA_LABEL.</summary>
    public string? Object => Text(_path, "object");

    /// <summary>CKA_ID.</summary>
    public ReadOnlyMemory<byte>? Id =>
        _path.TryGetValue("id", out var id) ? new ReadOnlyMemory<byte>(id) : default(ReadOnlyMemory<byte>?);

    /// <summary><c>private</c>, <c>cert</c>, <c>public</c>, <c>secret-key</c> or <c>data</c>.</summary>
    public string? Type => Text(_path, "type");

    public string? ModulePath => Text(_query, "module-path");

    public string? PinSource => Text(_query, "pin-source");

    /// <exception cref="Pkcs11Exception">UriInvalid. The message never contains the URI.</exception>
    public static Pkcs11Uri Parse(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        if (text.Length > MaxLength)
        {
            throw Invalid($"it has more than {MaxLength} characters");
        }
        // RFC 3986 §3.1: schemes are case-insensitive.
        if (!text.StartsWith(Scheme, StringComparison.OrdinalIgnoreCase))
        {
            throw Invalid("it does not begin with pkcs11:");
        }

        var rest = text.AsSpan(Scheme.Length);
        var mark = rest.IndexOf('?');
        var uri = new Pkcs11Uri();
        uri.ReadPath(mark < 0 ? rest : rest[..mark]);
        if (mark >= 0)
        {
            uri.ReadQuery(rest[(mark + 1)..]);
        }

        uri.CheckValues();
        return uri;
    }

    /// <summary>The URI, its attributes in the order of RFC 7512, each byte outside the alphabet
    /// percent-encoded.</summary>
    public override string ToString()
    {
        var text = new StringBuilder(Scheme);
        var separator = "";
        foreach (var name in PathNames.Where(_path.ContainsKey))
        {
            text.Append(separator).Append(name).Append('=');
            // RFC 7512 §2.3: all of an id SHOULD be percent-encoded.
            Encode(text, _path[name], PathCharacters, always: name == "id");
            separator = ";";
        }
        separator = "?";
        foreach (var (name, value) in _query.OrderBy(pair => pair.Key, StringComparer.Ordinal))
        {
            text.Append(separator).Append(name).Append('=');
            Encode(text, value, QueryCharacters, always: false);
            separator = "&";
        }
        return text.ToString();
    }

    private void ReadPath(ReadOnlySpan<char> path)
    {
        if (path.IsEmpty)
        {
            return; // RFC 7512 §2.4: "pkcs11:" matches everything
        }

        foreach (var range in path.Split(';'))
        {
            var (name, value) = ParseAttribute(path[range], PathCharacters);
            // RFC 7512 §2.4: an unrecognised attribute in the path matches nothing.
            if (!PathNames.Contains(name, StringComparer.Ordinal))
            {
                throw Invalid("its path has an unknown attribute");
            }

            if (!_path.TryAdd(name, value))
            {
                throw Invalid($"it has {name} twice");
            }
        }
    }

    private void ReadQuery(ReadOnlySpan<char> query)
    {
        if (query.IsEmpty)
        {
            return;
        }

        foreach (var range in query.Split('&'))
        {
            var (name, value) = ParseAttribute(query[range], QueryCharacters);
            if (name == "pin-value")
            {
                throw Invalid("it holds a PIN (pin-value); give the PIN by a file or an environment variable");
            }
            // RFC 7512 §2.4: an unrecognised attribute in the query is ignored.
            if (name is not ("pin-source" or "module-path" or "module-name"))
            {
                continue;
            }

            if (!_query.TryAdd(name, value))
            {
                throw Invalid($"it has {name} twice");
            }
        }
    }

    private void CheckValues()
    {
        foreach (var (name, value) in _path.Concat(_query))
        {
            if (name == "id")
            {
                continue;
            }

            string text;
            try
            {
                text = new UTF8Encoding(false, throwOnInvalidBytes: true).GetString(value);
            }
            catch (DecoderFallbackException)
            {
                throw Invalid($"{name} is not UTF-8");
            }
            if (text.Contains('\0', StringComparison.Ordinal))
            {
                throw Invalid($"{name} has a NUL");
            }

            if (name == "slot-id" && !ulong.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out _))
            {
                throw Invalid("slot-id is not a number");
            }

            if (name == "type" && text is not ("public" or "private" or "cert" or "secret-key" or "data"))
            {
                throw Invalid("type is not one of public, private, cert, secret-key, data");
            }
        }
    }

    private static (string Name, byte[] Value) ParseAttribute(ReadOnlySpan<char> text, SearchValues<char> alphabet)
    {
        var equals = text.IndexOf('=');
        if (equals <= 0)
        {
            throw Invalid("an attribute is not name=value");
        }

        foreach (var c in text[..equals])
        {
            if (!char.IsAsciiLetterOrDigit(c) && c is not ('-' or '_'))
            {
                throw Invalid("the name of an attribute has an invalid character");
            }
        }
        return (text[..equals].ToString(), Decode(text[(equals + 1)..], alphabet));
    }

    private static byte[] Decode(ReadOnlySpan<char> text, SearchValues<char> alphabet)
    {
        var bytes = new List<byte>(text.Length);
        for (var i = 0; i < text.Length; i++)
        {
            if (text[i] == '%')
            {
                if (i + 2 >= text.Length || !char.IsAsciiHexDigit(text[i + 1]) || !char.IsAsciiHexDigit(text[i + 2]))
                {
                    throw Invalid("a percent sign is not followed by two hexadecimal digits");
                }

                bytes.Add(
                    byte.Parse(text.Slice(i + 1, 2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture));
                i += 2;
            }
            else if (alphabet.Contains(text[i]))
            {
                bytes.Add((byte)text[i]);
            }
            else
            {
                throw Invalid("a character must be percent-encoded (a space is %20)");
            }
        }
        return [.. bytes];
    }

    private static void Encode(StringBuilder text, byte[] value, SearchValues<char> alphabet, bool always)
    {
        foreach (var b in value)
        {
            if (!always && alphabet.Contains((char)b))
            {
                text.Append((char)b);
            }
            else
            {
                text.Append(CultureInfo.InvariantCulture, $"%{b:X2}");
            }
        }
    }

    private static string? Text(Dictionary<string, byte[]> attributes, string name) =>
        attributes.TryGetValue(name, out var value) ? Encoding.UTF8.GetString(value) : null;

    private static Pkcs11Exception Invalid(string why) => new(Pkcs11Fault.UriInvalid, "URI_INVALID", why);
}
