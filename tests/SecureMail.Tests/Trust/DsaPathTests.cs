using System.Text.Json;
using SecureMail.Trust;

namespace SecureMail.Tests.Trust;

/// <summary>tests/vectors/trust/dsa: a signature by DSA is verified, and its path is weak. Only a value that was
/// computed is wrong.</summary>
public sealed class DsaPathTests
{
    private const string Module = "trust/dsa";
    private static readonly JsonElement Cases = JsonDocument.Parse(Vectors.Read(Module, "cases.json")).RootElement;

    public static TheoryData<int, string> All => Vectors.Labelled(Cases, "certificate", "anchor");

    [Theory]
    [MemberData(nameof(All))]
    public void A_path_with_a_DSA_key_has_its_expected_reason(int index, string files)
    {
        string File(string name) => Path.Combine(
            Vectors.Folder(Module), Cases[index].GetProperty(name).GetString()!);
        var result = PathValidator.Validate(
            TrustMaterial.LoadCertificates(File("certificate"))[0], TrustMaterial.Load([File("anchor")]),
            new PathOptions { At = new DateTimeOffset(2027, 6, 1, 0, 0, 0, TimeSpan.Zero), CheckRevocation = false });
        result.Status.ShouldBe(PathStatus.Invalid, files);
        result.Reason.Code.ShouldBe(Cases[index].GetProperty("reason").GetString(), files);
    }
}
