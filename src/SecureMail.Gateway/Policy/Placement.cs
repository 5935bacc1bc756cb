using SecureMail.Trust;

namespace SecureMail.Gateway.Policy;

/// <summary>Where a judged message goes.</summary>
public enum Place
{
    Inbox,
    Quarantine,
    Returned,

    /// <summary>It waits: more input or time may cure it.</summary>
    Wait,
}

/// <summary>
/// What becomes of a verdict. Judged is not accepted: the verdict says what the signature is worth, this table what the
/// office does with it.
/// </summary>
/// <remarks>
/// <list type="table">
/// <item><term>valid</term><description>inbox</description></item>
/// <item><term>indeterminate</term><description>waits until the deadline, then quarantine</description></item>
/// <item><term>wrong-sender, partial, untrusted, invalid, unsigned, unreadable</term><description>quarantine: a person
/// decides, nothing is answered to somebody unproven</description></item>
/// </list>
/// Whatever its verdict, a dispatch of an authenticated sender that is not addressed to the agency is returned.
/// </remarks>
internal static class Placement
{
    public static Place Of(Verdict verdict, bool deadlinePassed) =>
        verdict switch
        {
            Verdict.Valid => Place.Inbox,
            Verdict.Indeterminate => deadlinePassed ? Place.Quarantine : Place.Wait,
            _ => Place.Quarantine,
        };
}
