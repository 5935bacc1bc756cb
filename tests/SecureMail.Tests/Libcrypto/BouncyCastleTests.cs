using System.Reflection;
using System.Text.RegularExpressions;
using System.Xml.Linq;
using Org.BouncyCastle.Crypto.Parameters;
using SecureMail.Libcrypto;
using BigInteger = Org.BouncyCastle.Math.BigInteger;

namespace SecureMail.Tests.Libcrypto;

/// <summary>How the product keeps BouncyCastle in its place.</summary>
public sealed partial class BouncyCastleTests
{
    [Fact]
    public void The_modulus_of_an_RSA_key_is_not_searched_for_factors()
    {
        // Loads SecureMail.Libcrypto, through which the product uses BouncyCastle.
        Ed25519.GenerateSeed();
        Environment.GetEnvironmentVariable("Org.BouncyCastle.Rsa.AllowUnsafeModulus").ShouldBe(bool.TrueString);
        // BouncyCastle refuses a modulus with the factor 3 unless it was told not to look.
        var modulus = BigInteger.One.ShiftLeft(2047).Add(BigInteger.One);
        modulus.Mod(BigInteger.Three).SignValue.ShouldBe(0);
        new RsaKeyParameters(false, modulus, BigInteger.ValueOf(65537)).Modulus.ShouldBe(modulus);
    }

    [Fact]
    public void Libcrypto_alone_references_it() =>
        Projects("BouncyCastle.Cryptography").ShouldBe(["SecureMail.Libcrypto.csproj"]);

    [Fact]
    public void The_project_of_tokens_alone_references_Pkcs11Interop() =>
        Projects("Pkcs11Interop").ShouldBe(["SecureMail.Pkcs11.csproj"]);

    /// <summary>The analyzer passes over a name that does not exist, so a mistyped line would ban nothing.</summary>
    [Fact]
    public void Every_banned_symbol_of_it_exists()
    {
        var assembly = typeof(RsaKeyParameters).Assembly;
        var banned = File.ReadLines(Path.Combine(Repository.Root, "BannedSymbols.txt"))
            .Select(line => line.Split(';')[0])
            .Where(id => id.Contains("Org.BouncyCastle", StringComparison.Ordinal))
            .ToList();
        banned.Count.ShouldBeGreaterThan(5);
        banned.Where(id => !Exists(assembly, id)).ShouldBeEmpty();
        Exists(assembly, "T:Org.BouncyCastle.Cms.CmsEnvelopedDataParsers").ShouldBeFalse();
        Exists(assembly, "M:Org.BouncyCastle.Cms.SignerInformation.Verify(System.String)").ShouldBeFalse();
    }

    private static bool Exists(Assembly assembly, string id)
    {
        if (id.StartsWith("T:", StringComparison.Ordinal))
        {
            return assembly.GetType(id[2..]) is not null;
        }

        var method = MethodId().Match(id);
        return assembly
                .GetType(method.Groups["type"].Value)
                ?.GetMethods()
                .Any(m =>
                    m.Name == method.Groups["name"].Value
                    && string.Join(',', m.GetParameters().Select(p => p.ParameterType.FullName))
                        == method.Groups["parameters"].Value)
            == true;
    }

    private static IEnumerable<string> Projects(string package) =>
        Directory
            .GetFiles(Path.Combine(Repository.Root, "src"), "*.csproj", SearchOption.AllDirectories)
            .Where(p =>
                XDocument.Load(p).Descendants("PackageReference").Any(r => r.Attribute("Include")?.Value == package))
            .Select(p => Path.GetFileName(p));

    [GeneratedRegex(@"\AM:(?<type>.+)\.(?<name>\w+)\((?<parameters>.*)\)\z")]
    private static partial Regex MethodId();
}
