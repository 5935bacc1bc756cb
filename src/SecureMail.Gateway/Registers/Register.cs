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

    /// <summary>The series that a number and notation belongs to at a time.</summary>
    public static async Task<NumberSeries> SeriesOfAsync(
        NpgsqlConnection connection, Guid agency, NumberAndNotation number, DateTimeOffset at,
        CancellationToken cancellationToken)
    {
        var (day, body) = (DateOnly.FromDateTime(at.ToOffset(Vietnam).DateTime), number.Body);
        var rule = await connection.FindAsync<(DateOnly? Term, bool IsOneSeries)?>(
            """
            SELECT (SELECT max(t) FROM unnest(terms) t WHERE t <= @day), one_series
            FROM gateway.numbering WHERE agency_id = @agency AND body = @body
            """,
            new { agency, body, day }, cancellationToken);
        return new NumberSeries(
            agency, body, rule is { IsOneSeries: true } ? "" : number.Type,
            rule?.Term?.ToString("yyyy-MM-dd", CultureInfo.InvariantCulture)
                ?? day.Year.ToString(CultureInfo.InvariantCulture));
    }

    /// <summary>Holds a series to the end of the transaction, because whether a number is free must not change before
    /// it is used. Answers the last number that was drawn; 0: none.</summary>
    public static Task<long> HoldAsync(
        NpgsqlTransaction transaction, NumberSeries series, CancellationToken cancellationToken) =>
        transaction.ScalarAsync<long>(
            """
            INSERT INTO gateway.number_series (agency_id, body, type, period, last)
            VALUES (@Agency, @Body, @Type, @Period, 0)
            ON CONFLICT (agency_id, body, type, period) DO UPDATE SET last = gateway.number_series.last
            RETURNING last
            """,
            series, cancellationToken);

    /// <summary>Draws the next free number. A number that a clerk gave by hand is part of the series: the draw goes on
    /// behind it.</summary>
    /// <param name="notation">E.g. <c>CV/TU</c>.</param>
    public static async Task<(NumberAndNotation Number, NumberSeries Series)> DrawOutgoingAsync(
        NpgsqlTransaction transaction, Guid agency, string notation, DateTimeOffset at,
        CancellationToken cancellationToken)
    {
        var series = await SeriesOfAsync(
            transaction.Connection!, agency, NumberAndNotation.Of(1, '-', notation), at, cancellationToken);
        var last = await HoldAsync(transaction, series, cancellationToken);
        do
        {
            last++;
        }
        while (await IsTakenAsync(transaction, series, last, cancellationToken));
        await transaction.ExecuteAsync(
            """
            UPDATE gateway.number_series SET last = @last
            WHERE agency_id = @Agency AND body = @Body AND type = @Type AND period = @Period
            """,
            new { last, series.Agency, series.Body, series.Type, series.Period }, cancellationToken);
        return (NumberAndNotation.Of(last, '-', notation), series);
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
