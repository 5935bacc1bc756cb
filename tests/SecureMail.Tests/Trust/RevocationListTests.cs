using System.Formats.Asn1;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using SecureMail.Trust;

namespace SecureMail.Tests.Trust;

/// <summary>CRLs that a test writes entry by entry: what entries mean, and what a long list costs.</summary>
public sealed class RevocationListTests
{
    private const string ReasonCode = "2.5.29.21";
    private const string InvalidityDate = "2.5.29.24";
    private const string CertificateIssuer = "2.5.29.29";
    private static readonly TestPki Pki = TestPki.Shared;
    private static readonly DateTimeOffset Long = TestPki.Now.AddDays(-100);
    private static readonly DateTimeOffset Recent = TestPki.Now.AddDays(-2);

    [Fact]
    public void Of_several_entries_of_a_certificate_the_earliest_counts()
    {
        TestIdentity leaf = Pki.Issue("CN=L");
        foreach (DateTimeOffset[] dates in new[] { new[] { Long, Recent }, [Recent, Long], [Recent, Long, Recent] })
        {
            var list = List(dates.Select(d => (Serial(leaf), d, (Action<AsnWriter>?)null)));
            // A little after the earlier one, when the later one was not yet in force.
            StatusAt(leaf, list, Long.AddDays(1)).ShouldBe("certificate-revoked");
        }
    }

    [Theory]
    [InlineData(ReasonCode, true, "0a0101", "certificate-revoked")]
    [InlineData(ReasonCode, false, "0a0108", "valid")] // removeFromCRL
    [InlineData(InvalidityDate, true, "180f32303236303130313030303030305a", "certificate-revoked")]
    [InlineData("1.2.3.4", false, "0500", "certificate-revoked")]
    [InlineData("1.2.3.4", true, "0500", "revocation-unknown")]
    [InlineData(CertificateIssuer, true, "3000", "revocation-unknown")]
    public void Extensions_of_entries_are_processed(string oid, bool critical, string value, string expected)
    {
        TestIdentity leaf = Pki.Issue("CN=L");
        StatusAt(leaf, List([(Serial(leaf), Recent, Extension(oid, critical, value))]), TestPki.Now).ShouldBe(expected);
        // The extension counts in whichever entry it stands.
        var last = List(
            Enumerable
                .Range(0, 50)
                .Select(i => (new[] { (byte)0x50, (byte)i }, Recent, (Action<AsnWriter>?)null))
                .Append((Serial(leaf), Recent, Extension(oid, critical, value))));
        StatusAt(leaf, last, TestPki.Now).ShouldBe(expected);
    }

    [Fact]
    public void A_malformed_entry_makes_the_list_say_nothing()
    {
        TestIdentity leaf = Pki.Issue("CN=L");
        foreach (var entry in new[] { "3000", "30030201ff", "3005020101 0500", "020101" })
        {
            var list = List([], more: w =>
                w.WriteEncodedValue(Convert.FromHexString(entry.Replace(" ", "", StringComparison.Ordinal))));
            StatusAt(leaf, list, TestPki.Now).ShouldBe("revocation-unknown", entry);
        }
    }

    [Fact]
    public void Each_of_many_entries_in_any_order_is_found_and_no_other()
    {
        TestIdentity[] leaves = [.. Enumerable.Range(0, 40).Select(_ => Pki.Issue("CN=L"))];
        TestIdentity[] revoked = [.. leaves.Where((_, i) => i % 2 == 0)];
        var random = new Random(7);
        var entries = revoked
            .Select(l => (Serial(l), Recent, (Action<AsnWriter>?)null))
            .Concat(Enumerable.Range(0, 5000).Select(i =>
                (RandomSerial(random), Recent, (Action<AsnWriter>?)null)))
            .ToArray();
        random.Shuffle(entries);
        var list = List(entries);
        foreach (TestIdentity leaf in leaves)
        {
            StatusAt(leaf, list, TestPki.Now).ShouldBe(revoked.Contains(leaf) ? "certificate-revoked" : "valid");
        }
    }

