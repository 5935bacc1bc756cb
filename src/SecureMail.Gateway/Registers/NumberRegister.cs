using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Npgsql;
using SecureMail.Exchange;
using SecureMail.Gateway.Directories;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Gateway.Words;
using SecureMail.Ledger;
using SecureMail.LedgerStore;
using SecureMail.Storage;

namespace SecureMail.Gateway.Registers;

/// <summary>The numbers of outgoing documents as clerks and auditors ask about them: what was used, cancelled and
/// reserved, what is missing, and how a body numbers.</summary>
public sealed class NumberRegister(
    GatewayDatabase database, DirectoryStore directories, DirectoryOptions options, OutgoingRegister outgoing,
    TimeProvider time)
{
    private const int LongestReason = 1000;

    /// <summary>The numbers of an agency, by series and number.</summary>
    /// <param name="agencyCode">Null: of each agency of this gateway.</param>
    /// <exception cref="DirectoryException">The code names no agency.</exception>
    public async Task<IReadOnlyList<RegisteredNumber>> ListAsync(
        string? agencyCode, CancellationToken cancellationToken)
    {
        List<RegisteredNumber> numbers = [];
        foreach (var agency in await AgenciesAsync(agencyCode, cancellationToken))
        {
            var (used, cancelled) = await RowsAsync(agency, cancellationToken);
            var reasons = cancelled
                .Where(c => c.Dispatch is not null)
                .ToDictionary(c => c.Dispatch!.Value, c => c.Reason);
            // A document with a mark of secrecy stands in a register of its own: here its number is reserved and not
            // shown.
            var marked = (await outgoing.ListOfAsync(agency.Id, cancellationToken))
                .Where(d => d.Card.Secrecy is not null)
                .Select(d => d.Id)
                .ToHashSet();
            numbers.AddRange(
                used
                    .Select(u =>
                        reasons.TryGetValue(u.Dispatch!.Value, out var reason)
                            ? u with { State = NumberState.Cancelled, Reason = reason }
                        : marked.Contains(u.Dispatch.Value) ? u with { State = NumberState.Reserved, Dispatch = null }
                        : u)
                    .Concat(cancelled.Where(c => c.Dispatch is null))
                    .OrderBy(n => n.Body, StringComparer.Ordinal)
                    .ThenBy(n => n.Type, StringComparer.Ordinal)
                    .ThenBy(n => n.Period, StringComparer.Ordinal)
                    .ThenBy(n => n.Value));
        }

        return numbers;
    }

    /// <summary>The numbers below the highest of each series that are neither used nor cancelled.</summary>
    /// <param name="agencyCode">Null: of each agency of this gateway.</param>
    /// <exception cref="DirectoryException">The code names no agency.</exception>
    public async Task<IReadOnlyList<NumberGap>> GapsAsync(string? agencyCode, CancellationToken cancellationToken)
    {
        List<NumberGap> gaps = [];
        foreach (var agency in await AgenciesAsync(agencyCode, cancellationToken))
        {
            var (used, cancelled) = await RowsAsync(agency, cancellationToken);
            gaps.AddRange(
                used.Concat(cancelled)
                    .GroupBy(n => (n.Agency, n.Body, n.Type, n.Period))
                    .OrderBy(g => $"{g.Key.Body}\0{g.Key.Type}\0{g.Key.Period}", StringComparer.Ordinal)
                    .SelectMany(g => GapsOf(g.First(), g.Select(n => n.Value))));
        }

        return gaps;
    }

    /// <summary>Cancels a number that was drawn and not issued (hủy số): that of a refused dispatch, or one that is
    /// missing in its series.</summary>
    /// <param name="agencyCode">Null: the one agency of this gateway.</param>
    /// <param name="reason">In clear; 1 to 1000 characters.</param>
    /// <param name="at">A time in the period of the number; null: now.</param>
    /// <exception cref="DirectoryException">The code names no agency.</exception>
    /// <exception cref="NumberRefusedException">The number was issued, cancelled before, or never drawn.</exception>
    public async Task CancelAsync(
        string? agencyCode, string number, string reason, Authority by, CancellationToken cancellationToken,
        DateTimeOffset? at = null)
    {
        if (reason.Trim().Length is 0 or > LongestReason)
        {
            throw new NumberRefusedException("CANCEL_REASON");
        }

        var parsed = NumberAndNotation.TryParse(number) ?? throw new NumberRefusedException(ReasonCode.NumberInvalid);
        var agency = await OneAsync(agencyCode, cancellationToken);
        var now = time.GetUtcNow();
        // The cancellation and its entry are one commit.
        await database.Source.InTransactionAsync(
            "number.cancel",
            async transaction =>
            {
                var series = await Register.HoldAsync(transaction, agency, parsed, at ?? now, cancellationToken);
                var row = await transaction.FindAsync<(Guid Dispatch, string State)?>(
                    """
                    SELECT dispatch_id, state FROM gateway.outgoing
                    WHERE agency_id = @Agency AND number_body = @Body AND number_type = @Type
                      AND number_period = @Period AND number_value = @Value
                    """,
                    new { series.Agency, series.Body, series.Type, series.Period, parsed.Value }, cancellationToken);
                if (row is { State: not OutgoingState.Refused })
                {
                    throw new NumberRefusedException("NUMBER_ISSUED", number);
                }

                if (row is null)
                {
                    await RequireMissingAsync(transaction, series, parsed, cancellationToken);
                }

                var entry = await StoredLedger.AppendAsync(
                    transaction,
                    new LedgerEntry
                    {
                        Time = now,
                        Agency = agency,
                        Kind = EntryKind.NumberCancelled,
                        Object = (row?.Dispatch ?? Guid.CreateVersion7()).ToString(),
                        Actor = by.Actor,
                        Grant = by.Grant,
                        // Not salted: both stand in clear in gateway.cancelled_number.
                        Commitments = new Dictionary<string, string>
                        {
                            ["number"] = DigestOf(number),
                            ["reason"] = DigestOf(reason),
                        },
                    },
                    cancellationToken);
                var inserted = await transaction.ExecuteAsync(
                    """
                    INSERT INTO gateway.cancelled_number
                      (agency_id, body, type, period, value, text, dispatch_id, reason, cancelled_at, entry_id)
                    VALUES (@Agency, @Body, @Type, @Period, @Value, @number, @Dispatch, @reason, @now, @EntryId)
                    ON CONFLICT DO NOTHING
                    """,
                    new
                    {
                        series.Agency,
                        series.Body,
                        series.Type,
                        series.Period,
                        parsed.Value,
                        number,
                        row?.Dispatch,
                        reason,
                        now = now.UtcDateTime,
                        entry.EntryId,
                    }, cancellationToken);
                if (inserted == 0)
                {
                    throw new NumberRefusedException("NUMBER_CANCELLED", number);
                }
            },
            cancellationToken);
    }

    /// <summary>Sets how a body of an agency numbers from now on. Numbers that were used stay in their
    /// series.</summary>
    /// <param name="agencyCode">Null: the one agency of this gateway.</param>
    /// <param name="terms">The days on which a term of the committee begins; empty: numbers run per year.</param>
    /// <param name="oneSeries">All types of document share one series.</param>
    /// <exception cref="DirectoryException">The code names no agency.</exception>
    public async Task SetNumberingAsync(
        string? agencyCode, string body, IReadOnlyCollection<DateOnly> terms, bool oneSeries, Authority by,
        CancellationToken cancellationToken)
    {
        var agency = await OneAsync(agencyCode, cancellationToken);
        var (key, days) = (NumberAndNotation.Compared(body), terms.Distinct().Order().ToArray());
        var written = string.Join(
            ' ', days.Select(d => d.ToString("yyyy-MM-dd", CultureInfo.InvariantCulture)).Prepend(key));
        await database.Source.InTransactionAsync(
            "number.numbering",
            async transaction =>
            {
                var entry = await StoredLedger.AppendAsync(
                    transaction,
                    new LedgerEntry
                    {
                        Time = time.GetUtcNow(),
                        Agency = agency,
                        Kind = EntryKind.NumberingSet,
                        Object = $"numbering-{agency}",
                        Actor = by.Actor,
                        Grant = by.Grant,
                        Commitments = new Dictionary<string, string>
                        {
                            ["numbering"] = DigestOf($"{written}|{(oneSeries ? "one" : "each")}"),
                        },
                    },
                    cancellationToken);
                await transaction.ExecuteAsync(
                    """
                    INSERT INTO gateway.numbering (agency_id, body, terms, one_series, entry_id)
                    VALUES (@agency, @key, @days, @oneSeries, @EntryId)
                    ON CONFLICT (agency_id, body) DO UPDATE
                    SET terms = excluded.terms, one_series = excluded.one_series, entry_id = excluded.entry_id
                    """,
                    new { agency, key, days, oneSeries, entry.EntryId }, cancellationToken);
            },
            cancellationToken);
    }

    private static string DigestOf(string text) =>
        "sha256:" + Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text)));

    private static async Task RequireMissingAsync(
        NpgsqlTransaction transaction, NumberSeries series, NumberAndNotation number,
        CancellationToken cancellationToken)
    {
        var highest = await transaction.ScalarAsync<long?>(
            """
            SELECT max(value) FROM (
              SELECT last AS value FROM gateway.number_series
              WHERE agency_id = @Agency AND body = @Body AND type = @Type AND period = @Period
              UNION ALL SELECT number_value FROM gateway.outgoing
              WHERE agency_id = @Agency AND number_body = @Body AND number_type = @Type AND number_period = @Period) v
            """,
            series, cancellationToken);
        if (number.Value == 0 || number.Value > (highest ?? 0))
        {
            throw new NumberRefusedException("NUMBER_NOT_DRAWN", number.ToString());
        }
    }

    private static IEnumerable<NumberGap> GapsOf(RegisteredNumber one, IEnumerable<long> values)
    {
        var expected = 1L;
        foreach (var value in values.Distinct().Order().Where(v => v > 0))
        {
            if (value > expected)
            {
                yield return new NumberGap(one.Agency, one.Body, one.Type, one.Period, expected, value - 1);
            }

            expected = value + 1;
        }
    }

    private async Task<IReadOnlyList<Agency>> AgenciesAsync(string? code, CancellationToken cancellationToken)
    {
        var (directory, now) = (await directories.CurrentAsync(cancellationToken), time.GetUtcNow());
        return code is null
            ?
            [
                .. directory.Agencies
                    .Where(a => a.GatewayAt(now) == options.Name)
                    .OrderBy(a => a.LastName.Code, StringComparer.Ordinal),
            ]
            : [directory.FindEverByCode(code) ?? throw new DirectoryException(ReasonCode.AgencyUnknown, code)];
    }

    private async Task<Guid> OneAsync(string? code, CancellationToken cancellationToken) =>
        await AgenciesAsync(code, cancellationToken) is [var one]
            ? one.Id
            : throw new NumberRefusedException("AGENCY_NEEDED");

    private async Task<(IReadOnlyList<RegisteredNumber> Used, IReadOnlyList<RegisteredNumber> Cancelled)> RowsAsync(
        Agency agency, CancellationToken cancellationToken)
    {
        await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
        var used = await connection.ListAsync<(
            string Body, string Type, string Period, long Value, string Text, Guid? Dispatch)>(
            """
            SELECT number_body, number_type, number_period, number_value, number_text, dispatch_id
            FROM gateway.outgoing WHERE agency_id = @Id
            """,
            new { agency.Id }, cancellationToken);
        var cancelled = await connection.ListAsync<(
            string Body, string Type, string Period, long Value, string Text, Guid? Dispatch, string Reason)>(
            """
            SELECT body, type, period, value, text, dispatch_id, reason
            FROM gateway.cancelled_number WHERE agency_id = @Id
            """,
            new { agency.Id }, cancellationToken);
        return (
            [
                .. used.Select(r => new RegisteredNumber(
                    agency.LastName.Code, r.Body, r.Type, r.Period, r.Value, r.Text, NumberState.Used, r.Dispatch,
                    null)),
            ],
            [
                .. cancelled.Select(r => new RegisteredNumber(
                    agency.LastName.Code, r.Body, r.Type, r.Period, r.Value, r.Text, NumberState.Cancelled, r.Dispatch,
                    r.Reason)),
            ]);
    }
}

/// <summary>A number of a series.</summary>
/// <param name="Agency">The agency's code.</param>
/// <param name="Text">As printed.</param>
/// <param name="State">One of <see cref="NumberState"/>.</param>
/// <param name="Dispatch">The dispatch that has it; null where it was given on paper, or to nothing.</param>
/// <param name="Reason">Why it was cancelled.</param>
public sealed record RegisteredNumber(
    string Agency, string Body, string Type, string Period, long Value, string Text, string State, Guid? Dispatch,
    string? Reason);

/// <summary>Numbers of a series that are missing.</summary>
public sealed record NumberGap(string Agency, string Body, string Type, string Period, long First, long Last);

/// <summary>A number was not cancelled, and nothing was changed.</summary>
public sealed class NumberRefusedException(string code, params object[] arguments)
    : ReasonedException(code, arguments);
