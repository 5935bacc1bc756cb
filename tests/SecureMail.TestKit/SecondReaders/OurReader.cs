using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using SecureMail.Cms;
using SecureMail.Mail.Mime;
using SecureMail.Smime;
using SecureMail.Trust;

namespace SecureMail.TestKit;

/// <summary>Our reading of a message, by the root and the recipient's key that lie in a folder.</summary>
internal sealed class OurReader
{
    private readonly ValidationOptions _options;
    private readonly IReadOnlyList<RecipientKey> _keys;

    /// <param name="folder">A folder with root.pem, recipient.pem and recipient-key.pem.</param>
    public OurReader(string folder)
    {
        RecipientKeyPem = File.ReadAllText(Path.Combine(folder, "recipient-key.pem"));
        var key = RSA.Create();
        key.ImportFromPem(RecipientKeyPem);
        _keys = [new RecipientKey(Certificate(folder, "recipient"), key)];
        _options = new ValidationOptions
        {
            Trust = new TrustMaterial([Certificate(folder, "root")]),
            At = new DateTimeOffset(2030, 1, 1, 0, 0, 0, TimeSpan.Zero),
            CheckRevocation = false,
        };
    }

    public string RecipientKeyPem { get; }

    /// <summary>Validates a message. The reading is null unless the verdict is valid.</summary>
    public async Task<(Verdict Verdict, Reading? Reading)> ReadAsync(byte[] mail)
    {
        using var validation = await ValidateAsync(mail);
        if (validation.Verdict != Verdict.Valid)
        {
            return (validation.Verdict, null);
        }

        var leaves = validation.Parts.Select(p => Reading.Leaf(p.ContentType.MediaType, Decoded(p))).ToList();
        var signers = validation
            .Findings.Select(f => Convert.ToHexStringLower(SHA256.HashData(f.SignerCertificate!.RawData)))
            .Order(StringComparer.Ordinal)
            .ToList();
        return (validation.Verdict, new Reading(signers, leaves));
    }

    public Task<MessageValidation> ValidateAsync(byte[] mail) =>
        MessageValidator.ValidateAsync(new MemoryStream(mail, writable: false), _keys, _options);

    public static byte[] Decoded(MimePart part)
    {
        using var body = part.OpenDecoded();
        var memory = new MemoryStream();
        body.CopyTo(memory);
        return memory.ToArray();
    }

    public static X509Certificate2 Certificate(string folder, string name) =>
        X509CertificateLoader.LoadCertificateFromFile(Path.Combine(folder, $"{name}.pem"));
}
