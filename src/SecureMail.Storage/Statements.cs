using Dapper;
using Npgsql;

namespace SecureMail.Storage;

/// <summary>SQL on a connection or in a transaction. The properties of <c>arguments</c> are the parameters of the
/// statement: <c>@name</c>.</summary>
/// <remarks>Every method throws <see cref="NpgsqlException"/> when the database refuses the statement or is
/// away.</remarks>
public static class Statements
{
    /// <summary>Answers how many rows were changed.</summary>
    public static Task<int> ExecuteAsync(
        this NpgsqlTransaction transaction, string sql, object? arguments, CancellationToken cancellationToken) =>
        transaction.Connection!.ExecuteAsync(Command(sql, arguments, transaction, cancellationToken));

    /// <inheritdoc cref="ExecuteAsync(NpgsqlTransaction, string, object?, CancellationToken)"/>
    public static Task<int> ExecuteAsync(
        this NpgsqlConnection connection, string sql, object? arguments, CancellationToken cancellationToken) =>
        connection.ExecuteAsync(Command(sql, arguments, null, cancellationToken));

    /// <summary>Answers the first column of the first row; the default where there is none or it is null.</summary>
    public static Task<T?> ScalarAsync<T>(
        this NpgsqlTransaction transaction, string sql, object? arguments, CancellationToken cancellationToken) =>
        transaction.Connection!.ExecuteScalarAsync<T>(Command(sql, arguments, transaction, cancellationToken));

    /// <inheritdoc cref="ScalarAsync{T}(NpgsqlTransaction, string, object?, CancellationToken)"/>
    public static Task<T?> ScalarAsync<T>(
        this NpgsqlConnection connection, string sql, object? arguments, CancellationToken cancellationToken) =>
        connection.ExecuteScalarAsync<T>(Command(sql, arguments, null, cancellationToken));

    /// <summary>Answers the one row, or the default.</summary>
    /// <exception cref="InvalidOperationException">There are several.</exception>
    public static Task<T?> FindAsync<T>(
        this NpgsqlTransaction transaction, string sql, object? arguments, CancellationToken cancellationToken) =>
        transaction.Connection!.QuerySingleOrDefaultAsync<T>(Command(sql, arguments, transaction, cancellationToken));

    /// <inheritdoc cref="FindAsync{T}(NpgsqlTransaction, string, object?, CancellationToken)"/>
    public static Task<T?> FindAsync<T>(
        this NpgsqlConnection connection, string sql, object? arguments, CancellationToken cancellationToken) =>
        connection.QuerySingleOrDefaultAsync<T>(Command(sql, arguments, null, cancellationToken));

    /// <summary>Answers all rows, in memory.</summary>
    public static async Task<IReadOnlyList<T>> ListAsync<T>(
        this NpgsqlTransaction transaction, string sql, object? arguments, CancellationToken cancellationToken) =>
        (await transaction.Connection!.QueryAsync<T>(Command(sql, arguments, transaction, cancellationToken))).AsList();

    /// <inheritdoc cref="ListAsync{T}(NpgsqlTransaction, string, object?, CancellationToken)"/>
    public static async Task<IReadOnlyList<T>> ListAsync<T>(
        this NpgsqlConnection connection, string sql, object? arguments, CancellationToken cancellationToken) =>
        (await connection.QueryAsync<T>(Command(sql, arguments, null, cancellationToken))).AsList();

    private static CommandDefinition Command(
        string sql, object? arguments, NpgsqlTransaction? transaction, CancellationToken cancellationToken) =>
        new(sql, arguments, transaction, cancellationToken: cancellationToken);
}
