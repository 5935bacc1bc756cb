using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;

namespace SecureMail.Libcrypto;

/// <summary>
/// What BouncyCastle must be told before any of its types is used. It reads the setting from the environment of the
/// process. No type of BouncyCastle is named here, because its first use costs 0.1 to 0.2 s, which a command that needs
/// none of its algorithms must not pay.
/// </summary>
internal static class BouncyCastle
{
    /// <summary>Without this BouncyCastle looks for small factors and tests the primality of the modulus of every RSA
    /// key, which costs 36 ms at 2048 bits and 8.9 s at 16384. With it BouncyCastle has no bound of its own: give it
    /// keys only whose size SecureMail.Trust or <see cref="VerificationKey"/> has bounded, and no private
    /// ones.</summary>
    public const string AllowUnsafeModulus = "Org.BouncyCastle.Rsa.AllowUnsafeModulus";

    /// <summary>Runs before the first method of this assembly, through which alone the product uses
    /// BouncyCastle.</summary>
    [ModuleInitializer]
    [SuppressMessage("Usage", "CA2255", Justification = "No other place is certain to come before every use.")]
    internal static void Configure() => Environment.SetEnvironmentVariable(AllowUnsafeModulus, bool.TrueString);
}
