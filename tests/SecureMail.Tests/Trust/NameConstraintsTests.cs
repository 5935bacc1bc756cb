using System.Formats.Asn1;
using System.Net;
using SecureMail.Trust;

namespace SecureMail.Tests.Trust;

/// <summary>What a name constraint on addresses may be (RFC 5280 §4.2.1.10, RFC 4632).</summary>
public sealed class NameConstraintsTests
{
    [Theory]
    [InlineData("10.0.0.0", "255.0.0.0")]
    [InlineData("10.1.128.0", "255.255.128.0")]
    [InlineData("10.1.2.3", "255.255.255.255")]
    [InlineData("0.0.0.0", "0.0.0.0")]
    [InlineData("2001:db8::", "ffff:ffff::")]
    [InlineData("2001:db8::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe")]
    public void A_mask_whose_ones_come_first_is_taken(string address, string mask) =>
        Should.NotThrow(() => new NameConstraints().Add(Excluding(OctetsOf(address, mask))));

    [Theory]
    [InlineData("10.0.0.0", "255.0.255.0")]
    [InlineData("10.0.0.0", "0.0.0.255")]
    [InlineData("10.0.0.0", "127.0.0.0")]
    [InlineData("10.0.0.0", "255.160.0.0")]
    [InlineData("2001:db8::", "ffff:0:ffff::")]
    [InlineData("2001:db8::", "ffff:fffd::")]
    public void A_mask_with_gaps_makes_the_certificate_malformed(string address, string mask) =>
        Should.Throw<AsnContentException>(() => new NameConstraints().Add(Excluding(OctetsOf(address, mask))));

    [Theory]
    [InlineData(0)]
    [InlineData(4)]
    [InlineData(7)]
    [InlineData(16)]
    [InlineData(33)]
    public void Octets_that_are_no_address_and_mask_make_it_malformed(int length) =>
        Should.Throw<AsnContentException>(() => new NameConstraints().Add(Excluding(new byte[length])));

    private static byte[] OctetsOf(string address, string mask) =>
        [.. IPAddress.Parse(address).GetAddressBytes(), .. IPAddress.Parse(mask).GetAddressBytes()];

    private static byte[] Excluding(byte[] octets)
    {
        var writer = new AsnWriter(AsnEncodingRules.DER);
        using (writer.PushSequence())
        using (writer.PushSequence(new Asn1Tag(TagClass.ContextSpecific, 1)))
        using (writer.PushSequence())
        {
            writer.WriteOctetString(octets, new Asn1Tag(TagClass.ContextSpecific, 7));
        }

        return writer.Encode();
    }
}
