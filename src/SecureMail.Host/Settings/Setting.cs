using System.ComponentModel;
using System.ComponentModel.DataAnnotations;
using System.Globalization;
using System.Net;
using System.Reflection;
using System.Text.RegularExpressions;
using Microsoft.Extensions.Configuration;
using SecureMail.Gateway.Keys;
using SecureMail.Host.Words;
using SecureMail.Pkcs11;

namespace SecureMail.Host.Settings;

/// <summary>
/// One name that a configuration may hold: a property of an options record. The record's <c>[Category]</c> is the
/// section, <c>[ConfigurationKeyName]</c> a name other than the property's, <c>[Browsable(false)]</c> no setting at
/// all. Limits are the attributes of DataAnnotations.
/// </summary>
/// <remarks>
/// The rules of the types: a time span is positive; a number that may be null is <c>forever</c> when it is null; an URL
/// is absolute, of http or https. <c>[DataType]</c> says that a text is a path: <c>path</c> of anything, <c>file</c> of
/// a file that exists, <c>files</c> of a file or folder that exists.
/// </remarks>
internal sealed partial class Setting
{
    /// <summary>How a number that is null is written.</summary>
    public const string Forever = "forever";

    private readonly PropertyInfo _property;
    private readonly Type _type;
    private readonly string? _path;
    private readonly RangeAttribute? _range;

    private Setting(string name, PropertyInfo property, Type type, object? standard)
    {
        (Name, _property, Default) = (name, property, standard);
        IsNullable = Nullable.GetUnderlyingType(type) is not null;
        _type = Nullable.GetUnderlyingType(type) ?? type;
        _path = property.GetCustomAttribute<DataTypeAttribute>()?.CustomDataType;
        _range = property.GetCustomAttribute<RangeAttribute>();
    }

    /// <summary>The full name; <c>#</c> stands for a place in a list.</summary>
    public string Name { get; }

    public object? Default { get; }

    /// <summary>Whether its value may hold a password, so that nothing shows it.</summary>
    private bool IsSecret => _property.GetCustomAttribute<PasswordPropertyTextAttribute>()?.Password ?? false;

    /// <summary>Whether an element of a list must have it.</summary>
    public bool IsRequired => _property.IsDefined(typeof(RequiredAttribute));

    /// <summary>Which values it takes.</summary>
    public Phrase Expected =>
        _path switch
        {
            "file" => Phrase.Of("expected.file"),
            "files" => Phrase.Of("expected.files"),
            not null => Phrase.Of("expected.path"),
            _ when _type == typeof(TimeSpan) => Phrase.Of("expected.span"),
            _ when _type == typeof(bool) => Phrase.Of("expected.bool"),
            _ when _type == typeof(Uri) => Phrase.Of("expected.url"),
            _ when _type == typeof(IPEndPoint) => _property.IsDefined(typeof(LoopbackAttribute))
                ? Phrase.Of("expected.loopback")
                : Phrase.Of("expected.endpoint"),
            _ when _range is not null => IsNullable ? Phrase.Of("expected.days", _range.Minimum, _range.Maximum)
                : _type == typeof(int) ? Phrase.Of("expected.count", _range.Minimum, _range.Maximum)
                : _range.IsValid(0L) ? Phrase.Of("expected.free", _range.Minimum, _range.Maximum)
                : Phrase.Of("expected.size", _range.Minimum, _range.Maximum),
            _ when _property.IsDefined(typeof(RegularExpressionAttribute)) => Phrase.Of("expected.name"),
            _ => Phrase.Of("expected.text"),
        };

    private bool IsNullable { get; }

    /// <summary>The settings of a record, in the order of its properties; a list of records brings those of its
    /// element.</summary>
    public static IEnumerable<Setting> Of(Type record, string? prefix = null)
    {
        var section = SectionOf(record) ?? prefix;
        var standard = record.GetConstructor(Type.EmptyTypes)?.Invoke(null);
        foreach (var property in record.GetProperties().Where(p => p.SetMethod is { IsPublic: true }))
        {
            if (property.GetCustomAttribute<BrowsableAttribute>() is { Browsable: false })
            {
                continue;
            }

            var own = property.GetCustomAttribute<ConfigurationKeyNameAttribute>()?.Name ?? property.Name;
            var name = section is null ? own : $"{section}:{own}";
            var element = property.PropertyType is { IsGenericType: true } list
                && list.GetGenericTypeDefinition() == typeof(IReadOnlyList<>)
                    ? list.GetGenericArguments()[0]
                    : null;
            if (element is null || element == typeof(string))
            {
                yield return new Setting(
                    element is null ? name : name + ":#", property, element ?? property.PropertyType,
                    standard is null || element is not null ? null : property.GetValue(standard));
            }
            else
            {
                foreach (var setting in Of(element, name + ":#"))
                {
                    yield return setting;
                }
            }
        }
    }

