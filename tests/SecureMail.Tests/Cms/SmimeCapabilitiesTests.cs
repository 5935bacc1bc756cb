using System.Formats.Asn1;
using SecureMail.Cms;

namespace SecureMail.Tests.Cms;

public sealed class SmimeCapabilitiesTests
{
    private const string Aes256Gcm = "2.16.840.1.101.3.4.1.46";
    private const string Aes128Gcm = "2.16.840.1.101.3.4.1.6";
    private const string Aes256Cbc = "2.16.840.1.101.3.4.1.42";
    private const string Aes128Cbc = "2.16.840.1.101.3.4.1.2";
    private const string Hkdf = "1.2.840.113549.1.9.16.3.31";

    [Fact]
    public void Ours_are_read_as_they_are_written()
    {
        byte[] value = SmimeCapabilities.Ours.Encode();
        SmimeCapabilities.TryRead(value)!.Algorithms.ShouldBe(SmimeCapabilities.Ours.Algorithms);
        // RFC 9709 §5: the octets of its capability, parameters absent.
        value.AsSpan().IndexOf(Convert.FromHexString("300d060b2a864886f70d010910031f")).ShouldBeGreaterThan(0);
    }

    [Fact]
    public void Parameters_are_passed_over_and_damage_counts_for_nothing()
    {
        var writer = new AsnWriter(AsnEncodingRules.DER);
        using (writer.PushSequence())
        using (writer.PushSequence())
        {
            writer.WriteObjectIdentifier("1.2.840.113549.3.2");
            writer.WriteInteger(128);
        }
        byte[] rc2 = writer.Encode();
        SmimeCapabilities.TryRead(rc2)!.Has("1.2.840.113549.3.2").ShouldBeTrue();
        SmimeCapabilities.TryRead(rc2.AsMemory(0, rc2.Length - 1)).ShouldBeNull();
        SmimeCapabilities.TryRead(new byte[] { 0x31, 0x00 }).ShouldBeNull();
        SmimeCapabilities.TryRead(SmimeCapabilities.Of([.. Enumerable.Repeat(Aes256Gcm, 65)]).Encode()).ShouldBeNull();
        SmimeCapabilities.TryRead(SmimeCapabilities.Of([.. Enumerable.Repeat(Aes256Gcm, 64)]).Encode()).ShouldNotBeNull();
    }

    [Fact]
    public void Mutated_capabilities_are_read_or_count_for_nothing() =>
        Fuzz.Run([SmimeCapabilities.Ours.Encode()], 7, 5000, input => SmimeCapabilities.TryRead(input));

    public static TheoryData<string[], ContentCipher, bool, bool> Choices => new()
    {
        { [$"{Aes256Gcm} {Hkdf}", $"{Aes256Gcm} {Hkdf}"], ContentCipher.Aes256Gcm, true, false },
        { [$"{Aes256Gcm} {Hkdf}", Aes256Gcm], ContentCipher.Aes256Gcm, false, false },
        { [$"{Aes256Gcm} {Aes128Gcm}", $"{Aes128Gcm} {Aes128Cbc}"], ContentCipher.Aes128Gcm, false, true },
        { [Aes256Gcm, Aes256Cbc], ContentCipher.Aes256Cbc, false, true },
        { [Aes256Gcm, Aes128Cbc], ContentCipher.Aes128Cbc, false, true },
        { [Aes256Gcm, "1.2.840.113549.3.7"], ContentCipher.Aes256Cbc, false, true },
        { [Aes256Gcm, ""], ContentCipher.Aes256Cbc, false, true },
        { [], ContentCipher.Aes256Cbc, false, true },
    };

    [Theory]
    [MemberData(nameof(Choices))]
    public void The_cipher_is_the_best_that_every_reader_announced_and_a_worse_one_says_why(string[] readers, ContentCipher cipher, bool binds, bool downgrade)
    {
        CipherChoice choice = CipherChoice.For([.. readers.Select(r => r.Length == 0 ? null : SmimeCapabilities.Of(r.Split(' ')))]);
        choice.Cipher.ShouldBe(cipher);
        choice.BindsAlgorithm.ShouldBe(binds);
        (choice.Downgrade is not null).ShouldBe(downgrade);
    }
}
