using System.Text.Json.Serialization;

namespace SecureMail.Trust;

/// <summary>The verdict on a whole file. The names in JSON are those of CLI.md.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<Verdict>))]
public enum Verdict
{
    /// <summary>Everything a reader sees is signed by a trusted signer, and for mail by its sender.</summary>
    [JsonStringEnumMemberName("valid")]
    Valid,

    /// <summary>The signature passed, but the signer is not the sender.</summary>
    [JsonStringEnumMemberName("wrong-sender")]
    WrongSender,

    /// <summary>The signatures passed, but do not cover everything a reader sees.</summary>
    [JsonStringEnumMemberName("partial")]
    Partial,

    /// <summary>No result yet; a later validation or more input may give one.</summary>
    [JsonStringEnumMemberName("indeterminate")]
    Indeterminate,

    /// <summary>A signature cannot be trusted, and a later validation cannot change that.</summary>
    [JsonStringEnumMemberName("untrusted")]
    Untrusted,

    /// <summary>A signature failed, or a change was made that it forbids.</summary>
    [JsonStringEnumMemberName("invalid")]
    Invalid,

    /// <summary>There is no signature.</summary>
    [JsonStringEnumMemberName("unsigned")]
    Unsigned,

    /// <summary>The file cannot be validated, because it cannot be read.</summary>
    [JsonStringEnumMemberName("unreadable")]
    Unreadable,
}

/// <summary>How far a file could be read.</summary>
public enum FileState
{
    /// <summary>The file was read to its end.</summary>
    Read,

    /// <summary>The file is not of a kind that can be validated, or it is damaged.</summary>
    Unreadable,

    /// <summary>The file is encrypted and no available key opens it; the signatures are inside.</summary>
    Locked,
}

/// <summary>Derives the verdict from findings, and the sentence and exit code from a verdict.</summary>
public static class Verdicts
{
    /// <summary>
    /// The verdict is the first row that fits (CLI.md, verify):
    /// <list type="table">
    /// <item><term>unreadable</term><description>not a file that can be validated</description></item>
    /// <item><term>unsigned</term><description>no signature, or none with a signer</description></item>
    /// <item><term>invalid</term><description>any signature TOTAL-FAILED (digest, signature value, format), or a
    /// forbidden change</description></item>
    /// <item><term>untrusted</term><description>INDETERMINATE that a later validation cannot change: no path to an
    /// anchor, path broken, revoked or expired without earlier proof, weak algorithm, time in the
    /// future</description></item>
    /// <item><term>indeterminate</term><description>INDETERMINATE that a later validation or more input may change:
    /// revocation not reachable, no key to decrypt, content missing</description></item>
    /// <item><term>partial</term><description>every signature TOTAL-PASSED, but a reader sees something that is not
    /// signed</description></item>
    /// <item><term>wrong-sender</term><description>TOTAL-PASSED and whole, but From is not the signer, is absent, or is
    /// more than one</description></item>
    /// <item><term>valid</term><description>none of the above</description></item>
    /// </list>
    /// With several signatures all must pass. It is enough that one of them covers the whole, and that the signer of
    /// one that covers the whole is the sender. A locked file has no findings yet and is indeterminate.
    /// </summary>
    public static Verdict Of(FileState state, IReadOnlyList<SignatureFinding> findings)
    {
        if (state == FileState.Unreadable)
        {
            return Verdict.Unreadable;
        }

        if (findings.Count == 0)
        {
            return state == FileState.Locked ? Verdict.Indeterminate : Verdict.Unsigned;
        }

        if (
            findings.Any(f =>
                f.Indication == Indication.TotalFailed || f.ChangesAfterSigning == ChangesAfterSigning.Forbidden))
        {
            return Verdict.Invalid;
        }

        if (findings.Any(f => f.Indication == Indication.Indeterminate && !MayBeCured(f)))
        {
            return Verdict.Untrusted;
        }

        if (state == FileState.Locked || findings.Any(f => f.Indication == Indication.Indeterminate))
        {
            return Verdict.Indeterminate;
        }

        List<SignatureFinding> whole = [.. findings.Where(f => f.CoversWhole)];
        if (whole.Count == 0)
        {
            return Verdict.Partial;
        }

        return whole.All(f => f.SignerIsSender == false) ? Verdict.WrongSender : Verdict.Valid;
    }

    /// <summary>Whether a later validation or more input may turn the finding into a pass.</summary>
    public static bool MayBeCured(SignatureFinding finding) =>
        finding.SubIndication is SubIndication.TryLater or SubIndication.SignedDataNotFound;

    /// <summary>
    /// The exit code of a command that validated one file: 0, 1, 2 or 65. The caller returns 66 when it cannot open the
    /// file.
    /// </summary>
    public static int ExitCodeOf(Verdict verdict) =>
        verdict switch
        {
            Verdict.Valid => 0,
            Verdict.Indeterminate => 2,
            Verdict.Unreadable => 65,
            _ => 1,
        };

    /// <summary>The reason for the whole file: that of the finding that decided, or the verdict's own.</summary>
    public static Reason SummaryOf(Verdict verdict, IReadOnlyList<SignatureFinding> findings) =>
        verdict switch
        {
            Verdict.Invalid when findings.FirstOrDefault(f => f.Indication == Indication.TotalFailed) is { } failed =>
                failed.Reason,
            Verdict.Untrusted
                when findings.FirstOrDefault(f => f.Indication == Indication.Indeterminate && !MayBeCured(f))
                    is { } untrusted => untrusted.Reason,
            Verdict.Indeterminate
                when findings.FirstOrDefault(f => f.Indication == Indication.Indeterminate) is { } open => open.Reason,
            Verdict.Valid when findings.Count > 0 => findings[0].Reason,
            Verdict.Invalid => Reasons.ForbiddenChange,
            Verdict.Indeterminate => Reasons.NoKey,
            Verdict.Unsigned => Reasons.Unsigned,
            Verdict.Partial => Reasons.Partial,
            Verdict.WrongSender => Reasons.WrongSender,
            Verdict.Untrusted => Reasons.Untrusted,
            Verdict.Unreadable => Reasons.Unreadable,
            _ => Reasons.Valid,
        };
}
