using System.Diagnostics.CodeAnalysis;
using Net.Pkcs11Interop.Common;
using Net.Pkcs11Interop.LowLevelAPI80;
using Net.Pkcs11Interop.LowLevelAPI80.MechanismParams;
using NativeULong = System.UInt64;

namespace SecureMail.Pkcs11;

/// <summary>
/// <see cref="Cryptoki"/> for 64-bit Unix: CK_ULONG of 8 bytes, natural packing. The build makes Cryptoki41 of this
/// text (SecureMail.Pkcs11.csproj): CK_ULONG of 4 bytes, packed structures, which is Windows.
/// </summary>
[SuppressMessage("Design", "CA1001", Justification = "To dispose the library would unload the module, which stays.")]
internal sealed unsafe class Cryptoki80(string path) : Cryptoki
{
    private readonly Pkcs11Library _library = new(path);

    private delegate CKR MechanismCall(ref CK_MECHANISM mechanism);

    public override int NumberSize => sizeof(NativeULong);

    public override ulong Initialize() =>
        Call(() => _library.C_Initialize(new CK_C_INITIALIZE_ARGS { Flags = CKF.CKF_OS_LOCKING_OK }));

    public override void FinalizeModule() => Call(() => _library.C_Finalize(0));

    public override ulong GetSlotList(ulong[]? slots, out int count)
    {
        var list = slots is null ? null : new NativeULong[slots.Length];
        var length = (NativeULong)(slots?.Length ?? 0);
        var result = Call(() => _library.C_GetSlotList(true, list, ref length));
        count = ToCount(length);
        for (var i = 0; i < Math.Min(slots?.Length ?? 0, count); i++)
        {
            slots![i] = list![i];
        }

        return result;
    }

    public override ulong GetSlotInfo(ulong slot, out SlotInfo info)
    {
        CK_SLOT_INFO read = default;
        var result = Call(() => _library.C_GetSlotInfo((NativeULong)slot, ref read));
        info = new SlotInfo(read.SlotDescription ?? [], read.ManufacturerId ?? []);
        return result;
    }

    public override ulong GetTokenInfo(ulong slot, out TokenInfo info)
    {
        CK_TOKEN_INFO read = default;
        var result = Call(() => _library.C_GetTokenInfo((NativeULong)slot, ref read));
        info = new TokenInfo(
            read.Label ?? [], read.SerialNumber ?? [], read.Model ?? [], read.ManufacturerId ?? [], read.Flags);
        return result;
    }

    public override ulong OpenSession(ulong slot, out ulong session)
    {
        NativeULong opened = 0;
        var result = Call(() =>
            _library.C_OpenSession((NativeULong)slot, CKF.CKF_SERIAL_SESSION, 0, 0, ref opened));
        session = opened;
        return result;
    }

    public override ulong CloseSession(ulong session) => Call(() => _library.C_CloseSession((NativeULong)session));

    public override bool IsSessionOpen(ulong session)
    {
        CK_SESSION_INFO info = default;
        return Call(() => _library.C_GetSessionInfo((NativeULong)session, ref info)) == Ckr.Ok;
    }

    public override ulong Login(ulong session, CKU user, byte[] pin) =>
        // PKCS #11 2.40 §5.6.8: with a protected authentication path the PIN is a null pointer.
        Call(() =>
            _library.C_Login(
                (NativeULong)session, user, pin.Length == 0 ? null : pin, (NativeULong)pin.Length));

    public override ulong DestroyObject(ulong session, ulong handle) =>
        Call(() => _library.C_DestroyObject((NativeULong)session, (NativeULong)handle));

    public override ulong GetAttribute(ulong session, ulong handle, CKA type, byte[]? value, out ulong length)
    {
        fixed (byte* target = value)
        {
            CK_ATTRIBUTE[] template =
            [
                new()
                {
                    type = (NativeULong)type,
                    value = (nint)target,
                    valueLen = (NativeULong)(value?.Length ?? 0),
                },
            ];
            var result = Call(() =>
                _library.C_GetAttributeValue((NativeULong)session, (NativeULong)handle, template, 1));
            length = template[0].valueLen;
            return result;
        }
    }

    public override ulong FindObjectsInit(ulong session, IReadOnlyList<TemplateAttribute> template) =>
        Call(() =>
            WithTemplate(
                template,
                attributes =>
                    _library.C_FindObjectsInit(
                        (NativeULong)session, attributes, (NativeULong)attributes.Length)));

    public override ulong FindObjects(ulong session, ulong[] found, out int count)
    {
        var handles = new NativeULong[found.Length];
        NativeULong length = 0;
        var result = Call(() =>
            _library.C_FindObjects((NativeULong)session, handles, (NativeULong)handles.Length, ref length));
        count = Math.Min(ToCount(length), found.Length);
        for (var i = 0; i < count; i++)
        {
            found[i] = handles[i];
        }

        return result;
    }

