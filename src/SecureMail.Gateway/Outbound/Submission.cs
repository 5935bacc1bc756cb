using System.Collections.ObjectModel;
using SecureMail.Exchange;
using SecureMail.Gateway.Policy;
using SecureMail.Gateway.Words;
using SecureMail.Ledger;

namespace SecureMail.Gateway.Outbound;

/// <summary>What a clerk wants sent: fields, addressees and documents, nothing checked yet.</summary>
public sealed record Submission
{
    /// <summary>
    /// The dispatch's id, a UUIDv7 that the caller chooses so that it may ask again when the answer was lost: the same
    /// id is accepted once. Null: the gateway makes one.
    /// </summary>
    public Guid? DispatchId { get; init; }

    /// <summary>Who sends it. Null: the gateway itself.</summary>
    public Authority? By { get; init; }

    /// <summary>The sending agency's code.</summary>
    public required string Sender { get; init; }

    /// <summary>The addressees' codes.</summary>
    public required IReadOnlyList<string> Recipients { get; init; }

    /// <summary>Number and notation as printed on the document, or null: the register gives the next number under
    /// <see cref="Notation"/>.</summary>
    public string? Number { get; init; }

    /// <summary>The notation to draw a number under, e.g. <c>CV/TU</c>.</summary>
    public string? Notation { get; init; }

    /// <summary>All fields but the number, which is empty here when the register is to give it.</summary>
    public required DispatchFields Fields { get; init; }

    /// <summary>One of <see cref="DispatchAction"/>.</summary>
    public string Action { get; init; } = DispatchAction.New;

    /// <summary>The dispatches that the action is about.</summary>
    public IReadOnlyList<RelatedDispatch>? RelatesTo { get; init; }

    /// <summary>When a document of the urgency 4 must be with its addressees.</summary>
    public DateTimeOffset? DeliverAt { get; init; }

    /// <summary>By an addressee's code, its unit or person whom the dispatch is for.</summary>
    public IReadOnlyDictionary<string, string> Attention { get; init; } = ReadOnlyDictionary<string, string>.Empty;

    /// <summary>Enumerated once, and each document is read before the next is asked for.</summary>
    public required IAsyncEnumerable<SubmittedDocument> Documents { get; init; }
}

/// <summary>A document to be sent; opened once, read to its end.</summary>
public sealed record SubmittedDocument(string Name, string MediaType, Func<Stream> Open);

/// <summary>The dispatch was refused as a whole and nothing was kept.</summary>
public sealed class SubmissionRefusedException : ReasonedException
{
    public SubmissionRefusedException(string code, params object[] arguments)
        : this(Refusal.Of(code, arguments))
    {
    }

    internal SubmissionRefusedException(Refusal refusal)
        : base(refusal.Code, refusal.Vi, refusal.En) =>
        Refusal = refusal;

    public Refusal Refusal { get; }
}

/// <summary>What the clerk is told: the id and number, and each addressee by name with the reason where it cannot be
/// reached.</summary>
public sealed record SubmissionAnswer(Guid DispatchId, string Number, IReadOnlyList<SubmissionRecipient> Recipients);

public sealed record SubmissionRecipient(string Code, string? Name, Refusal? Refusal);
