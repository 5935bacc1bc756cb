namespace SecureMail.Host;

/// <summary>What the command line answers its caller (sysexits.h where there is a fitting one).</summary>
internal static class ExitCode
{
    public const int Done = 0;

    /// <summary>Validated, and not valid.</summary>
    public const int Wanting = 1;

    /// <summary>No result yet; a later validation or more input may give one.</summary>
    public const int Undecided = 2;

    public const int Usage = 64;

    /// <summary>Unreadable data.</summary>
    public const int Data = 65;

    /// <summary>Input that cannot be opened.</summary>
    public const int NoInput = 66;

    /// <summary>A needed service is missing: database, token, server.</summary>
    public const int Unavailable = 69;

    /// <summary>Our own fault.</summary>
    public const int Software = 70;

    public const int TryLater = 75;

    public const int NotPermitted = 77;

    /// <summary>For several files: the first of these that is present.</summary>
    private static readonly int[] Order =
    [
        Software,
        Unavailable,
        NotPermitted,
        NoInput,
        Data,
        Wanting,
        Undecided,
        Done,
    ];

    public static int Of(IEnumerable<int> codes)
    {
        var present = codes.ToHashSet();
        return Order.FirstOrDefault(present.Contains);
    }
}
