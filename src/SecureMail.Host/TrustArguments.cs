using System.CommandLine;
using System.Globalization;
using SecureMail.Host.Settings;
using SecureMail.Host.Words;
using SecureMail.Trust;

namespace SecureMail.Host;

/// <summary>What a command validates by, as its options and the configuration say.</summary>
internal sealed class TrustArguments
{
    private readonly Option<string[]> _trust = new("--trust")
    {
        Description = Phrase.Of("trust.trust"),
        HelpName = "PATH",
    };
    private readonly Option<string[]> _intermediate = new("--intermediate")
    {
        Description = Phrase.Of("trust.intermediate"),
        HelpName = "PATH",
    };
    private readonly Option<string[]> _crl = new("--crl")
    {
        Description = Phrase.Of("trust.crl"),
        HelpName = "PATH",
    };
    private readonly Option<string[]> _ocsp = new("--ocsp")
    {
        Description = Phrase.Of("trust.ocsp"),
        HelpName = "PATH",
    };
    private readonly Option<string?> _at = new("--at")
    {
        Description = Phrase.Of("trust.at"),
        HelpName = "TIME",
    };
    private readonly Option<bool> _noRevocation = new("--no-revocation")
    {
        Description = Phrase.Of("trust.no-revocation"),
    };
    private readonly Option<string?> _config = CommandLine.Config();
    private readonly Option<string?> _data = CommandLine.Data();

    /// <summary>The options, to be added to the command.</summary>
    public IEnumerable<Option> Options => [_trust, _intermediate, _crl, _ocsp, _at, _noRevocation, _config, _data];

    /// <summary>Reads them. The configuration is read only where it is needed: without <c>--trust</c>, or when it is
    /// named.</summary>
    /// <exception cref="UsageException">The time has no zone, or is none.</exception>
    /// <exception cref="InvalidDataException">A file named holds nothing of what it is given for.</exception>
    /// <exception cref="FileNotFoundException">It does not exist.</exception>
    public ValidationOptions Read(ParseResult parsed)
    {
        if (parsed.GetValue(_ocsp) is { Length: > 0 })
        {
            Console.Error.WriteLine(Phrase.Of("trust.ocsp-unread"));
        }

        var anchors = parsed.GetValue(_trust) ?? [];
        var intermediates = parsed.GetValue(_intermediate) ?? [];
        var crls = parsed.GetValue(_crl) ?? [];
        foreach (var path in (string[])[.. anchors, .. intermediates, .. crls])
        {
            if (!File.Exists(path) && !Directory.Exists(path))
            {
                throw new FileNotFoundException(Phrase.Of("trust.none-such", path));
            }
        }

        if (anchors.Length == 0 || parsed.GetValue(_config) is not null)
        {
            var configured = Configuration.Load(parsed.GetValue(_config), parsed.GetValue(_data)).Gateway.Trust;
            anchors = anchors.Length == 0 ? [.. configured.Anchors] : anchors;
            intermediates = [.. intermediates, .. configured.Intermediates];
            crls = [.. crls, .. configured.Crls];
        }

        return new ValidationOptions
        {
            Trust = TrustMaterial.Load(anchors, intermediates, crls),
            At = parsed.GetValue(_at) is { } at ? Time(at) : TimeProvider.System.GetUtcNow(),
            CheckRevocation = !parsed.GetValue(_noRevocation),
        };
    }

    private static DateTimeOffset Time(string text)
    {
        string[] forms = ["yyyy-MM-dd'T'HH:mm:ss.FFFFFFFK", "yyyy-MM-dd'T'HH:mmK"];
        var zoned = text.EndsWith('Z') || (text.Length > 6 && text[^6] is '+' or '-');
        return
            zoned
            && DateTimeOffset.TryParseExact(
                text, forms, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var time)
            ? time
            : throw new UsageException(Phrase.Of("trust.at-form"));
    }
}
