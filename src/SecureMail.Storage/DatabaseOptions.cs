using System.ComponentModel;

namespace SecureMail.Storage;

/// <summary>Where the database is: a private cluster under the data folder, or a configured server.</summary>
/// <param name="DataFolder">Holds the private cluster, unless the process is root (see
/// <see cref="PrivateCluster"/>).</param>
/// <param name="Connection">A connection string of the role <c>securemail_gateway</c>; null: a private cluster.</param>
/// <param name="OwnerConnection">A connection string of the role that owns the schema, for migrations.</param>
[Category("Database")]
public sealed record DatabaseOptions(
    [property: Browsable(false)] string DataFolder,
    [property: PasswordPropertyText(true)] string? Connection = null,
    [property: PasswordPropertyText(true)] string? OwnerConnection = null);
