using System.Diagnostics;
using SecureMail.Cms;

namespace SecureMail.Tests.Cms;

/// <summary>
/// Hostile SignedData: each input gives a typed error (or is read when only its size is unusual), in bounded memory and
/// time.
/// </summary>
public sealed class MalformedSignedDataTests
{
    private static readonly byte[] SignedDataOid = [0x06, 0x09, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x07, 0x02];
    private static readonly byte[] DataOid = [0x06, 0x09, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x07, 0x01];
    private static readonly byte[] Sha256 = Tlv(
        0x30, [0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01]);
    private static readonly byte[] RsaEncryption = Tlv(
        0x30, [0x06, 0x09, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x01]);
    private static readonly byte[] NobodyInParticular = Tlv(0x30, [0x30, 0x00, 0x02, 0x01, 0x01]);
    private static readonly byte[] Certificate = TestPki.Shared.Issue("CN=A", key: TestKey.P256).Certificate.RawData;

    public static TheoryData<string, CmsError?> Cases =>
        new()
        {
            { "a million signers", CmsError.LimitExceeded },
            { "a million certificates", CmsError.LimitExceeded },
            { "a million of the same certificate", CmsError.LimitExceeded },
            { "a million revocation lists", CmsError.LimitExceeded },
            { "a million digest algorithms", CmsError.LimitExceeded },
            { "a million signed attributes", CmsError.LimitExceeded },
            { "a million unsigned attributes", CmsError.LimitExceeded },
            { "a million values in an attribute", CmsError.LimitExceeded },
            { "certificates nested 1,000 deep", null },
            { "certificates nested 1,000 deep without lengths", CmsError.LimitExceeded },
            { "signers nested 1,000 deep", CmsError.Malformed },
            { "content nested 1,000 deep", CmsError.LimitExceeded },
            { "content nested 1,000 deep with lengths", CmsError.LimitExceeded },
            { "attributes nested 1,000 deep", CmsError.Malformed },
            { "an object identifier of a megabyte as content type", CmsError.Malformed },
            { "an object identifier of a megabyte as digest", CmsError.Malformed },
            { "an object identifier of a megabyte as attribute", CmsError.LimitExceeded },
            { "a length of eight octets", CmsError.Malformed },
            { "a length with its highest bit set", CmsError.Malformed },
            { "a length of seven octets", CmsError.Malformed },
            { "a length beyond the end", CmsError.Truncated },
            { "an inner length beyond the outer", CmsError.Malformed },
            { "a sequence where a set should be", CmsError.Malformed },
            { "an integer where content should be", CmsError.Malformed },
            { "a primitive of indefinite length", CmsError.Malformed },
            { "a high tag number", CmsError.Malformed },
            { "no signers element", CmsError.Malformed },
            { "version of a megabyte", null },
            { "serial number of a megabyte", null },
            { "one more element at the end", CmsError.Malformed },
        };

    [Theory]
    [MemberData(nameof(Cases))]
    public async Task It_is_refused_in_bounded_time_and_memory(string what, CmsError? expected)
    {
        var cms = Make(what);
        // Everything runs on this thread, because a MemoryStream never waits.
        var before = GC.GetAllocatedBytesForCurrentThread();
        using var limit = new TimeLimit(what);
        CmsError? error = null;
        try
        {
            using CmsSignedData data = await CmsSignedData.ReadAsync(new MemoryStream(cms));
            (await data.VerifyAsync(new MemoryStream([1]))).ShouldAllBe(v => !v.Intact);
        }
        catch (CmsException e)
        {
            error = e.Error;
        }
        error.ShouldBe(expected);
        // A few copies of the input, never a multiple that grows with a length from the input.
        (GC.GetAllocatedBytesForCurrentThread() - before).ShouldBeLessThan((8L * cms.Length) + (4 << 20));
    }

