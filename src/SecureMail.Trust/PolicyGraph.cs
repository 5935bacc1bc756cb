using System.Formats.Asn1;

namespace SecureMail.Trust;

/// <summary>
/// The certificate policies of a path (RFC 5280 §6.1), with the graph of RFC 9618 instead of the tree, because a
/// hostile path can make the tree grow without bound. The graph has a level for each certificate and at most one node
/// for each policy of a level. A node holds the policies expected below it and its parents. Null levels mean that no
/// policy is valid any more.
/// </summary>
internal sealed class PolicyGraph
{
    public const string AnyPolicy = "2.5.29.32.0";
    private const int MaxPolicies = 512;

    private readonly int _length;
    private readonly PathOptions _options;
    private List<Dictionary<string, Node>>? _levels = [new() { [AnyPolicy] = new Node([AnyPolicy], []) }];
    private int _explicitPolicy;
    private int _policyMapping;
    private int _inhibitAnyPolicy;

    public PolicyGraph(int length, PathOptions options)
    {
        // RFC 5280 §6.1.2 (d)-(f)
        _length = length;
        _options = options;
        _explicitPolicy = options.RequireExplicitPolicy ? 0 : length + 1;
        _policyMapping = options.InhibitPolicyMapping ? 0 : length + 1;
        _inhibitAnyPolicy = options.InhibitAnyPolicy ? 0 : length + 1;
    }

    private sealed record Node(HashSet<string> Expected, HashSet<string> Parents);

    /// <summary>
    /// Processes the certificate at a depth from 1 (below the anchor) to the length of the path. False when no policy
    /// is left and one is required.
    /// </summary>
    /// <exception cref="AsnContentException">A policy extension is malformed or breaks RFC 5280.</exception>
    public bool Process(ParsedCertificate certificate, int depth)
    {
        var last = depth == _length;
        if (certificate.Extension("2.5.29.32") is { } policies)
        {
            AddLevel(ReadPolicies(policies), _inhibitAnyPolicy > 0 || (!last && certificate.IsSelfIssued));
        }
        else
        {
            _levels = null; // §6.1.3 (e)
        }
        // §6.1.3 (f)
        if (_explicitPolicy == 0 && _levels is null)
        {
            return false;
        }

        if (last)
        {
            Finish(certificate);
        }
        else
        {
            Prepare(certificate);
        }

        return true;
    }

    /// <summary>
    /// The policies that both the CAs and the user allow (§6.1.5 (g) by RFC 9618); null when the path fails because of
    /// them.
    /// </summary>
    public IReadOnlyList<string>? Result()
    {
        var authority = new HashSet<string>();
        if (_levels is not null)
        {
            for (var i = 1; i < _levels.Count; i++)
            {
                authority.UnionWith(
                    _levels[i].Where(n => n.Key != AnyPolicy && n.Value.Parents.Contains(AnyPolicy)).Select(n => n.Key)
                );
            }

            if (_levels[^1].ContainsKey(AnyPolicy))
            {
                authority.Add(AnyPolicy);
            }
        }
        HashSet<string> result = authority;
        if (_options.Policies.Count > 0 && !_options.Policies.Contains(AnyPolicy))
        {
            result = [.. authority.Intersect(_options.Policies)];
            if (authority.Contains(AnyPolicy))
            {
                result.UnionWith(_options.Policies);
            }
        }
        return _explicitPolicy == 0 && result.Count == 0 ? null : [.. result.Order(StringComparer.Ordinal)];
    }

    /// <summary>Adds the level of a certificate with a policies extension (§6.1.3 (d)).</summary>
    private void AddLevel(HashSet<string> policies, bool anyAllowed)
    {
        if (_levels is null)
        {
            return;
        }

        Dictionary<string, Node> above = _levels[^1];
        var level = new Dictionary<string, Node>();
        foreach (var policy in policies.Where(p => p != AnyPolicy))
        {
            HashSet<string> parents = [.. above.Where(n => n.Value.Expected.Contains(policy)).Select(n => n.Key)];
            if (parents.Count == 0 && above.ContainsKey(AnyPolicy))
            {
                parents = [AnyPolicy];
            }

            if (parents.Count > 0)
            {
                level[policy] = new Node([policy], parents);
            }
        }
        if (policies.Contains(AnyPolicy) && anyAllowed)
        {
            foreach (
                var policy in above
                    .Values.SelectMany(n => n.Expected)
                    .Distinct()
                    .Where(p => !level.ContainsKey(p))
                    .ToList())
            {
                level[policy] = new Node(
                    [policy], [.. above.Where(n => n.Value.Expected.Contains(policy)).Select(n => n.Key)]);
            }
        }
        _levels.Add(level);
        Prune();
    }

