using Npgsql;
using SecureMail.Storage;

namespace SecureMail.Gateway.Registers;

/// <summary>
/// The two registers (sổ đăng ký văn bản đi / đến): per agency and year, from 1, without gaps, because the number is
/// drawn in the transaction that uses it and is undone with it.
/// </summary>
internal static class Register
{
    private static readonly TimeSpan Vietnam = TimeSpan.FromHours(7);

    /// <summary>Numbers restart on 1 January of Vietnam's calendar, not of UTC's.</summary>
    public static int YearOf(DateTimeOffset time) => time.ToOffset(Vietnam).Year;

    /// <summary>Draws the next number. Concurrent draws of one agency wait for one another until the commit: that is
    /// the price of no gaps.</summary>
    public static Task<int> NextAsync(
        NpgsqlTransaction transaction, Guid agency, string direction, int year, CancellationToken cancellationToken) =>
        transaction.ScalarAsync<int>(
            """
            INSERT INTO gateway.register (agency_id, direction, year, last) VALUES (@agency, @direction, @year, 1)
            ON CONFLICT (agency_id, direction, year) DO UPDATE SET last = gateway.register.last + 1
            RETURNING last
            """,
            new { agency, direction, year }, cancellationToken);
}
