using System.Globalization;
using System.Runtime.InteropServices;
using Net.Pkcs11Interop.Common;
using SecureMail.Pkcs11;
using Packed = Net.Pkcs11Interop.LowLevelAPI41;
using PackedParameters = Net.Pkcs11Interop.LowLevelAPI41.MechanismParams;
using Unix = Net.Pkcs11Interop.LowLevelAPI80;
using UnixParameters = Net.Pkcs11Interop.LowLevelAPI80.MechanismParams;

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
    public void A_value_above_32_bits_is_a_device_error_and_does_not_end_in_another_exception()
    {
        var value = Cryptoki.Call(() => ConvertUtils.UInt64ToCKR(0x1_0000_0001));
        Ckr.Describe(value).Fault.ShouldBe(Pkcs11Fault.DeviceError);
        Cryptoki.Call(() => ConvertUtils.UInt64ToCKR(0xFFFF_FFFF)).ShouldBe(0xFFFF_FFFFUL);
    }

    [Fact]
    public void The_structures_have_the_layout_of_the_C_compiler_on_64_bit_Unix()
    {
        Marshal.SizeOf<Unix.CK_ATTRIBUTE>().ShouldBe(24);
        Marshal.SizeOf<Unix.CK_MECHANISM>().ShouldBe(24);
        Marshal.SizeOf<UnixParameters.CK_RSA_PKCS_PSS_PARAMS>().ShouldBe(24);
        Marshal.SizeOf<UnixParameters.CK_RSA_PKCS_OAEP_PARAMS>().ShouldBe(40);
        Marshal.SizeOf<UnixParameters.CK_ECDH1_DERIVE_PARAMS>().ShouldBe(40);
        Marshal.SizeOf<Unix.CK_C_INITIALIZE_ARGS>().ShouldBe(48);
        Marshal.SizeOf<Unix.CK_SESSION_INFO>().ShouldBe(32);
        Marshal.OffsetOf<Unix.CK_TOKEN_INFO>("Flags").ShouldBe(96);
        Marshal.OffsetOf<Unix.CK_TOKEN_INFO>("UtcTime").ShouldBe(188);
        Marshal.SizeOf<Unix.CK_TOKEN_INFO>().ShouldBe(208);
        Marshal.SizeOf<Unix.CK_SLOT_INFO>().ShouldBe(112);
    }

    /// <summary>PKCS #11 2.40 base §2.1: structures are packed on Windows; unsigned long has 32 bits there.</summary>
    [Fact]
    public void The_structures_are_packed_with_numbers_of_32_bits_on_Windows()
    {
        Marshal.SizeOf<Packed.CK_ATTRIBUTE>().ShouldBe(8 + nint.Size);
        Marshal.SizeOf<Packed.CK_MECHANISM>().ShouldBe(8 + nint.Size);
        Marshal.SizeOf<PackedParameters.CK_RSA_PKCS_PSS_PARAMS>().ShouldBe(12);
        Marshal.SizeOf<PackedParameters.CK_RSA_PKCS_OAEP_PARAMS>().ShouldBe(16 + nint.Size);
        Marshal.SizeOf<PackedParameters.CK_ECDH1_DERIVE_PARAMS>().ShouldBe(12 + (2 * nint.Size));
        Marshal.SizeOf<Packed.CK_C_INITIALIZE_ARGS>().ShouldBe(4 + (5 * nint.Size));
        Marshal.SizeOf<Packed.CK_SESSION_INFO>().ShouldBe(16);
        Marshal.SizeOf<Packed.CK_TOKEN_INFO>().ShouldBe(160);
        Marshal.SizeOf<Packed.CK_SLOT_INFO>().ShouldBe(104);
    }
}
