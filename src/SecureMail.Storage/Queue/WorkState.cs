namespace SecureMail.Storage.Queue;

/// <summary>The states of a row of <c>gateway.work</c>. A row that is done is deleted, so there is no state for
/// it.</summary>
public static class WorkState
{
    /// <summary>The row may be leased when its time has come. Set by enqueuing, by a retry and by a lease that ran
    /// out.</summary>
    public const string Ready = "ready";

    /// <summary>A worker does the work until its lease ends. Set by the lease.</summary>
    public const string Leased = "leased";

    /// <summary>A person must act first, for example enter the right PIN. Set by a handler.</summary>
    public const string Held = "held";

    /// <summary>Nothing tries the work again by itself. Set by a handler or after the last attempt.</summary>
    public const string Dead = "dead";

    /// <summary>Every value.</summary>
    public static IReadOnlyList<string> All { get; } = [Ready, Leased, Held, Dead];
}
