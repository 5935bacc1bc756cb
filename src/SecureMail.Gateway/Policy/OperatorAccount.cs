using SecureMail.Ledger;
using SecureMail.Storage;

namespace SecureMail.Gateway.Policy;

/// <summary>Who acts from the command line and over the Unix socket until there are accounts: one random UUID of this
/// gateway, which the migration makes.</summary>
public sealed class OperatorAccount(GatewayDatabase database)
{
    private Authority? _authority;

    public async ValueTask<Authority> AuthorityAsync(CancellationToken cancellationToken)
    {
        if (_authority is null)
        {
            await using var connection = await database.Source.OpenConnectionAsync(cancellationToken);
            _authority = new Authority(
                await connection.ScalarAsync<Guid>("SELECT actor FROM gateway.operator", null, cancellationToken));
        }

        return _authority;
    }
}
