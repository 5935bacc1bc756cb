using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using SecureMail.Pkcs11;

namespace SecureMail.SystemTests.Pkcs11;

/// <summary>Two tokens with keys generated on them by another program, and a certificate beside one of the
/// keys.</summary>
public sealed class TokenFixture : IAsyncLifetime
{
    public const string Label = SoftHsm.OfficeToken;

    private static readonly Lazy<Task> Made = new(MakeAsync);

    public Task InitializeAsync() => Made.Value;

    private static async Task MakeAsync()
    {
        _ = SoftHsm.Folder;
        await SoftHsm.ToolAsync(
            Label, "--keypairgen", "--key-type", "rsa:2048", "--id", "01", "--label", "seal", "--usage-sign",
            "--usage-decrypt");
        await SoftHsm.ToolAsync(
            Label, "--keypairgen", "--key-type", "EC:prime256v1", "--id", "02", "--label", "p256", "--usage-sign");
        await SoftHsm.ToolAsync(
            Label, "--keypairgen", "--key-type", "EC:secp384r1", "--id", "03", "--label", "p384", "--usage-sign");
        await SoftHsm.ToolAsync(
            Label, "--keypairgen", "--key-type", "rsa:2048", "--id", "04", "--label", "twin", "--usage-sign");
        await SoftHsm.ToolAsync(
            Label, "--keypairgen", "--key-type", "rsa:2048", "--id", "05", "--label", "twin", "--usage-sign");
        await SoftHsm.ToolAsync(
            Label, "--keypairgen", "--key-type", "EC:prime256v1", "--id", "06", "--label", "agree256",
            "--usage-derive");
        await SoftHsm.ToolAsync(
            Label, "--keypairgen", "--key-type", "EC:secp384r1", "--id", "07", "--label", "agree384", "--usage-derive");
        await SoftHsm.ToolAsync(
            Label, "--keypairgen", "--key-type", "EC:secp521r1", "--id", "08", "--label", "agree521", "--usage-derive");
        var file = Path.Combine(SoftHsm.Folder, "seal.der");
        using (var token = Open())
        using (var key = token.OpenRsa(Key("seal")))
        {
            var request = new CertificateRequest(
                "CN=Con dấu,O=Đơn vị A", key, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
            using var certificate = request.Create(
                request.SubjectName, X509SignatureGenerator.CreateForRSA(key, RSASignaturePadding.Pkcs1),
                new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero),
                new DateTimeOffset(2036, 1, 1, 0, 0, 0, TimeSpan.Zero), [1]);
            await File.WriteAllBytesAsync(file, certificate.RawData);
        }
        await SoftHsm.ToolAsync(Label, "--write-object", file, "--type", "cert", "--id", "01", "--label", "seal");
    }

    public Task DisposeAsync() => Task.CompletedTask;

    public static Pkcs11Uri Uri(string token, string? module = null) =>
        Pkcs11Uri.Parse($"pkcs11:token={System.Uri.EscapeDataString(token)}?module-path={module ?? SoftHsm.Module}");

    public static Pkcs11Uri Key(string label) => Pkcs11Uri.Parse($"pkcs11:object={label}");

    public static byte[] GoodPin() => Encoding.UTF8.GetBytes(SoftHsm.Pin);

    public static Pkcs11Token Open(Func<byte[]?>? pin = null, string token = Label, string? module = null) =>
        Pkcs11Token.Open(Uri(token, module), pin ?? GoodPin);
}

[CollectionDefinition("tokens")]
public sealed class TokenCollection : ICollectionFixture<TokenFixture>;
