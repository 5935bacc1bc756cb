using Npgsql;

namespace SecureMail.TestKit.Probes;

/// <summary>A gateway's database, asked and changed as the owner of its schema. Each statement has a connection of its
/// own, so that a probe outlives a server that was stopped.</summary>
internal sealed class ProbeDatabase(string owner)
{
    /// <summary>The first column of the first row; the default where there is none or it is null. A value of another
    /// type is a fault of the probe and throws: taken for nothing, it would let a test pass.</summary>
    /// <param name="sql">Its parameters are <c>$1</c>, <c>$2</c> …; one that may be null has a cast.</param>
    public async Task<T?> ScalarAsync<T>(string sql, params object?[] parameters)
    {
        await using var connection = new NpgsqlConnection(owner);
        await connection.OpenAsync();
        await using var command = Command(connection, sql, parameters);
        return await command.ExecuteScalarAsync() is { } value and not DBNull ? (T)value : default;
    }

    /// <summary>The first column of every row.</summary>
    public Task<List<T>> ListAsync<T>(string sql, params object?[] parameters) =>
        RowsAsync(sql, row => row.GetFieldValue<T>(0), parameters);

    /// <summary>Every row as the caller reads it.</summary>
    public async Task<List<T>> RowsAsync<T>(string sql, Func<NpgsqlDataReader, T> read, params object?[] parameters)
    {
        await using var connection = new NpgsqlConnection(owner);
        await connection.OpenAsync();
        await using var command = Command(connection, sql, parameters);
        await using var reader = await command.ExecuteReaderAsync();
        List<T> rows = [];
        while (await reader.ReadAsync())
        {
            rows.Add(read(reader));
        }

        return rows;
    }

    /// <summary>How many rows a table has, or what follows it leaves of it.</summary>
    /// <param name="from">What stands after FROM.</param>
    public Task<long> CountAsync(string from, params object?[] parameters) =>
        ScalarAsync<long>($"SELECT count(*) FROM {from}", parameters);

    /// <summary>Changes rows or the schema; several statements are allowed where there are no parameters.</summary>
    public async Task ExecuteAsync(string sql, params object?[] parameters)
    {
        await using var connection = new NpgsqlConnection(owner);
        await connection.OpenAsync();
        await using var command = Command(connection, sql, parameters);
        command.CommandTimeout = 0;
        await command.ExecuteNonQueryAsync();
    }

    private static NpgsqlCommand Command(NpgsqlConnection connection, string sql, object?[] parameters)
    {
        var command = new NpgsqlCommand(sql, connection);
        foreach (var value in parameters)
        {
            command.Parameters.Add(new NpgsqlParameter { Value = value ?? DBNull.Value });
        }

        return command;
    }
}
