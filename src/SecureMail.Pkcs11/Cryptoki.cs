using System.Runtime.InteropServices;

namespace SecureMail.Pkcs11;

// Structures of PKCS #11 2.40, defined once for every platform. CK_ULONG is C's unsigned long (CULong: 32 bits on
// Windows, the machine word elsewhere). Pack = 1 is required on Windows. Elsewhere it changes nothing, because in each
// of these structures every field already lies on its natural boundary. CK_INFO is the exception and is not used here.

[StructLayout(LayoutKind.Sequential, Pack = 1)]
internal unsafe struct CkAttribute
{
    public CULong Type;
    public void* Value;
    public CULong Length;
}

[StructLayout(LayoutKind.Sequential, Pack = 1)]
internal unsafe struct CkMechanism
{
    public CULong Mechanism;
    public void* Parameter;
    public CULong ParameterLength;
}

[StructLayout(LayoutKind.Sequential, Pack = 1)]
internal struct CkRsaPkcsPssParams
{
    public CULong HashAlgorithm;
    public CULong MaskGeneration;
    public CULong SaltLength;
}

[StructLayout(LayoutKind.Sequential, Pack = 1)]
internal unsafe struct CkRsaPkcsOaepParams
{
    public CULong HashAlgorithm;
    public CULong MaskGeneration;
    public CULong Source;
    public void* SourceData;
    public CULong SourceDataLength;
}

[StructLayout(LayoutKind.Sequential, Pack = 1)]
internal unsafe struct CkEcdh1DeriveParams
{
    public CULong Derivation;
    public CULong SharedDataLength;
    public void* SharedData;
    public CULong PublicDataLength;
    public void* PublicData;
}

[StructLayout(LayoutKind.Sequential, Pack = 1)]
internal unsafe struct CkInitializeArgs
{
    public void* CreateMutex;
    public void* DestroyMutex;
    public void* LockMutex;
    public void* UnlockMutex;
    public CULong Flags;
    public void* Reserved;
}

[StructLayout(LayoutKind.Sequential, Pack = 1)]
internal unsafe struct CkTokenInfo
{
    public fixed byte Label[32];
    public fixed byte Manufacturer[32];
    public fixed byte Model[16];
    public fixed byte Serial[16];
    public CULong Flags;
    public CULong MaxSessions;
    public CULong Sessions;
    public CULong MaxRwSessions;
    public CULong RwSessions;
    public CULong MaxPinLength;
    public CULong MinPinLength;
    public CULong TotalPublicMemory;
    public CULong FreePublicMemory;
    public CULong TotalPrivateMemory;
    public CULong FreePrivateMemory;
    public fixed byte Versions[4];
    public fixed byte UtcTime[16];
    private fixed byte _padding[8]; // a C compiler may pad the end, and the module must not write past this structure
}

[StructLayout(LayoutKind.Sequential, Pack = 1)]
internal unsafe struct CkSlotInfo
{
    public fixed byte Description[64];
    public fixed byte Manufacturer[32];
    public CULong Flags;
    public fixed byte Versions[4];
    private fixed byte _padding[8];
}

