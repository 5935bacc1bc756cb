using Npgsql;

namespace SecureMail.Storage;

/// <summary>Tells a failure of the database, or of the connection to it, from other failures.</summary>
public static class DatabaseFault
{
    /// <summary>Whether the database or its connection failed. The same work may succeed later.</summary>
    public static bool Is(Exception e) => e is NpgsqlException or IOException or TimeoutException;
}
