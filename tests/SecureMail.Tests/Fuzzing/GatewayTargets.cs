using System.Globalization;
using System.Text;
using SecureMail.Gateway.Recovery;
using SecureMail.Ledger;
using SecureMail.Mail.Smtp;
using SecureMail.TestKit.Mutators;

namespace SecureMail.Tests.Fuzzing;

/// <summary>What gateways ask of each other after a restoration (docs/formats.md).</summary>
internal static class GatewayTargets
{
    private static readonly Mutator[] Text = [LineMutator.Mutate, OctetMutator.Mutate];

    /// <summary>Only a checkpoint that our own key signed counts, with the size that the answer names.</summary>
    public static FuzzTarget Held { get; } =
        new("held", "a peer's answer to XHELD", _ => ReaderOfHeld())
        {
            Mutators = Text,
            Mutants = 3000,
        };

    /// <summary>A size or a time that is read is the one that we would write.</summary>
    public static FuzzTarget Resend { get; } =
        new("resend", "the arguments of XHELD and XRESEND", _ => ReadArgument)
        {
            Mutators = Text,
            Mutants = 5000,
        };

    private static FuzzRead ReaderOfHeld()
    {
        var ours = LedgerTargets.OwnKey("export");
        var own = Completed.Result(
                LedgerExport.ReadSeenAsync(
                    new MemoryStream(Vectors.Read("own/v1", "export.jsonl")), CancellationToken.None))
            .ToDictionary(c => c.Size, c => Convert.ToHexString(c.Root.Span));
        return input =>
        {
            var answer = HeldAnswer.Read(RepliesIn(input), ours.Name, ours);
            if (answer.Checkpoint is { } held)
            {
                answer.Problem.ShouldBeNull();
                own[held.Size].ShouldBe(Convert.ToHexString(held.Root.Span));
            }

            return answer.Problem is null ? $"holds {answer.Checkpoint is not null}, {answer.Since is not null}" : null;
        };
    }

    /// <summary>The lines of a reply as the client reads them, without codes.</summary>
    private static IReadOnlyList<string> RepliesIn(byte[] input) =>
        new SmtpReply(250, "2.0.0", Encoding.Latin1.GetString(input).Split("\r\n")).Lines;

    private static string? ReadArgument(byte[] input)
    {
        var text = Encoding.Latin1.GetString(input);
        if (PeerRequests.TryReadSize(text, out var size))
        {
            size.ShouldBeGreaterThanOrEqualTo(0);
            var digits = text.TrimStart('0');
            size.ToString(CultureInfo.InvariantCulture).ShouldBe(digits.Length == 0 ? "0" : digits);
            return $"size of {Math.Min(text.Length, 20)}";
        }

        if (!PeerRequests.TryReadTime(text, out var time))
        {
            return null;
        }

        time.Offset.ShouldBe(TimeSpan.Zero);
        time.ToString(PeerRequests.TimeFormat, CultureInfo.InvariantCulture).ShouldBe(text);
        return $"time {time.Year / 1000}";
    }
}
