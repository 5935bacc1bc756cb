using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Net.Pkcs11Interop.Common;

namespace SecureMail.Pkcs11;

/// <summary>The template of a search: the object class, and where given the key type, CKA_LABEL and CKA_ID.</summary>
internal sealed record ObjectTemplate(CKO Class, CKK? KeyType, byte[]? Label, byte[]? Id)
{
    public static ObjectTemplate Create(
        CKO objectClass,
        string? label,
        ReadOnlyMemory<byte>? id,
        CKK? keyType = null
    ) => new(objectClass, keyType, label is null ? null : Encoding.UTF8.GetBytes(label), id?.ToArray());
}

/// <summary>A private key on a token. The handle is kept while it is valid, because a search costs as much as a fast
/// signature.</summary>
/// <param name="template">Finds the key again when sessions were lost.</param>
/// <param name="publicKey">The public key in the attributes of the key; tells keys apart that the template finds
/// together. Null when the token does not tell it.</param>
internal sealed class TokenKey(Pkcs11Token token, ObjectTemplate template, PublicKeyValue? publicKey)
{
    private sealed record Resolved(int Generation, ulong Handle, bool AlwaysAuthenticate);

    private volatile Resolved? _resolved;

    public ObjectTemplate Template => template;

    public PublicKeyValue? PublicKey => publicKey;

    public static CryptographicException NotExportable() => new("A private key does not leave its token.");

    public static CryptographicException NotReplaceable() => new("A key on a token cannot be replaced.");

    /// <inheritdoc cref="Pkcs11Token.Execute"/>
    public byte[] Execute(
        Func<Cryptoki, ulong, ulong, ulong> start, string startName,
        Func<Cryptoki, ulong, byte[]> finish) => token.Execute(this, start, startName, finish);

    /// <summary>Keeps the handle that was found when the key was chosen.</summary>
    public void Keep(int generation, ulong handle, bool alwaysAuthenticate) =>
        _resolved = new Resolved(generation, handle, alwaysAuthenticate);

    /// <summary>The handle and CKA_ALWAYS_AUTHENTICATE of the key.</summary>
    /// <param name="generation">The current generation of handles, <see cref="TokenSessions.Generation"/>.</param>
    /// <param name="locate">Searches the token; called when the kept handle is of another generation.</param>
    public (ulong Handle, bool AlwaysAuthenticate) Resolve(
        int generation, Func<(ulong Handle, bool AlwaysAuthenticate)> locate)
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

    public static List<ulong> Find(Cryptoki functions, ulong session, ObjectTemplate template)
    {
        List<TemplateAttribute> attributes = [new(CKA.CKA_CLASS, (ulong)template.Class)];
        if (template.KeyType is { } keyType)
        {
            attributes.Add(new(CKA.CKA_KEY_TYPE, (ulong)keyType));
        }

        if (template.Label is { } label)
        {
            attributes.Add(new(CKA.CKA_LABEL, label));
        }

        if (template.Id is { } id)
        {
            attributes.Add(new(CKA.CKA_ID, id));
        }

        Cryptoki.Check(functions.FindObjectsInit(session, attributes), "C_FindObjectsInit");
        var found = new List<ulong>();
        var batch = new ulong[64];
        int read;
        do
        {
            Cryptoki.Check(functions.FindObjects(session, batch, out read), "C_FindObjects");
            found.AddRange(batch.AsSpan(0, read));
        } while (read > 0 && found.Count < MaxFound);
        Cryptoki.Check(functions.FindObjectsFinal(session), "C_FindObjectsFinal");
        return found;
    }

    /// <summary>Reads the value of an attribute. Returns null when the object has no such attribute, when the attribute
    /// is sensitive, and when the value is over 64 KiB.</summary>
    public static byte[]? Read(Cryptoki functions, ulong session, ulong handle, CKA type)
    {
        var result = functions.GetAttribute(session, handle, type, null, out var length);
        // PKCS #11 2.40 §5.7.5: a length of all ones (CK_UNAVAILABLE_INFORMATION) means that there is no value.
        if (result is Ckr.AttributeTypeInvalid or Ckr.AttributeSensitive)
        {
            return null;
        }

        Cryptoki.Check(result, "C_GetAttributeValue");
        if (length > MaxAttributeSize)
        {
            return null;
        }

        var value = new byte[length];
        Cryptoki.Check(functions.GetAttribute(session, handle, type, value, out _), "C_GetAttributeValue");
        return value;
    }

    /// <summary>Reads CKA_KEY_TYPE, a CK_ULONG. Returns null when there is none.</summary>
    public static CKK? ReadKeyType(Cryptoki functions, ulong session, ulong handle) =>
        Read(functions, session, handle, CKA.CKA_KEY_TYPE) is { } value && value.Length == functions.NumberSize
            ? (CKK)MemoryMarshal.Read<uint>(BitConverter.IsLittleEndian ? value : value.AsSpan(^4..))
            : null;

    /// <summary>Reads the certificates that match the template.</summary>
    public static List<X509Certificate2> ReadCertificates(Cryptoki functions, ulong session, ObjectTemplate template)
    {
        var certificates = new List<X509Certificate2>();
        foreach (var handle in Find(functions, session, template))
        {
            if (Read(functions, session, handle, CKA.CKA_VALUE) is not { Length: > 0 } der)
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
