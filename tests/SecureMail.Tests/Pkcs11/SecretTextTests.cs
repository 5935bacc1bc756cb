using System.Text;
using SecureMail.Pkcs11;

namespace SecureMail.Tests.Pkcs11;

public sealed class SecretTextTests
{
    private const string Pin = "mậtkhẩu12";

    public static TheoryData<byte[]> Written() =>
        new()
        {
            Encoding.UTF8.GetBytes(Pin),
            (byte[])[0xEF, 0xBB, 0xBF, .. Encoding.UTF8.GetBytes(Pin)],
            (byte[])[0xEF, 0xBB, 0xBF, .. Encoding.UTF8.GetBytes(Pin + "\r\n")],
            (byte[])[0xFF, 0xFE, .. Encoding.Unicode.GetBytes(Pin)],
            (byte[])[0xFF, 0xFE, .. Encoding.Unicode.GetBytes(Pin + "\r\n")],
            (byte[])[0xFE, 0xFF, .. Encoding.BigEndianUnicode.GetBytes(Pin + "\r\n")],
            // What a reader leaves that takes the bytes of a line end away.
            ((byte[])[0xFE, 0xFF, .. Encoding.BigEndianUnicode.GetBytes(Pin + "\r\n")])[..^1],
        };

    [Theory]
    [MemberData(nameof(Written))]
    public void A_secret_is_the_same_however_an_editor_wrote_it(byte[] written) =>
        Encoding.UTF8.GetString(SecretText.Decode(written)).ShouldBe(Pin);

    [Fact]
    public void What_was_written_is_wiped_when_it_is_decoded()
    {
        byte[] written = [0xEF, 0xBB, 0xBF, 1, 2, 3];
        SecretText.Decode(written).ShouldBe([1, 2, 3]);
        written.ShouldAllBe(b => b == 0);
        byte[] plain = [1, 2, 3];
        SecretText.Decode(plain).ShouldBeSameAs(plain);
    }
}
