using System.Globalization;

namespace SecureMail.Gateway.Words;

/// <summary>
/// What a person asked for cannot be done, for a reason that the catalogue has words for. The message is the English
/// text, for the log; the person reads <see cref="Text"/>.
/// </summary>
public abstract class ReasonedException : Exception
{
    private readonly string _vietnamese;

    /// <param name="code">A reason code: the key <c>Refusal.CODE</c>, else <c>Reason.CODE</c> of the catalogue.</param>
    /// <param name="arguments">What the words name, such as a code or a number; safe to show.</param>
    protected ReasonedException(string code, object[] arguments, Exception? inner = null)
        : this(
            code, Catalogue.Refusal(code, Catalogue.Vietnamese, arguments),
            Catalogue.Refusal(code, Catalogue.English, arguments), inner)
    {
    }

    /// <param name="vietnamese">The words, with what they name.</param>
    /// <param name="english">The same in English.</param>
    protected ReasonedException(string code, string vietnamese, string english, Exception? inner = null)
        : base(english, inner) =>
        (Code, _vietnamese) = (code, vietnamese);

    public string Code { get; }

    /// <summary>What happened and what to do.</summary>
    public string Text(CultureInfo language) => language.Equals(Catalogue.Vietnamese) ? _vietnamese : Message;
}
