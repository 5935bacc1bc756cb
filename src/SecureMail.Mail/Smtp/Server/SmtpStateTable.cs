using System.Collections.Frozen;
using SecureMail.Mail.Smtp.Messages;

namespace SecureMail.Mail.Smtp.Server;

internal enum SmtpState
{
    /// <summary>Before EHLO, and again after STARTTLS (RFC 3207 §4.2).</summary>
    Connected,

    Greeted,

    /// <summary>MAIL was accepted.</summary>
    Sender,

    /// <summary>At least one RCPT was accepted.</summary>
    Recipients,
}

/// <summary>
/// Which command is legal in which state, and the next state if the command succeeds (RFC 5321 §4.1.4). A command that
/// is not in the table is answered 503. The second table lists the commands that are refused before TLS where TLS is
/// required (RFC 3207 §4).
/// </summary>
internal static class SmtpStateTable
{
    private static readonly FrozenDictionary<(SmtpState, SmtpVerb), SmtpState> Next = new Dictionary<
        (SmtpState, SmtpVerb),
        SmtpState
    >
    {
        [(SmtpState.Connected, SmtpVerb.Helo)] = SmtpState.Greeted,
        [(SmtpState.Connected, SmtpVerb.Ehlo)] = SmtpState.Greeted,
        [(SmtpState.Connected, SmtpVerb.Rset)] = SmtpState.Connected,
        [(SmtpState.Connected, SmtpVerb.Noop)] = SmtpState.Connected,
        [(SmtpState.Connected, SmtpVerb.Vrfy)] = SmtpState.Connected,
        [(SmtpState.Connected, SmtpVerb.Quit)] = SmtpState.Connected,

        [(SmtpState.Greeted, SmtpVerb.Helo)] = SmtpState.Greeted,
        [(SmtpState.Greeted, SmtpVerb.Ehlo)] = SmtpState.Greeted,
        [(SmtpState.Greeted, SmtpVerb.StartTls)] = SmtpState.Connected,
        [(SmtpState.Greeted, SmtpVerb.Mail)] = SmtpState.Sender,
        [(SmtpState.Greeted, SmtpVerb.Rset)] = SmtpState.Greeted,
        [(SmtpState.Greeted, SmtpVerb.Noop)] = SmtpState.Greeted,
        [(SmtpState.Greeted, SmtpVerb.Vrfy)] = SmtpState.Greeted,
        [(SmtpState.Greeted, SmtpVerb.Quit)] = SmtpState.Greeted,

        // §4.1.4: EHLO in a transaction clears it like RSET.
        [(SmtpState.Sender, SmtpVerb.Helo)] = SmtpState.Greeted,
        [(SmtpState.Sender, SmtpVerb.Ehlo)] = SmtpState.Greeted,
        [(SmtpState.Sender, SmtpVerb.Rcpt)] = SmtpState.Recipients,
        [(SmtpState.Sender, SmtpVerb.Rset)] = SmtpState.Greeted,
        [(SmtpState.Sender, SmtpVerb.Noop)] = SmtpState.Sender,
        [(SmtpState.Sender, SmtpVerb.Vrfy)] = SmtpState.Sender,
        [(SmtpState.Sender, SmtpVerb.Quit)] = SmtpState.Greeted,

        [(SmtpState.Recipients, SmtpVerb.Helo)] = SmtpState.Greeted,
        [(SmtpState.Recipients, SmtpVerb.Ehlo)] = SmtpState.Greeted,
        [(SmtpState.Recipients, SmtpVerb.Rcpt)] = SmtpState.Recipients,
        [(SmtpState.Recipients, SmtpVerb.Data)] = SmtpState.Greeted,
        [(SmtpState.Recipients, SmtpVerb.Rset)] = SmtpState.Greeted,
        [(SmtpState.Recipients, SmtpVerb.Noop)] = SmtpState.Recipients,
        [(SmtpState.Recipients, SmtpVerb.Vrfy)] = SmtpState.Recipients,
        [(SmtpState.Recipients, SmtpVerb.Quit)] = SmtpState.Greeted,
    }.ToFrozenDictionary();

    private static readonly FrozenSet<SmtpVerb> RefusedBeforeTls = new[]
    {
        SmtpVerb.Mail,
        SmtpVerb.Rcpt,
        SmtpVerb.Data,
        SmtpVerb.Vrfy,
    }.ToFrozenSet();

    public static bool TryNext(SmtpState state, SmtpVerb verb, out SmtpState next) =>
        Next.TryGetValue((state, verb), out next);

    public static bool NeedsTls(SmtpVerb verb) => RefusedBeforeTls.Contains(verb);
}