    public override ulong FindObjectsFinal(ulong session) =>
        Call(() => _library.C_FindObjectsFinal((NativeULong)session));

    public override ulong DecryptInit(ulong session, Mechanism mechanism, ulong key) =>
        Call(() =>
            WithMechanism(
                mechanism,
                (ref CK_MECHANISM native) =>
                    _library.C_DecryptInit((NativeULong)session, ref native, (NativeULong)key)));

    public override ulong Decrypt(ulong session, byte[] input, byte[] output, out int written)
    {
        var length = (NativeULong)output.Length;
        var result = Call(() =>
            _library.C_Decrypt((NativeULong)session, input, (NativeULong)input.Length, output, ref length));
        written = ToCount(length);
        return result;
    }

    public override ulong SignInit(ulong session, Mechanism mechanism, ulong key) =>
        Call(() =>
            WithMechanism(
                mechanism,
                (ref CK_MECHANISM native) =>
                    _library.C_SignInit((NativeULong)session, ref native, (NativeULong)key)));

    public override ulong Sign(ulong session, byte[] input, byte[] output, out int written)
    {
        var length = (NativeULong)output.Length;
        var result = Call(() =>
            _library.C_Sign((NativeULong)session, input, (NativeULong)input.Length, output, ref length));
        written = ToCount(length);
        return result;
    }

    public override ulong DeriveKey(
        ulong session, Mechanism mechanism, ulong key, IReadOnlyList<TemplateAttribute> template, out ulong derived)
    {
        NativeULong made = 0;
        var result = Call(() =>
            WithTemplate(
                template,
                attributes =>
                    WithMechanism(
                        mechanism,
                        (ref CK_MECHANISM native) =>
                            _library.C_DeriveKey(
                                (NativeULong)session, ref native, (NativeULong)key, attributes,
                                (NativeULong)attributes.Length, ref made))));
        derived = made;
        return result;
    }

    private static int ToCount(NativeULong length) => (int)Math.Min(length, int.MaxValue);

    private static CKR WithMechanism(Mechanism mechanism, MechanismCall call)
    {
        var native = new CK_MECHANISM { Mechanism = (NativeULong)mechanism.Type };
        CK_RSA_PKCS_PSS_PARAMS pss;
        CK_RSA_PKCS_OAEP_PARAMS oaep;
        CK_ECDH1_DERIVE_PARAMS ecdh;
        var bytes = mechanism.Data;
        fixed (byte* data = bytes)
        {
            switch (mechanism)
            {
                case PssMechanism parameters:
                    pss = new CK_RSA_PKCS_PSS_PARAMS
                    {
                        HashAlg = (NativeULong)parameters.Hash,
                        Mgf = (NativeULong)parameters.Mask,
                        Len = (NativeULong)parameters.SaltSize,
                    };
                    native.Parameter = (nint)(&pss);
                    native.ParameterLen = (NativeULong)sizeof(CK_RSA_PKCS_PSS_PARAMS);
                    break;
                case OaepMechanism parameters:
                    oaep = new CK_RSA_PKCS_OAEP_PARAMS
                    {
                        HashAlg = (NativeULong)parameters.Hash,
                        Mgf = (NativeULong)parameters.Mask,
                        Source = CKZ.CKZ_DATA_SPECIFIED,
                        SourceData = (nint)data,
                        SourceDataLen = (NativeULong)bytes.Length,
                    };
                    native.Parameter = (nint)(&oaep);
                    native.ParameterLen = (NativeULong)sizeof(CK_RSA_PKCS_OAEP_PARAMS);
                    break;
                case EcdhMechanism:
                    ecdh = new CK_ECDH1_DERIVE_PARAMS
                    {
                        Kdf = (NativeULong)CKD.CKD_NULL,
                        PublicDataLen = (NativeULong)bytes.Length,
                        PublicData = (nint)data,
                    };
                    native.Parameter = (nint)(&ecdh);
                    native.ParameterLen = (NativeULong)sizeof(CK_ECDH1_DERIVE_PARAMS);
                    break;
            }

            return call(ref native);
        }
    }

    private static CKR WithTemplate(IReadOnlyList<TemplateAttribute> template, Func<CK_ATTRIBUTE[], CKR> call)
    {
        var attributes = new CK_ATTRIBUTE[template.Count];
        try
        {
            for (var i = 0; i < attributes.Length; i++)
            {
                attributes[i] = template[i].Value switch
                {
                    byte[] bytes => CkaUtils.CreateAttribute(template[i].Type, bytes),
                    bool flag => CkaUtils.CreateAttribute(template[i].Type, flag),
                    ulong number => CkaUtils.CreateAttribute(template[i].Type, (NativeULong)number),
                    _ => throw new ArgumentException("an attribute is bytes, a bool or a number", nameof(template)),
                };
            }

            return call(attributes);
        }
        finally
        {
            foreach (ref var attribute in attributes.AsSpan())
            {
                UnmanagedMemory.Free(ref attribute.value);
            }
        }
    }
}