/// <summary>The constants of PKCS #11 2.40 that are used here.</summary>
internal static class Ck
{
    public const uint ObjectCertificate = 1,
        ObjectPublicKey = 2,
        ObjectPrivateKey = 3,
        ObjectSecretKey = 4;
    public const uint KeyRsa = 0,
        KeyEc = 3,
        KeyGenericSecret = 0x10;
    public const uint AttributeClass = 0x0,
        AttributeToken = 0x1,
        AttributeLabel = 0x3,
        AttributeValue = 0x11,
        AttributeCertificateType = 0x80,
        AttributeKeyType = 0x100,
        AttributeId = 0x102,
        AttributeSensitive = 0x103,
        AttributeDecrypt = 0x105,
        AttributeUnwrap = 0x107,
        AttributeSign = 0x108,
        AttributeDerive = 0x10C,
        AttributeValueLength = 0x161,
        AttributeExtractable = 0x162,
        AttributeModulus = 0x120,
        AttributePublicExponent = 0x122,
        AttributeEcParams = 0x180,
        AttributeEcPoint = 0x181,
        AttributeAlwaysAuthenticate = 0x202;
    public const uint MechanismRsaPkcs = 0x1,
        MechanismRsaOaep = 0x9,
        MechanismRsaPss = 0xD,
        MechanismEcdsa = 0x1041,
        MechanismEcdh1Derive = 0x1050;
    public const uint MechanismSha1 = 0x220,
        MechanismSha224 = 0x255,
        MechanismSha256 = 0x250,
        MechanismSha384 = 0x260,
        MechanismSha512 = 0x270;
    public const uint MaskSha1 = 1,
        MaskSha256 = 2,
        MaskSha384 = 3,
        MaskSha512 = 4,
        MaskSha224 = 5;
    public const uint DataSpecified = 1;
    public const uint DerivationNull = 1;
    public const uint SessionSerial = 0x4;
    public const uint OsLockingOk = 0x2;
    public const uint UserNormal = 1,
        UserContextSpecific = 2;
    public const uint TokenProtectedAuthentication = 0x100,
        TokenInitialized = 0x400,
        TokenLoginRequired = 0x4,
        TokenPinCountLow = 0x10000,
        TokenPinFinalTry = 0x20000,
        TokenPinLocked = 0x40000;
}

/// <summary>
/// The functions of one module, from C_GetFunctionList. Each method is one call and returns the CKR value, which the
/// caller turns into an error with <see cref="Check"/>.
/// </summary>
internal sealed unsafe class Cryptoki
{
    private readonly void** _functions;

    /// <param name="functionList">CK_FUNCTION_LIST*: two bytes of version, then the pointers; packed on Windows
    /// only.</param>
    public Cryptoki(nint functionList) =>
        _functions = (void**)(functionList + (OperatingSystem.IsWindows() ? 2 : nint.Size));

    /// <exception cref="Pkcs11Exception">The value is not CKR_OK.</exception>
    public static void Check(ulong value, string call)
    {
        if (value != Ckr.Ok)
        {
            throw Pkcs11Exception.From(value, call);
        }
    }

    public ulong Initialize()
    {
        var arguments = new CkInitializeArgs { Flags = new CULong(Ck.OsLockingOk) };
        return ((delegate* unmanaged[Cdecl]<CkInitializeArgs*, CULong>)_functions[0])(&arguments).Value;
    }

    /// <summary>C_Finalize.</summary>
    public void FinalizeModule() => ((delegate* unmanaged[Cdecl]<void*, CULong>)_functions[1])(null);

    public ulong GetSlotList(Span<CULong> slots, ref int count)
    {
        var length = new CULong((uint)count);
        ulong result;
        fixed (CULong* list = slots)
        {
            result = ((delegate* unmanaged[Cdecl]<byte, CULong*, CULong*, CULong>)_functions[4])(
                1, list, &length).Value;
        }

        count = (int)Math.Min(length.Value, int.MaxValue);
        return result;
    }

    public ulong GetSlotInfo(CULong slot, out CkSlotInfo info)
    {
        fixed (CkSlotInfo* target = &info)
        {
            return ((delegate* unmanaged[Cdecl]<CULong, CkSlotInfo*, CULong>)_functions[5])(slot, target).Value;
        }
    }

    public ulong GetTokenInfo(CULong slot, out CkTokenInfo info)
    {
        fixed (CkTokenInfo* target = &info)
        {
            return ((delegate* unmanaged[Cdecl]<CULong, CkTokenInfo*, CULong>)_functions[6])(slot, target).Value;
        }
    }

    public ulong OpenSession(CULong slot, out CULong session)
    {
        fixed (CULong* target = &session)
        {
            return ((delegate* unmanaged[Cdecl]<CULong, CULong, void*, void*, CULong*, CULong>)_functions[12])(
                slot, new CULong(Ck.SessionSerial), null, null, target).Value;
        }
    }

    public ulong CloseSession(CULong session) =>
        ((delegate* unmanaged[Cdecl]<CULong, CULong>)_functions[13])(session).Value;

