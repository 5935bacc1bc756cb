using System.Data;
using Npgsql;
using SecureMail.Ledger;
using SecureMail.Storage;

namespace SecureMail.LedgerStore;

/// <summary>Several connections that see the same state of the database, so that tables can be read side by
/// side.</summary>
internal sealed class LedgerSnapshot : IAsyncDisposable
{
    private readonly List<NpgsqlConnection> _connections = [];
    private readonly List<NpgsqlTransaction> _transactions = [];

    public NpgsqlConnection this[int index] => _connections[index];

    public static async Task<LedgerSnapshot> OpenAsync(
        NpgsqlDataSource database, int connections, CancellationToken cancellationToken)
    {
        var snapshot = new LedgerSnapshot();
        try
        {
            string? id = null;
            for (var i = 0; i < connections; i++)
            {
                var connection = await database.OpenConnectionAsync(cancellationToken);
                snapshot._connections.Add(connection);
                snapshot._transactions.Add(
                    await connection.BeginTransactionAsync(IsolationLevel.RepeatableRead, cancellationToken));
                // SET TRANSACTION SNAPSHOT must be the first statement of its transaction. The id is a hexadecimal text
                // made by PostgreSQL, so it needs no quoting.
                await using var share = new NpgsqlCommand(
                    id is null ? "SELECT pg_export_snapshot()" : $"SET TRANSACTION SNAPSHOT '{id}'", connection);
                id = await share.ExecuteScalarAsync(cancellationToken) as string ?? id;
            }
            return snapshot;
        }
        catch
        {
            await snapshot.DisposeAsync();
            throw;
        }
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var transaction in _transactions)
        {
            await transaction.DisposeAsync();
        }

        foreach (var connection in _connections)
        {
            await connection.DisposeAsync();
        }
    }
}
