using Npgsql;
using SecureMail.Exchange;
using SecureMail.Gateway.Vocabulary;
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

    /// <summary>Draws the next number. Concurrent draws of one agency wait for one another until the commit, because
    /// numbers have no gaps.</summary>
    public static Task<int> NextAsync(
        NpgsqlTransaction transaction, Guid agency, string direction, int year, CancellationToken cancellationToken) =>
        transaction.ScalarAsync<int>(
            """
            INSERT INTO gateway.register (agency_id, direction, year, last) VALUES (@agency, @direction, @year, 1)
            ON CONFLICT (agency_id, direction, year) DO UPDATE SET last = gateway.register.last + 1
            RETURNING last
            """,
            new { agency, direction, year }, cancellationToken);

    /// <summary>Draws the next free number of the outgoing register. A number that a clerk gave by hand is part of the
    /// sequence: the register goes on behind it.</summary>
    /// <param name="notation">E.g. <c>CV/TU</c>.</param>
    public static async Task<NumberAndNotation> DrawOutgoingAsync(
        NpgsqlTransaction transaction, Guid agency, string notation, int year, CancellationToken cancellationToken)
    {
        while (true)
        {
            var drawn = NumberAndNotation.Of(
                await NextAsync(transaction, agency, RegisterDirection.Outgoing, year, cancellationToken), '-',
                notation);
            if (
                !await OutgoingTable.IsNumberTakenAsync(
                    transaction, agency, year, drawn.ToString(), cancellationToken))
            {
                return drawn;
            }
        }
    }
}
