using System.Resources;
using SecureMail.Shared;

namespace SecureMail.Ledger;

/// <summary>A fault found in a ledger: a stable code, and a sentence in Vietnamese and in English. The sentences stand
/// in the resources of the project that owns the code.</summary>
public sealed record LedgerProblem
{
    private readonly ResourceManager _words;
    private readonly object[] _arguments;

    /// <param name="words">The resources of the project that owns the code, neutral in Vietnamese.</param>
    /// <param name="code">The code, which is the key of the sentences.</param>
    /// <param name="arguments">What the sentences name, from <c>{0}</c>: indexes, sizes and ids.</param>
    public LedgerProblem(ResourceManager words, string code, params object[] arguments) =>
        (_words, Code, _arguments) = (words, code, arguments);

    /// <summary>Stable, for programs.</summary>
    public string Code { get; }

    /// <summary>The sentence in Vietnamese.</summary>
    public string Vi => _words.Vietnamese(Code, _arguments);

    /// <summary>The sentence in English.</summary>
    public string En => _words.English(Code, _arguments);
}
