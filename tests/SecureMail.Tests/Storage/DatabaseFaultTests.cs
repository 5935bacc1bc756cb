using Npgsql;
using SecureMail.Storage;

namespace SecureMail.Tests.Storage;

public sealed class DatabaseFaultTests
{
    [Fact]
    public void A_failure_of_the_server_or_of_the_connection_is_the_database_s()
    {
        DatabaseFault.Is(new NpgsqlException()).ShouldBeTrue();
        DatabaseFault.Is(new PostgresException("full", "ERROR", "ERROR", "53100")).ShouldBeTrue();
        DatabaseFault.Is(new EndOfStreamException()).ShouldBeTrue();
        DatabaseFault.Is(new TimeoutException()).ShouldBeTrue();
        DatabaseFault.Is(new InvalidDataException()).ShouldBeFalse();
        DatabaseFault.Is(new OperationCanceledException()).ShouldBeFalse();
    }
}
