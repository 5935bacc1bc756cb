namespace SecureMail.Gateway.Words;

/// <summary>
/// What a person asked for cannot be done, for a reason that the catalogue has words for. The message is the English
/// text, for the log; the person reads <see cref="Text"/>.
/// </summary>
/// <param name="code">A reason code: the key <c>Refusal.CODE</c>, else <c>Reason.CODE</c> of the catalogue.</param>
/// <param name="arguments">What the words name, such as a code or a number; safe to show.</param>
public abstract class ReasonedException(string code, object[] arguments, Exception? inner = null)
    : Exception(Catalogue.Refusal(code, Catalogue.English, arguments), inner)
{
    public string Code => code;

    /// <summary>What happened and what to do.</summary>
    public string Text(System.Globalization.CultureInfo language) => Catalogue.Refusal(code, language, arguments);
}