    /// <summary>The list of a national authority: 1.5 million entries. Whatever is allocated counts, also what is freed
    /// at once.</summary>
    [Theory]
    [InlineData(false, 1.25)]
    [InlineData(true, 1.6)]
    public void A_list_of_57_MB_costs_at_most_twice_its_size(bool pem, double ratio)
    {
        TestIdentity leaf = Pki.Issue("CN=L");
        var list = LongList(1_500_000, Serial(leaf));
        list.Length.ShouldBeGreaterThan(57_000_000);
        DirectoryInfo folder = Directory.CreateTempSubdirectory("crl");
        try
        {
            var file = Path.Combine(folder.FullName, "long.crl");
            if (pem)
            {
                using StreamWriter writer = new(file);
                writer.Write("-----BEGIN X509 CRL-----\n");
                for (var at = 0; at < list.Length; at += 48)
                {
                    writer.Write(Convert.ToBase64String(list, at, Math.Min(48, list.Length - at)) + "\n");
                }

                writer.Write("-----END X509 CRL-----\n");
            }
            else
            {
                File.WriteAllBytes(file, list);
            }

            TestIdentity other = Pki.Issue("CN=M");
            var root = Path.Combine(folder.FullName, "root.crl");
            File.WriteAllBytes(root, Pki.Crl(Pki.Root));
            string[] certificates =
            [
                Path.Combine(folder.FullName, "root.pem"), Path.Combine(folder.FullName, "ca.pem"),
            ];
            File.WriteAllText(certificates[0], Pki.Root.Certificate.ExportCertificatePem());
            File.WriteAllText(certificates[1], Pki.Ca.Certificate.ExportCertificatePem());

            var before = GC.GetAllocatedBytesForCurrentThread();
            var material = TrustMaterial.Load([certificates[0]], [certificates[1]], [file, root]);
            Validate(leaf, material, TestPki.Now).ShouldBe("certificate-revoked");
            Validate(other, material, TestPki.Now).ShouldBe("valid");
            var allocated = GC.GetAllocatedBytesForCurrentThread() - before;
            ((double)allocated / list.Length).ShouldBeLessThanOrEqualTo(ratio);
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    private static string StatusAt(TestIdentity leaf, byte[] list, DateTimeOffset at) =>
        Validate(
            leaf,
            new TrustMaterial(
                [Pki.Root.Certificate], [Pki.Ca.Certificate],
                [Pki.Crl(Pki.Root, thisUpdate: TestPki.Now.AddDays(-365)), list]),
            at);

    private static string Validate(TestIdentity leaf, TrustMaterial material, DateTimeOffset at) =>
        PathValidator.Validate(leaf.Certificate, material, new PathOptions { At = at }).Reason.Code;

    private static byte[] Serial(TestIdentity identity) => identity.Certificate.SerialNumberBytes.ToArray();

    private static byte[] RandomSerial(Random random)
    {
        var serial = new byte[random.Next(2, 20)];
        random.NextBytes(serial);
        serial[0] = 0x60; // apart from those of the test's certificates
        return serial;
    }

    private static Action<AsnWriter> Extension(string oid, bool critical, string value) =>
        writer =>
        {
            using (writer.PushSequence())
            using (writer.PushSequence())
            {
                writer.WriteObjectIdentifier(oid);
                if (critical)
                {
                    writer.WriteBoolean(true);
                }

                writer.WriteOctetString(Convert.FromHexString(value));
            }
        };

    private static byte[] List(
        IEnumerable<(byte[] Serial, DateTimeOffset Date, Action<AsnWriter>? Extensions)> entries,
        Action<AsnWriter>? more = null)
    {
        var writer = new AsnWriter(AsnEncodingRules.DER);
        using (writer.PushSequence())
        {
            foreach (var (serial, date, extensions) in entries)
            {
                using (writer.PushSequence())
                {
                    writer.WriteInteger(serial);
                    writer.WriteUtcTime(date);
                    extensions?.Invoke(writer);
                }
            }

            more?.Invoke(writer);
        }

        return Sign(writer.Encode());
    }

    /// <summary>As many entries with serial numbers of 20 bytes in no order, and one more.</summary>
    private static byte[] LongList(int count, byte[] last)
    {
        const int EntrySize = 39;
        var random = new Random(57);
        var entry = new byte[EntrySize];
        entry[0] = 0x30;
        entry[1] = EntrySize - 2;
        entry[2] = 0x02;
        entry[3] = 20;
        entry[24] = 0x17;
        entry[25] = 13;
        "260501000000Z"u8.CopyTo(entry.AsSpan(26));
        var contents = new byte[(count * EntrySize) + 64];
        for (var i = 0; i < count; i++)
        {
            random.NextBytes(entry.AsSpan(4, 20));
            entry[4] = 0x40;
            entry.CopyTo(contents, i * EntrySize);
        }

        var one = new AsnWriter(AsnEncodingRules.DER);
        using (one.PushSequence())
        {
            one.WriteInteger(last);
            one.WriteUtcTime(Recent);
        }

        one.Encode().CopyTo(contents, count * EntrySize);
        var length = (count * EntrySize) + one.GetEncodedLength();
        return Sign([.. SecureMail.Cms.Asn1.Der.Header(0x30, length), .. contents.AsSpan(0, length)]);
    }

    private static byte[] Sign(byte[] entries)
    {
        var algorithm = Convert.FromHexString("300a06082a8648ce3d040302");
        var head = new AsnWriter(AsnEncodingRules.DER);
        head.WriteInteger(1);
        head.WriteEncodedValue(algorithm);
        head.WriteEncodedValue(Pki.Ca.Certificate.SubjectName.RawData);
        head.WriteUtcTime(TestPki.Now.AddDays(-200));
        head.WriteUtcTime(TestPki.Now.AddDays(7));
        byte[] fields = [.. head.Encode(), .. entries];
        byte[] tbs = [.. SecureMail.Cms.Asn1.Der.Header(0x30, fields.Length), .. fields];
        var value = ((ECDsa)Pki.Ca.Key).SignData(
            tbs, HashAlgorithmName.SHA256, DSASignatureFormat.Rfc3279DerSequence);
        var tail = new AsnWriter(AsnEncodingRules.DER);
        tail.WriteBitString(value);
        var signature = tail.Encode();
        return
        [
            .. SecureMail.Cms.Asn1.Der.Header(0x30, tbs.Length + algorithm.Length + signature.Length), .. tbs,
            .. algorithm, .. signature,
        ];
    }
}
