using System.Globalization;
using Npgsql;
using SecureMail.Exchange;
using SecureMail.Storage;

namespace SecureMail.Gateway.Registers;

/// <summary>
/// The numbers of the two registers (sổ đăng ký văn bản đi / đến): from 1, without gaps, because a number is drawn in
/// the transaction that uses it and is undone with it. Outgoing numbers run in series (<see cref="NumberSeries"/>),
/// arrival numbers per agency and year.
/// </summary>
internal static class Register
{
    private static readonly TimeSpan Vietnam = TimeSpan.FromHours(7);

    /// <summary>A year begins on 1 January of Vietnam's calendar, not of UTC's.</summary>
    public static int YearOf(DateTimeOffset time) => time.ToOffset(Vietnam).Year;

    /// <summary>Draws the next number of a register that runs per year. Concurrent draws of one agency wait for one
    /// another until the commit, because numbers have no gaps.</summary>
    public static Task<int> NextAsync(
        NpgsqlTransaction transaction, Guid agency, string direction, int year, CancellationToken cancellationToken) =>
        transaction.ScalarAsync<int>(
            """
            INSERT INTO gateway.register (agency_id, direction, year, last) VALUES (@agency, @direction, @year, 1)
            ON CONFLICT (agency_id, direction, year) DO UPDATE SET last = gateway.register.last + 1
            RETURNING last
            """,
            new { agency, direction, year }, cancellationToken);

    /// <summary>Holds the series that a number and notation belongs to at a time, to the end of the transaction,
    /// because whether a number is free must not change before it is used.</summary>
    public static async Task<NumberSeries> HoldAsync(
        NpgsqlTransaction transaction, Guid agency, NumberAndNotation number, DateTimeOffset at,
        CancellationToken cancellationToken) =>
        (await AdvanceAsync(transaction, agency, number, at, 0, cancellationToken)).Series;

    /// <summary>Draws the next free number. A number that a clerk gave by hand is part of the series: the draw goes on
    /// behind it.</summary>
    /// <param name="notation">E.g. <c>CV/TU</c>.</param>
    public static async Task<(NumberAndNotation Number, NumberSeries Series)> DrawOutgoingAsync(
        NpgsqlTransaction transaction, Guid agency, string notation, DateTimeOffset at,
        CancellationToken cancellationToken)
    {
        var first = NumberAndNotation.Of(1, '-', notation);
        while (true)
        {
            var (series, last) = await AdvanceAsync(transaction, agency, first, at, 1, cancellationToken);
            if (!await IsTakenAsync(transaction, series, last, cancellationToken))
            {
                return (NumberAndNotation.Of(last, '-', notation), series);
            }
        }
    }

    /// <summary>Locks the series of a number, and goes on by so many numbers. Answers the last number that was drawn;
    /// 0: none.</summary>
    private static async Task<(NumberSeries Series, long Last)> AdvanceAsync(
        NpgsqlTransaction transaction, Guid agency, NumberAndNotation number, DateTimeOffset at, int by,
        CancellationToken cancellationToken)
    {
        var (day, body) = (DateOnly.FromDateTime(at.ToOffset(Vietnam).DateTime), number.Body);
        var (type, period, last) = (await transaction.FindAsync<(string Type, string Period, long Last)?>(
            """
            WITH rule AS (SELECT terms, one_series FROM gateway.numbering WHERE agency_id = @agency AND body = @body)
            INSERT INTO gateway.number_series AS s (agency_id, body, type, period, last)
            SELECT @agency, @body, CASE WHEN (SELECT one_series FROM rule) THEN '' ELSE @type END,
              coalesce((SELECT to_char(max(t), 'YYYY-MM-DD') FROM rule, unnest(terms) t WHERE t <= @day), @year), @by
            ON CONFLICT (agency_id, body, type, period) DO UPDATE SET last = s.last + @by
            RETURNING type, period, last
            """,
            new
            {
                agency,
                body,
                number.Type,
                day,
                year = day.Year.ToString(CultureInfo.InvariantCulture),
                by,
            }, cancellationToken))!.Value;
        return (new NumberSeries(agency, body, type, period), last);
    }

    /// <summary>Whether a number was used or cancelled.</summary>
    public static Task<bool> IsTakenAsync(
        NpgsqlTransaction transaction, NumberSeries series, long value, CancellationToken cancellationToken) =>
        transaction.ScalarAsync<bool>(
            """
            SELECT EXISTS (
              SELECT FROM gateway.outgoing
              WHERE agency_id = @Agency AND number_body = @Body AND number_type = @Type AND number_period = @Period
                AND number_value = @value)
            OR EXISTS (
              SELECT FROM gateway.cancelled_number
              WHERE agency_id = @Agency AND body = @Body AND type = @Type AND period = @Period AND value = @value)
            """,
            new { series.Agency, series.Body, series.Type, series.Period, value }, cancellationToken);
}

/// <summary>A series of numbers: of one agency's body, one type of document, and one period.</summary>
/// <param name="Body">As <see cref="NumberAndNotation.Body"/>.</param>
/// <param name="Type">As <see cref="NumberAndNotation.Type"/>; empty where all types share the series.</param>
/// <param name="Period">A year (<c>2026</c>), or the day on which a term of the committee began
/// (<c>2025-10-16</c>).</param>
internal sealed record NumberSeries(Guid Agency, string Body, string Type, string Period);
