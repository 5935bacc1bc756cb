using System.Formats.Asn1;
using System.Numerics;

namespace SecureMail.Trust;

/// <summary>
/// The name constraints of a path, collected from the anchor down (RFC 5280 §4.2.1.10, §6.1.4 (g)). The permitted
/// subtrees of each CA are kept apart, and a name must be within those of every CA, which is their intersection.
/// Excluded subtrees are united. E-mail addresses, host names, directory names, URIs and IP addresses are compared. A
/// constraint on any other kind of name refuses every name of that kind.
/// </summary>
internal sealed class NameConstraints
{
    /// <summary>
    /// The most comparisons of a name with a subtree in one path, which limits the work that a hostile certificate can
    /// cause. Each begun <see cref="ComparedAtOnce"/> bytes of both count as one.
    /// </summary>
    private const int MaxComparisons = 100_000;

    private const int ComparedAtOnce = 256;

    private readonly List<List<GeneralName>> _permitted = [];
    private readonly List<GeneralName> _excluded = [];
    private int _comparisons;

    /// <exception cref="AsnContentException">The extension is malformed.</exception>
    public void Add(ReadOnlyMemory<byte> extension)
    {
        var constraints = new AsnReader(extension, AsnEncodingRules.DER).ReadSequence();
        var permittedTag = new Asn1Tag(TagClass.ContextSpecific, 0);
        var excludedTag = new Asn1Tag(TagClass.ContextSpecific, 1);
        if (constraints.HasData && constraints.PeekTag().HasSameClassAndValue(permittedTag))
        {
            _permitted.Add(ReadSubtrees(constraints.ReadSequence(permittedTag)));
        }

        if (constraints.HasData && constraints.PeekTag().HasSameClassAndValue(excludedTag))
        {
            _excluded.AddRange(ReadSubtrees(constraints.ReadSequence(excludedTag)));
        }

        constraints.ThrowIfNotEmpty();
    }

    /// <summary>Whether the constraints permit every name of the certificate.</summary>
    public bool Permits(ParsedCertificate certificate)
    {
        if (_permitted.Count == 0 && _excluded.Count == 0)
        {
            return true;
        }

        IEnumerable<GeneralName> names = certificate.AlternativeNames;
        if (!certificate.Subject.IsEmpty)
        {
            names = names.Append(new GeneralName(NameKind.Directory, null, certificate.Subject, []));
        }
        // §4.2.1.10: the emailAddress of the subject counts when there is no alternative name. Here it always counts,
        // which is stricter.
        names = names.Concat(certificate.Subject.Emails().Select(e => new GeneralName(NameKind.Email, e, null, [])));
        return names.All(IsAllowed);
    }

    private bool IsAllowed(GeneralName name)
    {
        if (_excluded.Any(subtree => subtree.Kind == name.Kind && Within(name, subtree, whenUnknown: true)))
        {
            return false;
        }

        foreach (var permitted in _permitted)
        {
            var constrained = false;
            var within = false;
            foreach (var subtree in permitted)
            {
                if (subtree.Kind != name.Kind)
                {
                    continue;
                }

                constrained = true;
                within |= Within(name, subtree, whenUnknown: false);
            }
            if (constrained && !within)
            {
                return false;
            }
        }
        return true;
    }

    private bool Within(GeneralName name, GeneralName subtree, bool whenUnknown)
    {
        _comparisons += 1 + ((LengthOf(name) + LengthOf(subtree)) / ComparedAtOnce);
        if (_comparisons > MaxComparisons)
        {
            return whenUnknown;
        }

        switch (name.Kind)
        {
            case NameKind.Directory:
                return name.Directory!.IsWithin(subtree.Directory!);
            case NameKind.Email:
                return EmailAddress.Parse(name.Text!) is { } email ? EmailWithin(email, subtree.Text!) : whenUnknown;
            case NameKind.Dns:
                var host = EmailAddress.NormaliseHost(name.Text!);
                var domain = EmailAddress.NormaliseHost(subtree.Text!);
                return domain.Length == 0
                    || host == domain
                    || host.EndsWith("." + domain.TrimStart('.'), StringComparison.Ordinal);
            case NameKind.Uri:
                return
                    Uri.TryCreate(name.Text, UriKind.Absolute, out Uri? uri) && uri.HostNameType == UriHostNameType.Dns
                    ? HostWithin(EmailAddress.NormaliseHost(uri.Host), EmailAddress.NormaliseHost(subtree.Text!))
                    : whenUnknown;
            case NameKind.Ip:
                return IpWithin(name.IpBytes(), subtree.IpBytes()) ?? whenUnknown;
            default:
                return whenUnknown;
        }
    }

    private static int LengthOf(GeneralName name) => Math.Max(name.Encoded.Length, name.Text?.Length ?? 0);

    private static bool EmailWithin(EmailAddress email, string constraint)
    {
        // The constraint is an address, a host, or with a leading period every host in a domain.
        if (constraint.Contains('@'))
        {
            return EmailAddress.Parse(constraint) is { } exact && exact == email;
        }

        return HostWithin(email.Host, EmailAddress.NormaliseHost(constraint));
    }

    private static bool HostWithin(string host, string constraint) =>
        constraint.StartsWith('.')
            ? host.EndsWith(constraint, StringComparison.Ordinal) && host.Length > constraint.Length
            : host == constraint;

    private static bool? IpWithin(byte[] address, byte[] range)
    {
        if (range.Length != 2 * address.Length)
        {
            return address.Length is 4 or 16 && range.Length is 8 or 32 ? false : null;
        }

        for (var i = 0; i < address.Length; i++)
        {
            if (((address[i] ^ range[i]) & range[address.Length + i]) != 0)
            {
                return false;
            }
        }
        return true;
    }

    /// <summary>§4.2.1.10: an address and a mask in the style of RFC 4632, whose ones come before its zeros.</summary>
    private static bool IsRange(ReadOnlySpan<byte> octets)
    {
        if (octets.Length is not (8 or 32))
        {
            return false;
        }

        var mask = octets[(octets.Length / 2)..];
        var ones = mask.IndexOfAnyExcept((byte)0xFF);
        return ones < 0
            || (BitOperations.PopCount(mask[ones]) + BitOperations.TrailingZeroCount(mask[ones] | 0x100) == 8
                && !mask[(ones + 1)..].ContainsAnyExcept((byte)0));
    }

    private static List<GeneralName> ReadSubtrees(AsnReader sequence)
    {
        var subtrees = new List<GeneralName>();
        while (sequence.HasData)
        {
            var subtree = sequence.ReadSequence();
            var name = GeneralName.Read(subtree);
            if (name.Kind == NameKind.Ip && !IsRange(name.IpBytes()))
            {
                throw new AsnContentException("A subtree of addresses is no address with a mask.");
            }

            subtrees.Add(name);
            // §4.2.1.10: minimum is zero and maximum absent, and DER omits both.
            subtree.ThrowIfNotEmpty();
            if (subtrees.Count > 1024)
            {
                throw new AsnContentException("A certificate has too many subtrees of name constraints.");
            }
        }
        return subtrees;
    }
}
