using System.Runtime.InteropServices;

namespace SecureMail.Pkcs11;

/// <summary>A private key as a search found it, with what its attributes tell.</summary>
/// <param name="Handle">Valid in <paramref name="Generation"/>.</param>
/// <param name="Generation"><see cref="TokenSessions.Generation"/> of the handle.</param>
/// <param name="Kind">CKA_KEY_TYPE.</param>
/// <param name="Template">The class, type, CKA_LABEL and CKA_ID of the key, to find it again.</param>
/// <param name="Own">The public key in its attributes; null when it is not in them. An RSA key may lack the
/// exponent.</param>
/// <param name="Beside">The public keys of the objects that share its CKA_ID or label.</param>
/// <param name="Curve">The curve of an elliptic-curve key; null when the token does not tell it.</param>
/// <param name="AlwaysAuthenticate">CKA_ALWAYS_AUTHENTICATE.</param>
/// <param name="Signs">CKA_SIGN is not false.</param>
/// <param name="Decrypts">One of CKA_DECRYPT, CKA_UNWRAP and CKA_DERIVE is not false.</param>
internal sealed record FoundKey(
    CULong Handle, int Generation, uint Kind, ObjectTemplate Template, PublicKeyValue? Own,
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

        return Kind == Ck.KeyEc && Curve is { } curve && publicKey.Ec.Curve.Oid?.Value is { } other && other != curve
            ? false
            : null;
    }

    public static FoundKey Read(Cryptoki functions, CULong session, CULong handle, int generation)
    {
        var kind = TokenObjects.ReadNumber(functions, session, handle, Ck.AttributeKeyType);
        var known = kind is Ck.KeyRsa or Ck.KeyEc;
        var own = known ? PublicKeys.ReadOwn(functions, session, handle, kind) : null;
        return new FoundKey(
            handle,
            generation,
            kind,
            new ObjectTemplate(
                Ck.ObjectPrivateKey, kind == uint.MaxValue ? null : kind, Bytes(Ck.AttributeLabel),
                Bytes(Ck.AttributeId)),
            own,
            known && own is not { Kind: Ck.KeyEc } && own?.Rsa.Exponent is null
                ? PublicKeys.ReadBeside(functions, session, handle, kind)
                : [],
            kind == Ck.KeyEc ? PublicKeys.ReadCurve(functions, session, handle) : null,
            TokenObjects.Read(functions, session, handle, Ck.AttributeAlwaysAuthenticate) is [not 0],
            IsNotFalse(Ck.AttributeSign),
            IsNotFalse(Ck.AttributeDecrypt) || IsNotFalse(Ck.AttributeUnwrap) || IsNotFalse(Ck.AttributeDerive));

        byte[]? Bytes(uint attribute) =>
            TokenObjects.Read(functions, session, handle, attribute) is { Length: > 0 } value ? value : null;

        bool IsNotFalse(uint attribute) => TokenObjects.Read(functions, session, handle, attribute) is not [0];
    }
}
