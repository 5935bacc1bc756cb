using System.Security.Cryptography;
using SecureMail.Cms;

namespace SecureMail.Benchmarks;

/// <summary>
/// DESIGN.md §8's rows of CMS. Inputs are arrays in memory on both sides. What is made goes nowhere (a null stream, a
/// null BIO); what is opened is held until the call ends, ours in its spool, theirs in a memory BIO.
/// "text" is the product's own path on our side: composing adds header fields inside and outside and base64 of the
/// document; judging adds the path with revocation lists, and what a reader is shown. The peer is given the entity
/// ready to be signed, and checks the path too. "refusal" is how long a changed message takes to be refused, against
/// one that nobody changed: 1 is one delay (RFC 3218), less is slower.
/// </summary>
internal sealed class CmsContests : IDisposable
{
    private const string OpenSsl = "openssl libcrypto CMS_*";
    private const string Unsigned =
        "ours, the same message as it was made: it opens, is unsigned in CBC, and gets the same answer";
    private const string Platform = "dotnet SignedCms/EnvelopedCms, AES-256-CBC on both sides";

    // Two lines of 76 and their ends hold 114 octets of a document: so much of it makes an entity of the size wanted.
    private const double EntityOfDocument = 78.0 / 57;

    private readonly int _small;
    private readonly int _large;
    private readonly int _recipients;
    private readonly Lazy<Materials> _materials;
    private readonly Lazy<OpenSslCms> _openSsl;
    private readonly Lazy<PlatformCms> _platform;
    private readonly Lazy<OurCms> _our;

    public CmsContests(int small = 10_000, int large = 25_000_000, int recipients = 1000)
    {
        (_small, _large, _recipients) = (small, large, recipients);
        _materials = new(() => new Materials(recipients));
        _openSsl = new(() => new OpenSslCms(_materials.Value));
        _platform = new(() => new PlatformCms(_materials.Value));
        _our = new(() => new OurCms(_materials.Value));
    }

    /// <summary>Every row, ready to be made when its turn comes.</summary>
    public IReadOnlyList<(string Name, Func<Contest> Make)> All =>
        [
            ("cms.sign.10k", () => Sign("cms.sign.10k", 0.95)),
            ("cms.verify.10k.warm", () => Verify("cms.verify.10k.warm", 2.0)),
            ("cms.verify.10k.cold", () => VerifyCold("cms.verify.10k.cold", 0.9)),
            ("cms.decrypt-verify.10k", () => DecryptVerify("cms.decrypt-verify.10k", 1.2, _small)),
            // §8 asks for 45 µs a recipient where OpenSSL took 38.
            ("cms.seal.1000", () => Seal("cms.seal.1000", Math.Round(38.0 / 45, 2))),
            ("cms.sign-encrypt.25m.der", () => SignEncrypt("cms.sign-encrypt.25m.der", 1.0)),
            ("cms.sign-encrypt.25m.text", () => SignEncryptText("cms.sign-encrypt.25m.text", 1.5)),
            ("cms.decrypt-verify.25m.der", () => DecryptVerify("cms.decrypt-verify.25m.der", 1.3, _large)),
            ("cms.decrypt-verify.25m.der.dotnet", () =>
                DecryptVerifyPlatform("cms.decrypt-verify.25m.der.dotnet", 2.0)),
            ("cms.decrypt-verify.25m.text", () => DecryptVerifyText("cms.decrypt-verify.25m.text", 5.0)),
            ("cms.decrypt-verify.25m.text.dotnet", () =>
                DecryptVerifyTextPlatform("cms.decrypt-verify.25m.text.dotnet", 2.0)),
            ("cms.refusal.key", () => Refuse("cms.refusal.key", WrongKey)),
            ("cms.refusal.padding", () => Refuse("cms.refusal.padding", cms => cms[^1] ^= 1)),
            ("cms.refusal.content", () => Refuse("cms.refusal.content", cms => cms[^(_small / 2)] ^= 1)),
        ];

    private OurCms Our => _our.Value;

    private OpenSslCms Peer => _openSsl.Value;

    public void Dispose()
    {
        if (_materials.IsValueCreated)
        {
            _materials.Value.Dispose();
        }
    }

