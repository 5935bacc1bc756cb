namespace SecureMail.Tests.Fuzzing;

/// <summary>Every fuzz target. docs/fuzzing.md says what is no target, and why.</summary>
internal static class FuzzTargets
{
    /// <summary>The file in the folder of a corpus that says of each other file whether it is accepted.</summary>
    public const string Outcomes = "expect.txt";

    public static IReadOnlyList<FuzzTarget> All { get; } =
    [
        CmsTargets.SignedData, CmsTargets.EnvelopedData, CmsTargets.Kind, CmsTargets.Join, CmsTargets.Prepared,
        CmsTargets.Capabilities, CmsTargets.Name,
        TrustTargets.Certificate, TrustTargets.Path, TrustTargets.Crl, TrustTargets.TrustFile,
        MailTargets.Mime, MailTargets.Header, MailTargets.Report,
        SmtpTargets.Command, SmtpTargets.Data, SmtpTargets.Session, SmtpTargets.Client,
        SmimeTargets.Message, SmimeTargets.MessageHeaders, SmimeTargets.File, SmimeTargets.FileKind, SmimeTargets.Pdf,
        LedgerTargets.Entry, LedgerTargets.Evidence, LedgerTargets.Checkpoint, LedgerTargets.Cosignature,
        LedgerTargets.VerifierKey, LedgerTargets.Seen,
        ExchangeTargets.Manifest, ExchangeTargets.Receipt, ExchangeTargets.Directory, ExchangeTargets.EvidenceField,
        ExchangeTargets.Number,
        GatewayTargets.Held, GatewayTargets.Resend,
        BackupTargets.File, BackupTargets.Manifest,
        WebTargets.DispatchRequest,
        HostTargets.Configuration, HostTargets.KeyFile, HostTargets.Pkcs11Uri, HostTargets.Secret,
    ];

    public static FuzzTarget Find(string name) => All.Single(t => t.Name == name);
}

/// <summary>Work over memory, which never waits.</summary>
internal static class Completed
{
    /// <summary>The result, without a wait: work that did not end at once is a fault of the target.</summary>
    public static T Result<T>(Task<T> task)
    {
        task.IsCompleted.ShouldBeTrue("work over memory waits for something");
        return task.GetAwaiter().GetResult();
    }

    public static void Wait(Task task)
    {
        task.IsCompleted.ShouldBeTrue("work over memory waits for something");
        task.GetAwaiter().GetResult();
    }

    public static byte[] Bytes(Stream stream)
    {
        using (stream)
        {
            using var all = new MemoryStream();
            stream.CopyTo(all);
            return all.ToArray();
        }
    }
}
