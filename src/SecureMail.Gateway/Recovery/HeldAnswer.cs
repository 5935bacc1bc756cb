using System.Globalization;
using SecureMail.Ledger;

namespace SecureMail.Gateway.Recovery;

/// <summary>A peer's answer to <see cref="PeerRequests.Held"/>: the highest checkpoint that it holds of our
/// ledger.</summary>
/// <param name="Checkpoint">Null: the peer holds none, or there is a problem.</param>
/// <param name="Since">When the peer first saw something that we do not have, by its clock.</param>
/// <param name="Problem">Why the answer does not count.</param>
internal sealed record HeldAnswer(Checkpoint? Checkpoint, DateTimeOffset? Since, string? Problem)
{
    public static HeldAnswer None(string? problem) => new(null, null, problem);

    /// <summary>Reads the lines of the reply. The first line is the size and the time; the others are the note in
    /// base64. Only what our own ledger key signed counts.</summary>
    /// <param name="origin">Our name, which is our ledger's origin.</param>
    public static HeldAnswer Read(IReadOnlyList<string> lines, string origin, VerifierKey ledger)
    {
        var damaged = None("unreadable answer");
        if (lines[0].Split(' ') is not [var number, var time] || !PeerRequests.TryReadSize(number, out var held))
        {
            return damaged;
        }

        if (held == 0)
        {
            return None(problem: null);
        }

        try
        {
            var note = Checkpoint.Parse(Convert.FromBase64String(string.Concat(lines.Skip(1))));
            DateTimeOffset? since = PeerRequests.TryReadTime(time, out var at) ? at : null;
            return note.Size == held && note.Origin == origin && note.IsSignedBy(ledger)
                ? new HeldAnswer(note, since, null)
                : None("a note that our ledger key did not sign");
        }
        catch (Exception e) when (e is LedgerException or FormatException)
        {
            return damaged;
        }
    }
}