    /// <summary>Whether C_GetSessionInfo succeeds.</summary>
    public bool IsSessionOpen(CULong session)
    {
        var info = stackalloc CULong[4];
        return ((delegate* unmanaged[Cdecl]<CULong, CULong*, CULong>)_functions[15])(session, info).Value == Ckr.Ok;
    }

    /// <param name="pin">Empty with a protected authentication path, where the person enters the PIN at the
    /// token.</param>
    public ulong Login(CULong session, uint user, ReadOnlySpan<byte> pin)
    {
        fixed (byte* pinBytes = pin)
        {
            return ((delegate* unmanaged[Cdecl]<CULong, CULong, byte*, CULong, CULong>)_functions[18])(
                session, new CULong(user), pinBytes, new CULong((uint)pin.Length)).Value;
        }
    }

    public ulong DestroyObject(CULong session, CULong handle) =>
        ((delegate* unmanaged[Cdecl]<CULong, CULong, CULong>)_functions[22])(session, handle).Value;

    public ulong GetAttributes(CULong session, CULong handle, Span<CkAttribute> template)
    {
        fixed (CkAttribute* attributes = template)
        {
            return ((delegate* unmanaged[Cdecl]<CULong, CULong, CkAttribute*, CULong, CULong>)_functions[24])(
                session, handle, attributes, new CULong((uint)template.Length)).Value;
        }
    }

    public ulong FindObjectsInit(CULong session, ReadOnlySpan<CkAttribute> template)
    {
        fixed (CkAttribute* attributes = template)
        {
            return ((delegate* unmanaged[Cdecl]<CULong, CkAttribute*, CULong, CULong>)_functions[26])(
                session, attributes, new CULong((uint)template.Length)).Value;
        }
    }

    public ulong FindObjects(CULong session, Span<CULong> found, out int count)
    {
        CULong length = default;
        ulong result;
        fixed (CULong* handles = found)
        {
            result = ((delegate* unmanaged[Cdecl]<CULong, CULong*, CULong, CULong*, CULong>)_functions[27])(
                session, handles, new CULong((uint)found.Length), &length).Value;
        }

        count = (int)length.Value;
        return result;
    }

    public ulong FindObjectsFinal(CULong session) =>
        ((delegate* unmanaged[Cdecl]<CULong, CULong>)_functions[28])(session).Value;

    public ulong DecryptInit(CULong session, CkMechanism mechanism, CULong key) => Init(33, session, mechanism, key);

    public ulong Decrypt(CULong session, ReadOnlySpan<byte> input, Span<byte> output, out int written) =>
        Run(34, session, input, output, out written);

    public ulong SignInit(CULong session, CkMechanism mechanism, CULong key) => Init(42, session, mechanism, key);

    public ulong Sign(CULong session, ReadOnlySpan<byte> input, Span<byte> output, out int written) =>
        Run(43, session, input, output, out written);

    public ulong DeriveKey(
        CULong session, CkMechanism mechanism, CULong key, ReadOnlySpan<CkAttribute> template, out CULong derived)
    {
        fixed (CkAttribute* attributes = template)
        fixed (CULong* target = &derived)
        {
            return (
                (delegate* unmanaged[Cdecl]<CULong, CkMechanism*, CULong, CkAttribute*, CULong, CULong*, CULong>)
                    _functions[62]
            )(session, &mechanism, key, attributes, new CULong((uint)template.Length), target).Value;
        }
    }

    private ulong Init(int function, CULong session, CkMechanism mechanism, CULong key) =>
        ((delegate* unmanaged[Cdecl]<CULong, CkMechanism*, CULong, CULong>)_functions[function])(
            session, &mechanism, key).Value;

    private ulong Run(int function, CULong session, ReadOnlySpan<byte> input, Span<byte> output, out int written)
    {
        var length = new CULong((uint)output.Length);
        ulong result;
        fixed (byte* from = input)
        fixed (byte* to = output)
        {
            result = ((delegate* unmanaged[Cdecl]<CULong, byte*, CULong, byte*, CULong*, CULong>)_functions[function])(
                session, from, new CULong((uint)input.Length), to, &length).Value;
        }

        written = (int)Math.Min(length.Value, int.MaxValue);
        return result;
    }
}
