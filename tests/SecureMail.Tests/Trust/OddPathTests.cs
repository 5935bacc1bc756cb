using System.Text.Json;
using SecureMail.Trust;

namespace SecureMail.Tests.Trust;

/// <summary>tests/vectors/trust/odd: certificates and revocation lists that are rare or wrong in one way. cases.json
/// has what RFC 5280 says of each; certs-dev/odd.cs makes them.</summary>
public sealed class OddPathTests
{
    private const string Module = "trust/odd";
    private static readonly JsonElement Cases = JsonDocument.Parse(Vectors.Read(Module, "cases.json")).RootElement;

    public static TheoryData<int, string> All
    {
        get
        {
            var data = new TheoryData<int, string>();
            foreach (var (index, expected) in Cases.EnumerateArray().Index())
            {
                data.Add(index, Named(expected, "list") ?? Named(expected, "certificate")!);
            }

            return data;
        }
    }

    [Theory]
    [MemberData(nameof(All))]
    public void A_path_has_the_status_that_the_standard_gives_it(int index, string name)
    {
        var expected = Cases[index];
        var lists = Named(expected, "list") is { } list ? [File(list)] : Array.Empty<string>();
        if (Named(expected, "status") == "unreadable")
        {
            Should.Throw<InvalidDataException>(() => TrustMaterial.LoadCertificates(File(name)));
            return;
        }

        var issuers = Named(expected, "issuer") is { } issuer ? [File(issuer)] : Array.Empty<string>();

        var result = PathValidator.Validate(
            TrustMaterial.LoadCertificates(File(Named(expected, "certificate")!))[0],
            TrustMaterial.Load([File("root")], issuers, lists),
            new PathOptions
            {
                At = new DateTimeOffset(2027, 6, 1, 0, 0, 0, TimeSpan.Zero),
                CheckRevocation = lists.Length > 0,
            });

        var because = $"{name}: {Named(expected, "because")}";
        result.Status.ToString().ShouldBe(Named(expected, "status"), because, StringCompareShould.IgnoreCase);
        if (Named(expected, "reason") is { } reason)
        {
            result.Reason.Code.ShouldBe(reason, because);
        }
    }

    [Fact]
    public void Each_file_of_the_folder_is_in_a_case()
    {
        var used = Cases.EnumerateArray()
            .SelectMany(c => new[] { Named(c, "certificate"), Named(c, "issuer"), Named(c, "list"), "root" })
            .OfType<string>()
            .Distinct();
        Directory.GetFiles(Vectors.Folder(Module), "*.der").Select(f => Path.GetFileNameWithoutExtension(f))
            .ShouldBe(used, ignoreOrder: true);
    }

    private static string? Named(JsonElement element, string name) =>
        element.TryGetProperty(name, out var value) ? value.GetString() : null;

    private static string File(string name) => Path.Combine(Vectors.Folder(Module), name + ".der");
}