    /// <summary>Prepares for the next certificate (§6.1.4 (a), (b), (h)-(j)).</summary>
    private void Prepare(ParsedCertificate certificate)
    {
        if (certificate.Extension("2.5.29.33") is { } mappings)
        {
            Map(ReadMappings(mappings));
        }

        if (!certificate.IsSelfIssued)
        {
            _explicitPolicy = Math.Max(0, _explicitPolicy - 1);
            _policyMapping = Math.Max(0, _policyMapping - 1);
            _inhibitAnyPolicy = Math.Max(0, _inhibitAnyPolicy - 1);
        }
        (var require, var inhibit) = ReadConstraints(certificate);
        _explicitPolicy = Math.Min(_explicitPolicy, require ?? int.MaxValue);
        _policyMapping = Math.Min(_policyMapping, inhibit ?? int.MaxValue);
        if (certificate.Extension("2.5.29.54") is { } any)
        {
            var reader = new AsnReader(any, AsnEncodingRules.DER);
            _inhibitAnyPolicy = Math.Min(_inhibitAnyPolicy, SkipCerts(reader, Asn1Tag.Integer));
            reader.ThrowIfNotEmpty();
        }
    }

    /// <summary>Wraps up after the last certificate (§6.1.5 (a), (b)).</summary>
    private void Finish(ParsedCertificate certificate)
    {
        _explicitPolicy = Math.Max(0, _explicitPolicy - 1);
        if (ReadConstraints(certificate).Require == 0)
        {
            _explicitPolicy = 0;
        }
    }

    private void Map(Dictionary<string, HashSet<string>> mappings)
    {
        if (_levels is null)
        {
            return;
        }

        Dictionary<string, Node> level = _levels[^1];
        foreach ((var issuerPolicy, HashSet<string> subjectPolicies) in mappings)
        {
            if (_policyMapping == 0)
            {
                level.Remove(issuerPolicy);
            }
            else if (level.TryGetValue(issuerPolicy, out Node? node))
            {
                level[issuerPolicy] = node with { Expected = subjectPolicies };
            }
            else if (level.TryGetValue(AnyPolicy, out Node? any))
            {
                level[issuerPolicy] = new Node(subjectPolicies, [.. any.Parents]);
            }
        }
        Prune();
    }

    /// <summary>
    /// Removes, from the bottom up, every node without a child. An empty level means that no policy is left.
    /// </summary>
    private void Prune()
    {
        for (var i = _levels!.Count - 1; i > 0; i--)
        {
            HashSet<string> parents = [.. _levels[i].Values.SelectMany(n => n.Parents)];
            foreach (var childless in _levels[i - 1].Keys.Where(k => !parents.Contains(k)).ToList())
            {
                _levels[i - 1].Remove(childless);
            }
        }
        if (_levels.Any(l => l.Count == 0))
        {
            _levels = null;
        }
    }

    private static HashSet<string> ReadPolicies(ReadOnlyMemory<byte> extension)
    {
        var policies = new HashSet<string>();
        var sequence = SequenceOf(extension);
        while (sequence.HasData)
        {
            // §4.2.1.4: the extension has each policy at most once. Qualifiers are ignored.
            if (!policies.Add(Asn1Oid.Read(sequence.ReadSequence())) || policies.Count > MaxPolicies)
            {
                throw new AsnContentException("A certificate has a policy twice or too many policies.");
            }
        }
        return policies;
    }

    private static Dictionary<string, HashSet<string>> ReadMappings(ReadOnlyMemory<byte> extension)
    {
        var mappings = new Dictionary<string, HashSet<string>>();
        var count = 0;
        var sequence = SequenceOf(extension);
        while (sequence.HasData)
        {
            var mapping = sequence.ReadSequence();
            var issuer = Asn1Oid.Read(mapping);
            var subject = Asn1Oid.Read(mapping);
            mapping.ThrowIfNotEmpty();
            // §6.1.4 (a): anyPolicy is mapped neither from nor to.
            if (issuer == AnyPolicy || subject == AnyPolicy || ++count > MaxPolicies)
            {
                throw new AsnContentException("A policy mapping maps anyPolicy, or there are too many mappings.");
            }

            if (!mappings.TryGetValue(issuer, out HashSet<string>? subjects))
            {
                mappings[issuer] = subjects = [];
            }

            subjects.Add(subject);
        }
        return mappings;
    }

    private static (int? Require, int? Inhibit) ReadConstraints(ParsedCertificate certificate)
    {
        if (certificate.Extension("2.5.29.36") is not { } extension)
        {
            return (null, null);
        }

        var constraints = SequenceOf(extension);
        var require = Next(0);
        var inhibit = Next(1);
        constraints.ThrowIfNotEmpty();
        return (require, inhibit);

        int? Next(int number)
        {
            var tag = new Asn1Tag(TagClass.ContextSpecific, number);
            return constraints.HasData && constraints.PeekTag().HasSameClassAndValue(tag)
                ? SkipCerts(constraints, tag)
                : null;
        }
    }

    /// <summary>The SEQUENCE that an extension is, and nothing behind it.</summary>
    private static AsnReader SequenceOf(ReadOnlyMemory<byte> extension)
    {
        var reader = new AsnReader(extension, AsnEncodingRules.DER);
        var sequence = reader.ReadSequence();
        reader.ThrowIfNotEmpty();
        return sequence;
    }

    private static int SkipCerts(AsnReader reader, Asn1Tag tag)
    {
        System.Numerics.BigInteger count = reader.ReadInteger(tag);
        if (count < 0)
        {
            throw new AsnContentException("A policy constraint has a negative number of certificates.");
        }

        return count > int.MaxValue ? int.MaxValue : (int)count;
    }
}
