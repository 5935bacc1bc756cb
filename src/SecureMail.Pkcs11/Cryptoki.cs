using System.Runtime.InteropServices;
using Net.Pkcs11Interop.Common;
using InteropException = Net.Pkcs11Interop.Common.Pkcs11Exception;

namespace SecureMail.Pkcs11;

/// <summary>The texts of CK_SLOT_INFO, padded as the module gave them.</summary>
internal readonly record struct SlotInfo(byte[] Description, byte[] Manufacturer);

/// <summary>The texts of CK_TOKEN_INFO, padded as the module gave them, and its flags (<see cref="CKF"/>).</summary>
internal readonly record struct TokenInfo(
    byte[] Label, byte[] Serial, byte[] Model, byte[] Manufacturer, ulong Flags);

/// <summary>An attribute of a template.</summary>
/// <param name="Type">CKA_….</param>
/// <param name="Value">A byte array, a <see cref="bool"/> (CK_BBOOL), or a <see cref="ulong"/> (CK_ULONG).</param>
internal readonly record struct TemplateAttribute(CKA Type, object Value);

/// <summary>A mechanism without parameters.</summary>
internal record Mechanism(CKM Type)
{
    /// <summary>The bytes that the parameters point to.</summary>
    public virtual byte[] Data => [];
}

/// <summary>CKM_RSA_PKCS_PSS (PKCS #11 2.40 §2.1.10).</summary>
internal sealed record PssMechanism(CKM Hash, CKG Mask, int SaltSize) : Mechanism(CKM.CKM_RSA_PKCS_PSS);

/// <summary>CKM_RSA_PKCS_OAEP (PKCS #11 2.40 §2.1.8).</summary>
internal sealed record OaepMechanism(CKM Hash, CKG Mask, byte[] Label) : Mechanism(CKM.CKM_RSA_PKCS_OAEP)
{
    public override byte[] Data => Label;
}

/// <summary>CKM_ECDH1_DERIVE with CKD_NULL (PKCS #11 2.40 §2.3.8).</summary>
internal sealed record EcdhMechanism(byte[] PublicData) : Mechanism(CKM.CKM_ECDH1_DERIVE)
{
    public override byte[] Data => PublicData;
}

/// <summary>
/// The functions of one module that are used here, over Pkcs11Interop. Each method is one call and returns the CKR
/// value, which the caller turns into an error with <see cref="Check"/>.
/// Pkcs11Interop has its types once for each width of CK_ULONG and each packing of structures (PKCS #11 2.40 base
/// §2.1). Cryptoki80.cs is written over those of 64-bit Unix. The build makes Cryptoki41 for Windows of the same text.
/// Handles and numbers are <see cref="ulong"/> here. Arrays are pinned and not copied, so the caller can wipe them.
/// Left out on purpose: sessions, logins, errors and URIs of Pkcs11Interop; this project has its own
/// (docs/decisions/0002-packages.md).
/// </summary>
internal abstract class Cryptoki
{
    // Pkcs11Interop imports dlopen from "libdl". Debian has that name in a package for developers only. The C library
    // itself, which is always loaded, has the functions.
    static Cryptoki() =>
        NativeLibrary.SetDllImportResolver(
            typeof(CKR).Assembly, (name, _, _) => name == "libdl" ? NativeLibrary.GetMainProgramHandle() : 0);

    /// <summary>Bytes of a CK_ULONG.</summary>
    public abstract int NumberSize { get; }

    /// <summary>Loads a module. It is never unloaded.</summary>
    /// <exception cref="Pkcs11Exception">ModuleMissing, or the error of C_GetFunctionList.</exception>
    public static Cryptoki Load(string path)
    {
        // Find out here what is wrong with the file, because Pkcs11Interop has one exception for all of it. This handle
        // also keeps the module loaded.
        if (!NativeLibrary.TryLoad(path, out var library))
        {
            throw new Pkcs11Exception(Pkcs11Fault.ModuleMissing, "MODULE_MISSING", "the module cannot be loaded");
        }

        if (!NativeLibrary.TryGetExport(library, "C_GetFunctionList", out _))
        {
            throw new Pkcs11Exception(
                Pkcs11Fault.ModuleMissing, "NOT_A_MODULE", "the file has no C_GetFunctionList");
        }

        try
        {
            return OperatingSystem.IsWindows() ? new Cryptoki41(path)
                : Environment.Is64BitProcess ? new Cryptoki80(path)
                : throw new PlatformNotSupportedException("tokens are used on Windows and on 64-bit systems");
        }
        catch (InteropException e)
        {
            throw Pkcs11Exception.From((ulong)e.RV, e.Method);
        }
    }

    /// <exception cref="Pkcs11Exception">The value is not CKR_OK.</exception>
    public static void Check(ulong value, string call)
    {
        if (value != Ckr.Ok)
        {
            throw Pkcs11Exception.From(value, call);
        }
    }

    public abstract ulong Initialize();

    /// <summary>C_Finalize.</summary>
    public abstract void FinalizeModule();

    /// <summary>The slots with a token.</summary>
    /// <param name="slots">Null to learn the count only.</param>
    public abstract ulong GetSlotList(ulong[]? slots, out int count);

    public abstract ulong GetSlotInfo(ulong slot, out SlotInfo info);

    public abstract ulong GetTokenInfo(ulong slot, out TokenInfo info);

    public abstract ulong OpenSession(ulong slot, out ulong session);

    public abstract ulong CloseSession(ulong session);

    /// <summary>Whether C_GetSessionInfo succeeds.</summary>
    public abstract bool IsSessionOpen(ulong session);

    /// <param name="pin">Empty with a protected authentication path, where the person enters the PIN at the
    /// token.</param>
    public abstract ulong Login(ulong session, CKU user, byte[] pin);

    public abstract ulong DestroyObject(ulong session, ulong handle);

    /// <summary>C_GetAttributeValue for one attribute.</summary>
    /// <param name="value">Receives the value; null to learn its length only.</param>
    /// <param name="length">All ones (CK_UNAVAILABLE_INFORMATION) when there is no value.</param>
    public abstract ulong GetAttribute(ulong session, ulong handle, CKA type, byte[]? value, out ulong length);

    public abstract ulong FindObjectsInit(ulong session, IReadOnlyList<TemplateAttribute> template);

    public abstract ulong FindObjects(ulong session, ulong[] found, out int count);

    public abstract ulong FindObjectsFinal(ulong session);

    public abstract ulong DecryptInit(ulong session, Mechanism mechanism, ulong key);

    public abstract ulong Decrypt(ulong session, byte[] input, byte[] output, out int written);

    public abstract ulong SignInit(ulong session, Mechanism mechanism, ulong key);

    public abstract ulong Sign(ulong session, byte[] input, byte[] output, out int written);

    public abstract ulong DeriveKey(
        ulong session, Mechanism mechanism, ulong key, IReadOnlyList<TemplateAttribute> template, out ulong derived);

    /// <summary>Makes a call. Pkcs11Interop throws for a return value above 32 bits, which no standard defines; it is
    /// an unknown value here.</summary>
    internal static ulong Call(Func<CKR> call)
    {
        try
        {
            return (ulong)call();
        }
        catch (OverflowException)
        {
            return ulong.MaxValue;
        }
    }
}
