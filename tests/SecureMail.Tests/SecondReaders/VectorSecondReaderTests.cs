using System.Security.Cryptography;
using SecureMail.Cms;
using SecureMail.Trust;

namespace SecureMail.Tests.SecondReaders;

/// <summary>MimeKit and BouncyCastle read every vector that we call valid to the same text and signers.</summary>
public sealed class VectorSecondReaderTests
{
    /// <summary>The vectors that BouncyCastle does not read, with the reason.</summary>
    private static readonly Dictionary<string, string> NotRead = new()
    {
        ["peers/openssl-pss-mask.der"] = "the mask of PSS has another hash than the content",
        ["rfc4134/4.10.bin"] = "the attributes were signed in another order than that of DER; OpenSSL accepts it too",
    };

    [Fact]
    public async Task Every_mail_that_we_call_valid_is_read_alike()
    {
        var folder = Vectors.Folder("smime");
        var reader = new OurReader(folder);
        var second = new SecondReader(reader.RecipientKeyPem);
        var valid = 0;
        foreach (var line in await File.ReadAllLinesAsync(Path.Combine(folder, "expect.txt")))
        {
            var name = line.Split(' ')[0];
            var mail = await File.ReadAllBytesAsync(Path.Combine(folder, name + ".eml"));
            var (verdict, ours) = await reader.ReadAsync(mail);
            (verdict == Verdict.Valid).ShouldBe(line.Split(' ')[1] == "valid", name);
            if (ours is not null)
            {
                valid++;
                (second.Read(mail)?.ToString()).ShouldBe(ours.ToString(), name);
            }
        }

        valid.ShouldBeGreaterThan(8);
    }

    [Fact]
    public async Task Every_signature_that_we_find_intact_is_verified_by_BouncyCastle()
    {
        var folder = Vectors.Folder("cms");
        var intact = 0;
        foreach (var file in Directory.GetFiles(folder, "*", SearchOption.AllDirectories).Order(StringComparer.Ordinal))
        {
            var bytes = await File.ReadAllBytesAsync(file);
            var beginning = bytes.AsSpan(0, Math.Min(bytes.Length, CmsFormat.DetectionLength));
            if (CmsFormat.Detect(beginning) != CmsKind.SignedData)
            {
                continue;
            }

            var name = Path.GetRelativePath(folder, file);
            byte[] content;
            List<string> ours;
            byte[]? detached = null;
            try
            {
                using var data = await CmsSignedData.ReadAsync(new MemoryStream(bytes));
                detached = data.HasContent ? null : await ContentBesideAsync(file);
                if (!data.HasContent && detached is null)
                {
                    continue;
                }

                var results = await data.VerifyAsync(detached is null ? null : new MemoryStream(detached));
                if (results.Count == 0 || results.Any(r => !r.Intact))
                {
                    continue;
                }

                ours = [.. results
                    .Select(r => Convert.ToHexStringLower(SHA256.HashData(r.Certificate!.RawData)))
                    .Order(StringComparer.Ordinal)];
                var memory = new MemoryStream();
                if (data.HasContent)
                {
                    await data.OpenContent().CopyToAsync(memory);
                }

                content = detached ?? memory.ToArray();
            }
            catch (CmsException)
            {
                continue;
            }

            intact++;
            var theirs = SecondReader.ReadSigners(Ber(bytes), detached);
            if (NotRead.ContainsKey(name))
            {
                theirs.ShouldBeNull(name);
                continue;
            }

            theirs.ShouldBe(ours, name);
            if (detached is null)
            {
                var text = new MemoryStream();
                new Org.BouncyCastle.Cms.CmsSignedData(new MemoryStream(Ber(bytes))).SignedContent.Write(text);
                text.ToArray().ShouldBe(content, name);
            }
        }

        intact.ShouldBeGreaterThan(25);
    }

    /// <summary>The content of a detached signature: content.txt in its folder or in the one above.</summary>
    private static async Task<byte[]?> ContentBesideAsync(string file)
    {
        var folder = new FileInfo(file).Directory!;
        foreach (var place in new[] { folder, folder.Parent! })
        {
            var path = Path.Combine(place.FullName, "content.txt");
            if (File.Exists(path))
            {
                return await File.ReadAllBytesAsync(path);
            }
        }

        return null;
    }

    private static byte[] Ber(byte[] file)
    {
        var text = System.Text.Encoding.Latin1.GetString(file);
        return PemEncoding.TryFind(text, out var fields) ? Convert.FromBase64String(text[fields.Base64Data]) : file;
    }
}
