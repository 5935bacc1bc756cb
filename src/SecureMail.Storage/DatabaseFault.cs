using System.Net.Sockets;
using Npgsql;

namespace SecureMail.Storage;

/// <summary>Tells the faults of the database from those of the program.</summary>
public static class DatabaseFault
{
    /// <summary>Whether the database refused, did not answer in time, or went away. What was done in its transaction is
    /// undone, or its commit's answer is lost.</summary>
    public static bool Is(Exception exception) =>
        exception is NpgsqlException or IOException or TimeoutException or SocketException;

    /// <summary>Whether the database's disk is full.</summary>
    public static bool IsDiskFull(Exception exception) =>
        exception is PostgresException { SqlState: PostgresErrorCodes.DiskFull };
}
