using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;

namespace SecureMail.Pkcs11;

/// <summary>The template of a search: the object class, and where given the key type, CKA_LABEL and CKA_ID.</summary>
internal sealed record ObjectTemplate(uint Class, uint? KeyType, byte[]? Label, byte[]? Id)
{
    public static ObjectTemplate Create(
        uint objectClass,
        string? label,
        ReadOnlyMemory<byte>? id,
        uint? keyType = null
    ) => new(objectClass, keyType, label is null ? null : Encoding.UTF8.GetBytes(label), id?.ToArray());
}

/// <summary>A private key on a token. The handle is kept while it is valid, because a search costs as much as a fast
/// signature.</summary>
/// <param name="template">Finds the key again when sessions were lost.</param>
/// <param name="publicKey">The public key in the attributes of the key; tells keys apart that the template finds
/// together. Null when the token does not tell it.</param>
internal sealed class TokenKey(Pkcs11Token token, ObjectTemplate template, PublicKeyValue? publicKey)
{
    private sealed record Resolved(int Generation, CULong Handle, bool AlwaysAuthenticate);

    private volatile Resolved? _resolved;

    public ObjectTemplate Template => template;

    public PublicKeyValue? PublicKey => publicKey;

    public static CryptographicException NotExportable() => new("A private key does not leave its token.");

    public static CryptographicException NotReplaceable() => new("A key on a token cannot be replaced.");

    /// <inheritdoc cref="Pkcs11Token.Execute"/>
    public byte[] Execute(
        Func<Cryptoki, CULong, CULong, ulong> start, string startName,
        Func<Cryptoki, CULong, byte[]> finish) => token.Execute(this, start, startName, finish);

    /// <summary>Keeps the handle that was found when the key was chosen.</summary>
    public void Keep(int generation, CULong handle, bool alwaysAuthenticate) =>
        _resolved = new Resolved(generation, handle, alwaysAuthenticate);

    /// <summary>The handle and CKA_ALWAYS_AUTHENTICATE of the key.</summary>
    /// <param name="generation">The current generation of handles, <see cref="TokenSessions.Generation"/>.</param>
    /// <param name="locate">Searches the token; called when the kept handle is of another generation.</param>
    public (CULong Handle, bool AlwaysAuthenticate) Resolve(
        int generation, Func<(CULong Handle, bool AlwaysAuthenticate)> locate)
    {
        if (_resolved is not { } resolved || resolved.Generation != generation)
        {
            var (handle, alwaysAuthenticate) = locate();
            _resolved = resolved = new Resolved(generation, handle, alwaysAuthenticate);
        }
        return (resolved.Handle, resolved.AlwaysAuthenticate);
    }
}

/// <summary>Finds objects and reads their attributes, in a session that the caller holds.</summary>
internal static class TokenObjects
{
    /// <summary>A search ends after this number of objects.</summary>
    private const int MaxFound = 1024;

    private const int MaxAttributeSize = 64 * 1024;

    public static unsafe List<CULong> Find(Cryptoki functions, CULong session, ObjectTemplate template)
    {
        var objectClass = new CULong(template.Class);
        var keyType = new CULong(template.KeyType ?? 0);
        var found = new List<CULong>();
        fixed (
            byte* label = template.Label,
                id = template.Id)
        {
            var attributes = new CkAttribute[4];
            var count = 0;
            void Add(uint type, void* value, int length) =>
                attributes[count++] = new CkAttribute
                {
                    Type = new CULong(type),
                    Value = value,
                    Length = new CULong((uint)length),
                };
            Add(Ck.AttributeClass, &objectClass, sizeof(CULong));
            if (template.KeyType is not null)
            {
                Add(Ck.AttributeKeyType, &keyType, sizeof(CULong));
            }

            if (template.Label is not null)
            {
                Add(Ck.AttributeLabel, label, template.Label.Length);
            }

            if (template.Id is not null)
            {
                Add(Ck.AttributeId, id, template.Id.Length);
            }

            Cryptoki.Check(functions.FindObjectsInit(session, attributes.AsSpan(0, count)), "C_FindObjectsInit");
            var batch = new CULong[64];
            int read;
            do
            {
                Cryptoki.Check(functions.FindObjects(session, batch, out read), "C_FindObjects");
                found.AddRange(batch.AsSpan(0, read));
            } while (read > 0 && found.Count < MaxFound);
            Cryptoki.Check(functions.FindObjectsFinal(session), "C_FindObjectsFinal");
        }
        return found;
    }

    /// <summary>Reads the value of an attribute. Returns null when the object has no such attribute, when the attribute
    /// is sensitive, and when the value is over 64 KiB.</summary>
    public static unsafe byte[]? Read(Cryptoki functions, CULong session, CULong handle, uint type)
    {
        var attributes = new CkAttribute[] { new() { Type = new CULong(type) } };
        var result = functions.GetAttributes(session, handle, attributes);
        // PKCS #11 2.40 §5.7.5: a length of all ones (CK_UNAVAILABLE_INFORMATION) means that there is no value.
        if (result is Ckr.AttributeTypeInvalid or Ckr.AttributeSensitive)
        {
            return null;
        }

        Cryptoki.Check(result, "C_GetAttributeValue");
        var length = attributes[0].Length.Value;
        if (length > MaxAttributeSize)
        {
            return null;
        }

        var value = new byte[length];
        fixed (byte* target = value)
        {
            attributes[0].Value = target;
            Cryptoki.Check(functions.GetAttributes(session, handle, attributes), "C_GetAttributeValue");
        }
        return value;
    }

    /// <summary>Reads an attribute that is a CK_ULONG. Returns <see cref="uint.MaxValue"/> when there is
    /// none.</summary>
    public static uint ReadNumber(Cryptoki functions, CULong session, CULong handle, uint type) =>
        Read(functions, session, handle, type) is { } value && value.Length == Marshal.SizeOf<CULong>()
            ? (uint)MemoryMarshal.Read<CULong>(value).Value
            : uint.MaxValue;

    /// <summary>Reads the certificates that match the template.</summary>
    public static List<X509Certificate2> ReadCertificates(Cryptoki functions, CULong session, ObjectTemplate template)
    {
        var certificates = new List<X509Certificate2>();
        foreach (var handle in Find(functions, session, template))
        {
            if (Read(functions, session, handle, Ck.AttributeValue) is not { Length: > 0 } der)
            {
                continue;
            }

            try
            {
                certificates.Add(X509CertificateLoader.LoadCertificate(der));
            }
            catch (CryptographicException)
            {
                // Skip an unreadable object, because the others may be good.
            }
        }
        return certificates;
    }
}
