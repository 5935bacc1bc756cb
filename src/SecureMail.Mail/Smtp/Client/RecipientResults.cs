namespace SecureMail.Mail.Smtp.Client;

/// <summary>
/// The outcomes of one message, one for each recipient in order. Each is decided once: by the reply to RCPT, by the
/// reply to the message, or by a failure of the session.
/// </summary>
internal sealed class RecipientResults(IReadOnlyList<string> recipients)
{
    private readonly SmtpRecipientResult?[] _results = new SmtpRecipientResult?[recipients.Count];

    public bool AllDecided => Array.TrueForAll(_results, r => r is not null);

    /// <summary>Whether the reply accepts MAIL, RCPT or the message: only 2yz does, 3yz does not (RFC 5321
    /// §4.2.1).</summary>
    public static bool IsAccepted(SmtpReply reply) => reply.Code is >= 200 and < 300;

    /// <summary>The outcomes, when all are decided.</summary>
    public IReadOnlyList<SmtpRecipientResult> ToList() => _results!;

    /// <summary>Decides one recipient that the server refused.</summary>
    public void Refuse(int index, SmtpReply reply) => _results[index] = Refused(recipients[index], reply);

    /// <summary>Decides all recipients that are not decided yet by one reply.</summary>
    public void DecideByReply(SmtpReply reply)
    {
        for (var i = 0; i < _results.Length; i++)
        {
            _results[i] ??= IsAccepted(reply)
                ? new SmtpRecipientResult(recipients[i], SmtpOutcome.Delivered, null, reply)
                : Refused(recipients[i], reply);
        }
    }

    /// <summary>Decides all recipients that are not decided yet by a failure. A reply with a permanent code takes
    /// precedence over <paramref name="outcome"/>.</summary>
    public void DecideByFailure(SmtpOutcome outcome, SmtpFailure failure, SmtpReply? reply)
    {
        for (var i = 0; i < _results.Length; i++)
        {
            _results[i] ??= new SmtpRecipientResult(
                recipients[i], reply is { IsPermanent: true } ? SmtpOutcome.Permanent : outcome, failure, reply);
        }
    }

    private static SmtpRecipientResult Refused(string recipient, SmtpReply reply) =>
        reply.IsPermanent
            ? new SmtpRecipientResult(recipient, SmtpOutcome.Permanent, SmtpFailure.Refused, reply)
            : new SmtpRecipientResult(
                recipient, SmtpOutcome.Transient, reply.IsTransient ? SmtpFailure.Refused : SmtpFailure.Protocol,
                reply);
}
