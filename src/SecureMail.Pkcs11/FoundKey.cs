using Net.Pkcs11Interop.Common;

namespace SecureMail.Pkcs11;

/// <summary>A private key as a search found it, with what its attributes tell.</summary>
/// <param name="Handle">Valid in <paramref name="Generation"/>.</param>
/// <param name="Generation"><see cref="TokenSessions.Generation"/> of the handle.</param>
/// <param name="Kind">CKA_KEY_TYPE; null when the token does not tell it.</param>
/// <param name="Template">The class, type, CKA_LABEL and CKA_ID of the key, to find it again.</param>
/// <param name="Own">The public key in its attributes; null when it is not in them. An RSA key may lack the
/// exponent.</param>
/// <param name="Beside">The public keys of the objects that share its CKA_ID or label.</param>
/// <param name="Curve">The curve of an elliptic-curve key; null when the token does not tell it.</param>
/// <param name="AlwaysAuthenticate">CKA_ALWAYS_AUTHENTICATE.</param>
/// <param name="Signs">CKA_SIGN is not false.</param>
/// <param name="Decrypts">One of CKA_DECRYPT, CKA_UNWRAP and CKA_DERIVE is not false.</param>
internal sealed record FoundKey(
    ulong Handle, int Generation, CKK? Kind, ObjectTemplate Template, PublicKeyValue? Own,
    IReadOnlyList<PublicKeyValue> Beside, string? Curve, bool AlwaysAuthenticate, bool Signs, bool Decrypts)
{
    public bool MayBeUsedFor(Pkcs11KeyUse use) => use == Pkcs11KeyUse.Signing ? Signs : Decrypts;

    /// <summary>Whether a public key is that of this key: true and false where an attribute of the key proves it, null
    /// where none does.</summary>
    public bool? IsProvenKeyOf(PublicKeyValue publicKey)
    {
        if (publicKey.Kind != Kind)
        {
            return false;
        }

        if (Own is not null)
        {
            return Own.IsSameAs(publicKey);
        }

        return Kind == CKK.CKK_EC && Curve is { } curve && publicKey.Ec.Curve.Oid?.Value is { } other && other != curve
            ? false
            : null;
    }

    public static FoundKey Read(Cryptoki functions, ulong session, ulong handle, int generation)
    {
        var kind = TokenObjects.ReadKeyType(functions, session, handle);
        var known = kind is CKK.CKK_RSA or CKK.CKK_EC ? kind : null;
        var own = known is { } readable ? PublicKeys.ReadOwn(functions, session, handle, readable) : null;
        return new FoundKey(
            handle,
            generation,
            kind,
            new ObjectTemplate(
                CKO.CKO_PRIVATE_KEY, kind, Bytes(CKA.CKA_LABEL), Bytes(CKA.CKA_ID)),
            own,
            known is { } other && own is not { Kind: CKK.CKK_EC } && own?.Rsa.Exponent is null
                ? PublicKeys.ReadBeside(functions, session, handle, other)
                : [],
            kind == CKK.CKK_EC ? PublicKeys.ReadCurve(functions, session, handle) : null,
            TokenObjects.Read(functions, session, handle, CKA.CKA_ALWAYS_AUTHENTICATE) is [not 0],
            IsNotFalse(CKA.CKA_SIGN),
            IsNotFalse(CKA.CKA_DECRYPT) || IsNotFalse(CKA.CKA_UNWRAP) || IsNotFalse(CKA.CKA_DERIVE));

        byte[]? Bytes(CKA attribute) =>
            TokenObjects.Read(functions, session, handle, attribute) is { Length: > 0 } value ? value : null;

        bool IsNotFalse(CKA attribute) => TokenObjects.Read(functions, session, handle, attribute) is not [0];
    }
}