    private Contest Sign(string name, double goal)
    {
        var content = RandomNumberGenerator.GetBytes(_small);
        return new(
            name,
            goal,
            OpenSsl,
            1,
            "message",
            () => Our.SignAsync(Read(content), Stream.Null),
            () => Peer.SignToNull(content),
            async () =>
            {
                Same(Peer.Verify(await MadeAsync(o => Our.SignAsync(Read(content), o))), content);
                Same(await MadeAsync(o => OurCms.VerifyAsync(Read(Peer.Sign(content)), o)), content);
            });
    }

    private Contest Verify(string name, double goal)
    {
        var content = RandomNumberGenerator.GetBytes(_small);
        var signed = Wait(MadeAsync(o => Our.SignAsync(Read(content), o)));
        return new(
            name, goal, OpenSsl, 1, "message", () => OurCms.VerifyAsync(Read(signed)),
            () => Peer.VerifyToMemory(signed),
            async () => Same(Peer.Verify(signed), await MadeAsync(o => OurCms.VerifyAsync(Read(signed), o))));
    }

    /// <summary>Every message by another signer with another key, and nothing remembered of those before, not even
    /// their CA.</summary>
    private Contest VerifyCold(string name, double goal)
    {
        var content = RandomNumberGenerator.GetBytes(_small);
        List<byte[]> signed = [];
        foreach (var stranger in _materials.Value.Strangers().Take(Math.Max(2, _recipients)))
        {
            signed.Add(Wait(MadeAsync(o => Our.SignAsync(Read(content), o, stranger))));
        }

        var (ours, theirs) = (0, 0);
        return new(
            name,
            goal,
            OpenSsl,
            1,
            "message",
            () =>
            {
                CertificateCache.Shared.Clear();
                return OurCms.VerifyAsync(Read(signed[ours++ % signed.Count]));
            },
            () => Peer.VerifyToMemory(signed[theirs++ % signed.Count]),
            async () => Same(Peer.Verify(signed[^1]), await MadeAsync(o => OurCms.VerifyAsync(Read(signed[^1]), o))));
    }

    private Contest Seal(string name, double goal)
    {
        var content = RandomNumberGenerator.GetBytes(_small);
        return new(
            name, goal, OpenSsl, _recipients, "recipient",
            () => Our.SignEncryptAsync(Read(content), Stream.Null, many: true),
            () => Peer.SignEncryptToNull(content, many: true), () => SealAgreesAsync(content));
    }

    private Contest SignEncrypt(string name, double goal)
    {
        var content = RandomNumberGenerator.GetBytes(_large);
        return new(
            name, goal, OpenSsl, 1, "message", () => Our.SignEncryptAsync(Read(content), Stream.Null),
            () => Peer.SignEncryptToNull(content), () => SealAgreesAsync(content));
    }

    private Contest DecryptVerify(string name, double goal, int size)
    {
        var content = RandomNumberGenerator.GetBytes(size);
        var sealedSigned = Wait(MadeAsync(o => Our.SignEncryptAsync(Read(content), o)));
        return new(
            name, goal, OpenSsl, 1, "message", () => Our.DecryptVerifyAsync(Read(sealedSigned)),
            () => Peer.DecryptVerifyToMemory(sealedSigned), () => SealAgreesAsync(content));
    }

    private Contest DecryptVerifyPlatform(string name, double goal)
    {
        var content = RandomNumberGenerator.GetBytes(_large);
        var sealedSigned = Wait(
            MadeAsync(o => Our.SignEncryptAsync(Read(content), o, cipher: ContentCipher.Aes256Cbc)));
        return new(
            name,
            goal,
            Platform,
            1,
            "message",
            () => Our.DecryptVerifyAsync(Read(sealedSigned)),
            () => _platform.Value.DecryptVerify(sealedSigned),
            async () =>
            {
                Same(_platform.Value.DecryptVerify(sealedSigned), content);
                Same(
                    await MadeAsync(o => Our.DecryptVerifyAsync(Read(_platform.Value.SignEncrypt(content)), o)),
                    content);
            });
    }

    private Contest SignEncryptText(string name, double goal)
    {
        var document = RandomNumberGenerator.GetBytes((int)(_large / EntityOfDocument));
        var entity = Wait(Our.EntityAsync(document));
        return new(
            name, goal, OpenSsl, 1, "message", () => Our.SignEncryptTextAsync(() => Read(document), Stream.Null),
            () => Peer.SignEncryptTextToNull(entity), () => TextAgreesAsync(document, entity));
    }