    /// <summary>The section that a record is bound to; null: the root.</summary>
    public static string? SectionOf(Type record) => record.GetCustomAttribute<CategoryAttribute>()?.Category;

    /// <summary>A key with <c>#</c> for each place in a list.</summary>
    public static string Pattern(string key) => Place().Replace(key, "#");

    /// <summary>Checks a text and makes it what the binder takes: an absolute path, and nothing for null.</summary>
    /// <param name="key">The name as it was written.</param>
    /// <param name="home">The folder that a path begins at.</param>
    /// <exception cref="ConfigurationException">The value cannot be.</exception>
    public string Read(string key, string text, string home)
    {
        if (_path is not null)
        {
            if (text.Contains('\0', StringComparison.Ordinal))
            {
                throw Fault(key, Phrase.Of("configuration.needs", Expected));
            }

            var full = Path.GetFullPath(text, home);
            return _path switch
            {
                "file" when !File.Exists(full) => throw Fault(key, Phrase.Of("configuration.no-file", text)),
                "files" when !File.Exists(full) && !Directory.Exists(full) => throw Fault(
                    key, Phrase.Of("configuration.nothing-there", text)),
                _ => full,
            };
        }

        if (IsNullable && text == Forever)
        {
            return "";
        }

        return Parse(text) is { } value && IsPermitted(value)
            ? text
            : throw Fault(key, Phrase.Of("configuration.needs", Expected));
    }

    /// <summary>Whether a text that was read says what holds without it.</summary>
    public bool IsDefault(string read) => Equals(read.Length == 0 ? null : Parse(read), Default);

    /// <summary>What holds without it, as it would be written; empty where nothing does.</summary>
    public string DefaultText =>
        Default switch
        {
            null => IsNullable ? Forever : "",
            true => "true",
            false => "false",
            _ => Convert.ToString(Default, CultureInfo.InvariantCulture)!,
        };

    /// <summary>A text as the log may show it: no connection string, of an URL where it leads, and of a token's URI the
    /// part that names the token. A URI that is not one, that holds a PIN (RFC 7512 §2.4), or whose name of a token may
    /// have swallowed one, is not shown.</summary>
    public string Show(string text) =>
        IsSecret || (IsTokenUri && !IsPkcs11Uri(text)) ? "***"
        : _type == typeof(Uri) ? new Uri(text).GetComponents(UriComponents.SchemeAndServer, UriFormat.UriEscaped)
        : IsTokenUri ? text.Split('?')[0]
        : text;

    private bool IsTokenUri =>
        _property.DeclaringType == typeof(TokenOptions) && _property.Name == nameof(TokenOptions.Uri);

    private static bool IsPkcs11Uri(string text)
    {
        try
        {
            return Pkcs11Uri.Parse(text).ToString().Length > 0
                && text.Split('?')[0].Split(';').All(attribute => attribute.Count('=') <= 1);
        }
        catch (Pkcs11Exception)
        {
            return false;
        }
    }

    private static ConfigurationException Fault(string key, Phrase what) =>
        new(Phrase.Of("configuration.fault", key, what));

    private object? Parse(string text)
    {
        try
        {
            return TypeDescriptor.GetConverter(_type).ConvertFromInvariantString(text);
        }
        catch (Exception e) when (e is FormatException or ArgumentException or OverflowException)
        {
            return null;
        }
    }

    private bool IsPermitted(object value) =>
        value switch
        {
            TimeSpan span => span > TimeSpan.Zero,
            Uri url => url.IsAbsoluteUri && url.Scheme is "http" or "https",
            _ => true,
        }
        && _property.GetCustomAttributes<ValidationAttribute>().All(a => a.IsValid(value));

    [GeneratedRegex(@"(?<=:)\d+(?=:|$)")]
    private static partial Regex Place();
}

/// <summary>Reads <c>ADDRESS:PORT</c>; the framework has no converter for it.</summary>
internal sealed class IPEndPointConverter : TypeConverter
{
    public override bool CanConvertFrom(ITypeDescriptorContext? context, Type sourceType) =>
        sourceType == typeof(string) || base.CanConvertFrom(context, sourceType);

    /// <exception cref="FormatException">It has no port, or no address.</exception>
    public override object? ConvertFrom(ITypeDescriptorContext? context, CultureInfo? culture, object value) =>
        value is not string text ? base.ConvertFrom(context, culture, value)
        : text.Contains(':', StringComparison.Ordinal)
        && IPEndPoint.TryParse(text.Replace("localhost", "127.0.0.1", StringComparison.Ordinal), out var point)
            ? point
        : throw new FormatException("ADDRESS:PORT is needed.");
}
