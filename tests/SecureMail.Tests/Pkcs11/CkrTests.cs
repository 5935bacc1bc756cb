using System.Globalization;
using System.Runtime.InteropServices;
using SecureMail.Pkcs11;

namespace SecureMail.Tests.Pkcs11;

public class CkrTests
{
    [Fact]
    public void Every_return_value_of_the_standard_has_its_name_and_a_meaning()
    {
        var lines = File.ReadAllLines(Path.Combine(AppContext.BaseDirectory, "vectors", "pkcs11", "ckr.txt"))
            .Where(line => line.StartsWith("CKR_", StringComparison.Ordinal))
            .ToList();
        lines.Count.ShouldBe(97);
        foreach (var fields in lines.Select(line => line.Split(' ')).Where(fields => fields[0] != "CKR_OK"))
        {
            var value = ulong.Parse(fields[1].AsSpan(2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture);
            Ckr.All[value].Name.ShouldBe(fields[0]);
        }
        Ckr.All.Count.ShouldBe(lines.Count - 1);
    }

    [Theory]
    [InlineData(0x80000123, "CKR_VENDOR_DEFINED_0x80000123")]
    [InlineData(0x4321, "CKR_UNKNOWN_0x00004321")]
    public void An_unknown_value_is_a_device_error_with_its_number(ulong value, string name) =>
        Ckr.Describe(value).ShouldBe((name, Pkcs11Fault.DeviceError));

    [Fact]
    public void The_structures_have_the_layout_of_the_c_compiler()
    {
        // Sizes of the C structures on 64-bit Unix; ours may have padding at the end.
        Marshal.SizeOf<CkAttribute>().ShouldBe(24);
        Marshal.SizeOf<CkMechanism>().ShouldBe(24);
        Marshal.SizeOf<CkRsaPkcsPssParams>().ShouldBe(24);
        Marshal.SizeOf<CkRsaPkcsOaepParams>().ShouldBe(40);
        Marshal.SizeOf<CkInitializeArgs>().ShouldBe(48);
        Marshal.OffsetOf<CkTokenInfo>("Flags").ShouldBe(96);
        Marshal.OffsetOf<CkTokenInfo>("UtcTime").ShouldBe(188);
        Marshal.SizeOf<CkTokenInfo>().ShouldBeGreaterThanOrEqualTo(208);
        Marshal.OffsetOf<CkSlotInfo>("Flags").ShouldBe(96);
        Marshal.SizeOf<CkSlotInfo>().ShouldBeGreaterThanOrEqualTo(112);
    }
}
