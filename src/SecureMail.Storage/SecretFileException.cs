namespace SecureMail.Storage;

/// <summary>Why a file with a key or a PIN cannot be used. SecureMail.Host has the words of each in two
/// languages.</summary>
public enum SecretFileFault
{
    /// <summary>The mode of the file lets a group or everyone in. Set it to 0600.</summary>
    OpenToOthers,

    /// <summary>A storage key file does not have the length of a key.</summary>
    KeyDamaged,

    /// <summary>A blob is wrapped under a storage key that is not in the key folder.</summary>
    KeyAbsent,

    /// <summary>A wrapped key was changed, or the storage key of that name is another one.</summary>
    KeyWrong,

    /// <summary>The gateway has no keys yet. Run <c>securemail init</c>.</summary>
    KeysMissing,

    /// <summary>A key file cannot be read.</summary>
    Unreadable,
}

/// <summary>A file with a key or a PIN cannot be used. Exit code 65. The message has names, never the
/// content.</summary>
public sealed class SecretFileException : Exception
{
    public SecretFileException(SecretFileFault fault, string name, string message, Exception? inner = null)
        : base(message, inner) => (Fault, Name) = (fault, name);

    public SecretFileFault Fault { get; }

    /// <summary>The path of the file, or the name of the storage key.</summary>
    public string Name { get; }
}