    private Contest DecryptVerifyText(string name, double goal)
    {
        var document = RandomNumberGenerator.GetBytes((int)(_large / EntityOfDocument));
        var message = Wait(MadeAsync(o => Our.SignEncryptTextAsync(() => Read(document), o)));
        return new(
            name, goal, OpenSsl, 1, "message", () => Our.DecryptVerifyTextAsync(Read(message)),
            () => Peer.DecryptVerifyTextToMemory(message),
            async () => await TextAgreesAsync(document, await Our.EntityAsync(document)));
    }

    private Contest DecryptVerifyTextPlatform(string name, double goal)
    {
        var document = RandomNumberGenerator.GetBytes((int)(_large / EntityOfDocument));
        var message = Wait(MadeAsync(o => Our.SignEncryptTextAsync(() => Read(document), o, ContentCipher.Aes256Cbc)));
        return new(
            name,
            goal,
            Platform,
            1,
            "message",
            () => Our.DecryptVerifyTextAsync(Read(message)),
            () => _platform.Value.DecryptVerifyText(message),
            async () =>
                Same(
                    Document(_platform.Value.DecryptVerifyText(message)),
                    await MadeAsync(o => Our.DecryptVerifyTextAsync(Read(message), o))));
    }

    /// <param name="change">What an attacker does to the EnvelopedData.</param>
    private Contest Refuse(string name, Action<byte[]> change)
    {
        var entity = Wait(Our.EntityAsync(RandomNumberGenerator.GetBytes(_small)));
        var cms = Wait(MadeAsync(o => Our.EncryptAsync(Read(entity), o, ContentCipher.Aes256Cbc)));
        var unchanged = OurCms.MailOf(cms);
        change(cms);
        var changed = OurCms.MailOf(cms);
        return new(
            name, 1.0, Unsigned, 1, "message", () => Our.RefuseAsync(Read(changed)),
            () => Wait(Our.RefuseAsync(Read(unchanged))), () => Task.CompletedTask);
    }

    /// <summary>A value in place of the encrypted key whose padding is wrong once it is decrypted.</summary>
    private static void WrongKey(byte[] cms)
    {
        var key = cms.AsSpan(cms.AsSpan().IndexOf<byte>([0x04, 0x82, 0x01, 0x00]) + 4, 256);
        RandomNumberGenerator.Fill(key);
        key[0] = 0;
    }

    private async Task SealAgreesAsync(byte[] content)
    {
        Same(Peer.DecryptVerify(await MadeAsync(o => Our.SignEncryptAsync(Read(content), o))), content);
        Same(await MadeAsync(o => Our.DecryptVerifyAsync(Read(Peer.SignEncrypt(content)), o)), content);
    }

    private async Task TextAgreesAsync(byte[] document, byte[] entity)
    {
        Same(
            Document(Peer.DecryptVerifyText(await MadeAsync(o => Our.SignEncryptTextAsync(() => Read(document), o)))),
            document);
        // The peer's message has no header of its own: ours shows the one inside, as it stands under the signature.
        Same(await MadeAsync(o => Our.DecryptVerifyTextAsync(Read(Peer.SignEncryptText(entity)), o)), document);
    }

    /// <summary>The document in a signed entity.</summary>
    private static byte[] Document(byte[] entity)
    {
        var output = new MemoryStream();
        Mail.Mime.MailMessage.Parse(entity).Root.Children[0].OpenDecoded().CopyTo(output);
        return output.ToArray();
    }

    private static MemoryStream Read(byte[] octets) => new(octets, writable: false);

    private static async Task<byte[]> MadeAsync(Func<Stream, Task> write)
    {
        var output = new MemoryStream();
        await write(output);
        return output.ToArray();
    }

    private static T Wait<T>(Task<T> task) => task.GetAwaiter().GetResult();

    private static void Wait(Task task) => task.GetAwaiter().GetResult();

    private static void Same(byte[] one, byte[] other)
    {
        if (!one.AsSpan().SequenceEqual(other))
        {
            throw new InvalidOperationException("The two sides do not agree.");
        }
    }
}