    private static byte[] Make(string what) =>
        what switch
        {
            "a million signers" => SignedData(signers: Many(1_000_000, Signer([]))),
            "a million certificates" => SignedData(certificates: Many(1_000_000, [0x30, 0x00])),
            "a million of the same certificate" => SignedData(certificates: Many(30_000, Certificate)),
            "a million revocation lists" => SignedData(crls: Many(1_000_000, [0x30, 0x00])),
            "a million digest algorithms" => SignedData(digests: Many(1_000_000, Sha256)),
            "a million signed attributes" => SignedData(signers: Signer(Many(1_000_000, Attribute([0x05, 0x00])))),
            "a million unsigned attributes" => SignedData(
                signers: Signer([], Tlv(0xA1, Many(1_000_000, Attribute([0x05, 0x00]))))),
            "a million values in an attribute" => SignedData(signers: Signer(Attribute(Many(1_000_000, [0x05, 0x00])))),
            "certificates nested 1,000 deep" => SignedData(certificates: Nested(0x30, 1000)),
            "certificates nested 1,000 deep without lengths" => SignedData(rawCertificates: Endless(0xA0, 1000)),
            "signers nested 1,000 deep" => SignedData(signers: Nested(0x30, 1000)),
            "content nested 1,000 deep" => SignedData(content: Tlv(0xA0, Endless(0x24, 1000))),
            "content nested 1,000 deep with lengths" => SignedData(content: Tlv(0xA0, Nested(0x24, 1000))),
            "attributes nested 1,000 deep" => SignedData(signers: Signer(Attribute(Nested(0x30, 1000)))),
            "an object identifier of a megabyte as content type" => SignedData(contentType: HugeOid()),
            "an object identifier of a megabyte as digest" => SignedData(digests: Tlv(0x30, HugeOid())),
            "an object identifier of a megabyte as attribute" => SignedData(
                signers: Signer(Tlv(0x30, [.. HugeOid(), 0x31, 0x02, 0x05, 0x00]))),
            "a length of eight octets" => [0x30, 0x88, 0, 0, 0, 0, 0, 0, 0, 20, .. SignedDataOid, 0xA0, 0x00],
            "a length with its highest bit set" => SignedData(
                rawCertificates: [0xA0, 0x88, 0x80, 0, 0, 0, 0, 0, 0, 1, 0]),
            "a length of seven octets" => SignedData(
                rawCertificates: [0xA0, 0x87, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]),
            "a length beyond the end" =>
            [
                0x30,
                0x84,
                0x7F,
                0xFF,
                0xFF,
                0xFF,
                .. SignedDataOid,
                0xA0,
                0x80,
                0x30,
                0x80,
                0x02,
                0x01,
                0x01,
            ],
            "an inner length beyond the outer" => SignedData(rawCertificates: [0xA0, 0x82, 0x7F, 0xFF, 0x30, 0x00]),
            "a sequence where a set should be" => SignedData(signersTag: 0x30),
            "an integer where content should be" => SignedData(content: Tlv(0xA0, [0x02, 0x01, 0x05])),
            "a primitive of indefinite length" => SignedData(content: Tlv(0xA0, [0x04, 0x80, 0x00, 0x00])),
            "a high tag number" => SignedData(rawCertificates: [0xBF, 0x81, 0x00, 0x00]),
            "no signers element" => SignedData(signersTag: null),
            "version of a megabyte" => SignedData(
                version: Tlv(
                    0x02,
                    new byte[1 << 20]
                        .Select((_, i) => (byte)(i == 0 ? 1 : 0))
                        .ToArray())),
            "serial number of a megabyte" => SignedData(
                signers: Signer([], [], Tlv(0x30, [0x30, 0x00, .. Tlv(0x02, Many(1 << 20, [0x11]))]))),
            "one more element at the end" => SignedData(more: [0x05, 0x00]),
            _ => throw new ArgumentOutOfRangeException(nameof(what)),
        };

    private static byte[] SignedData(
        byte[]? version = null, byte[]? digests = null, byte[]? contentType = null, byte[]? content = null,
        byte[]? certificates = null, byte[]? rawCertificates = null, byte[]? crls = null, byte[]? signers = null,
        byte? signersTag = 0x31, byte[]? more = null) =>
        Tlv(
            0x30,
            [
                .. SignedDataOid,
                .. Tlv(
                    0xA0,
                    Tlv(
                        0x30,
                        [
                            .. version ?? [0x02, 0x01, 0x01],
                            .. Tlv(0x31, digests ?? Sha256),
                            .. Tlv(0x30, [.. contentType ?? DataOid, .. content ?? []]),
                            .. rawCertificates ?? (certificates is null ? [] : Tlv(0xA0, certificates)),
                            .. crls is null ? [] : Tlv(0xA1, crls),
                            .. signersTag is { } tag ? Tlv(tag, signers ?? []) : [],
                            .. more ?? [],
                        ])),
            ]);

    private static byte[] Signer(byte[] attributes, byte[]? unsigned = null, byte[]? identifier = null) =>
        Tlv(
            0x30,
            [
                0x02,
                0x01,
                0x01,
                .. identifier ?? NobodyInParticular,
                .. Sha256,
                .. attributes.Length == 0 ? [] : Tlv(0xA0, attributes),
                .. RsaEncryption,
                0x04,
                0x01,
                0x00,
                .. unsigned ?? [],
            ]);

    private static byte[] Attribute(byte[] values) => Tlv(0x30, [0x06, 0x03, 0x2A, 0x03, 0x04, .. Tlv(0x31, values)]);

    private static byte[] HugeOid() => Tlv(0x06, [0x2A, .. Many((1 << 20) - 1, [0x81]), 0x01]);

    private static byte[] Many(int count, byte[] element)
    {
        var all = new byte[count * element.Length];
        for (var i = 0; i < count; i++)
        {
            element.CopyTo(all, i * element.Length);
        }

        return all;
    }

    private static byte[] Nested(byte tag, int depth)
    {
        byte[] inner = [];
        for (var i = 0; i < depth; i++)
        {
            inner = Tlv(tag, inner);
        }

        return inner;
    }

    private static byte[] Endless(byte tag, int depth) => [.. Many(depth, [tag, 0x80]), .. Many(depth, [0x00, 0x00])];

    private static byte[] Tlv(byte tag, byte[] contents) =>
        contents.Length < 0x80
            ? [tag, (byte)contents.Length, .. contents]
            :
            [
                tag,
                0x84,
                (byte)(contents.Length >> 24),
                (byte)(contents.Length >> 16),
                (byte)(contents.Length >> 8),
                (byte)contents.Length,
                .. contents,
            ];
}
