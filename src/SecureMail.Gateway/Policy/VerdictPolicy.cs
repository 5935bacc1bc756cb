using SecureMail.Trust;

namespace SecureMail.Gateway.Policy;

/// <summary>What the office does with a verdict.</summary>
public enum VerdictOutcome
{
    /// <summary>The acceptance policy goes on to ask who sent the message and for whom it is.</summary>
    Accept,

    /// <summary>A person decides.</summary>
    Quarantine,

    /// <summary>The message waits, because more input or time may change the verdict.</summary>
    Wait,
}

/// <summary>
/// What follows from a verdict. The verdict says what the signature is worth; this table says what the office does with
/// the message.
/// </summary>
/// <remarks>
/// <list type="table">
/// <item><term>valid</term><description>accept</description></item>
/// <item><term>indeterminate</term><description>wait until the deadline, then quarantine</description></item>
/// <item><term>wrong-sender, partial, untrusted, invalid, unsigned, unreadable</term><description>quarantine: a person
/// decides, and no receipt is sent, because the sender is not proven</description></item>
/// </list>
/// Whatever its verdict, a dispatch of an authenticated sender that is not addressed to the agency is returned.
/// </remarks>
internal static class VerdictPolicy
{
    /// <summary>Which table this is. Findings name it in their basis; it rises when a row changes.</summary>
    public const int Version = 1;

    public static VerdictOutcome Of(Verdict verdict, bool deadlinePassed) =>
        verdict switch
        {
            Verdict.Valid => VerdictOutcome.Accept,
            Verdict.Indeterminate => deadlinePassed ? VerdictOutcome.Quarantine : VerdictOutcome.Wait,
            _ => VerdictOutcome.Quarantine,
        };
}
