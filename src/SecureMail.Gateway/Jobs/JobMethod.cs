namespace SecureMail.Gateway.Jobs;

/// <summary>The method of the class of jobs that does one kind: <c>base-backup</c> is done by
/// <c>BaseBackup</c>.</summary>
internal static class JobMethod
{
    /// <summary>Releases one dispatch to be signed. Its guard is the row of <c>gateway.work</c>.</summary>
    public const string SignDispatch = nameof(SignDispatch);

    /// <param name="kind">One of <see cref="Vocabulary.JobKind"/>.</param>
    public static string Of(string kind) =>
        string.Concat(kind.Split('-').Select(w => char.ToUpperInvariant(w[0]) + w[1..]));
}
