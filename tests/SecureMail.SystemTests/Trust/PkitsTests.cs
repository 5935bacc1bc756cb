using System.Security.Cryptography.X509Certificates;
using SecureMail.Trust;

namespace SecureMail.SystemTests.Trust;

/// <summary>
/// NIST's Public Key Interoperability Test Suite, from Debian's python3-cryptography-vectors, with the default inputs
/// of RFC 5280 §6.1.1. The names of the certificates say the outcome. Cases that need other inputs are for
/// validate-path.
/// </summary>
public sealed class PkitsTests
{
    private const string Folder = "/usr/lib/python3/dist-packages/cryptography_vectors/x509/PKITS_data";

    /// <summary>Named neither Valid nor Invalid; PKITS says these fail for any user policy.</summary>
    private static readonly HashSet<string> NoCommonPolicy =
    [
        "DifferentPoliciesTest4EE",
        "DifferentPoliciesTest5EE",
        "DifferentPoliciesTest7EE",
        "DifferentPoliciesTest8EE",
        "DifferentPoliciesTest9EE",
        "DifferentPoliciesTest12EE",
    ];

    /// <summary>Good, and not accepted: DSA, which is weak here, and, so far, indirect CRLs, names relative to the
    /// issuer, CRLs for some reasons,
    /// removal by a delta CRL.</summary>
    private static readonly string[] NotYet =
    [
        "ValidDSAParameterInheritanceTest5EE",
        "ValidDSASignaturesTest4EE",
        "ValidIDPwithindirectCRLTest22EE",
        "ValidIDPwithindirectCRLTest24EE",
        "ValidIDPwithindirectCRLTest25EE",
        "ValidcRLIssuerTest28EE",
        "ValidcRLIssuerTest29EE",
        "ValidcRLIssuerTest30EE",
        "ValidcRLIssuerTest33EE",
        "ValiddeltaCRLTest5EE",
        "ValiddistributionPointTest4EE",
        "ValiddistributionPointTest5EE",
        "ValiddistributionPointTest7EE",
        "ValidonlySomeReasonsTest18EE",
        "ValidonlySomeReasonsTest19EE",
    ];

    [Fact]
    public void Nothing_that_must_fail_is_accepted_and_only_the_known_gaps_are_refused()
    {
        X509Certificate2[] all =
        [
            .. Directory
                .GetFiles(Path.Combine(Folder, "certs"), "*.crt")
                .Order()
                .Select(X509CertificateLoader.LoadCertificateFromFile),
        ];
        X509Certificate2 anchor = X509CertificateLoader.LoadCertificateFromFile(
            Path.Combine(Folder, "certs", "TrustAnchorRootCertificate.crt"));
        var material = new TrustMaterial(
            [anchor], all, Directory.GetFiles(Path.Combine(Folder, "crls")).Select(File.ReadAllBytes));
        var options = new PathOptions { At = new DateTimeOffset(2020, 1, 1, 0, 0, 0, TimeSpan.Zero) };

        var refused = new List<string>();
        var wronglyAccepted = new List<string>();
        var leaves = Directory.GetFiles(Path.Combine(Folder, "certs"), "*EE.crt");
        leaves.Length.ShouldBeGreaterThan(220);
        foreach (var file in leaves)
        {
            var name = Path.GetFileNameWithoutExtension(file);
            var mustFail = name.StartsWith("Invalid", StringComparison.Ordinal) || NoCommonPolicy.Contains(name);
            var accepted =
                PathValidator.Validate(X509CertificateLoader.LoadCertificateFromFile(file), material, options).Status
                == PathStatus.Valid;
            if (accepted && mustFail)
            {
                wronglyAccepted.Add(name);
            }
            else if (!accepted && !mustFail)
            {
                refused.Add(name);
            }
        }
        wronglyAccepted.ShouldBeEmpty();
        refused.ShouldBe(NotYet, ignoreOrder: true);
    }
}
