using System.Text.Json;
using SecureMail.Cms;
using SecureMail.Trust;

namespace SecureMail.Tests.Cms;

/// <summary>tests/vectors/cms/signers: a key that cannot be used is an unknown algorithm, DSA is weak; only a value
/// that was computed with a usable key is wrong.</summary>
public sealed class SignerKeyVectorTests
{
    private const string Module = "cms/signers";
    private static readonly JsonElement Cases = JsonDocument.Parse(Vectors.Read(Module, "cases.json")).RootElement;

    public static TheoryData<int, string> All => Vectors.Cases(Cases);

    [Theory]
    [MemberData(nameof(All))]
    public async Task A_signature_by_an_unusual_key_has_its_expected_outcome(int index, string file)
    {
        JsonElement expected = Cases[index];
        using CmsSignedData data = await CmsSignedData.ReadAsync(new MemoryStream(Vectors.Read(Module, file)));
        var options = new ValidationOptions
        {
            Trust = TrustMaterial.Load([Path.Combine(Vectors.Folder(Module), "root.pem")]),
            At = new DateTimeOffset(2027, 6, 1, 0, 0, 0, TimeSpan.Zero),
            CheckRevocation = false,
        };
        SignatureFinding finding = (await SignatureValidator.ValidateAsync(data, null, options)).ShouldHaveSingleItem();
        finding.Reason.Code.ShouldBe(expected.GetProperty("reason").GetString());
        Name(finding.Indication).ShouldBe(expected.GetProperty("indication").GetString());
        (finding.SubIndication is { } sub ? Name(sub) : null).ShouldBe(
            expected.GetProperty("subIndication").GetString());
        Name(Verdicts.Of(FileState.Read, [finding])).ShouldBe(expected.GetProperty("verdict").GetString());
    }

    private static string Name<T>(T value) => JsonSerializer.Serialize(value).Trim('"');
}
