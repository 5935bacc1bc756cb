using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Npgsql;
using SecureMail.Cms;
using SecureMail.Exchange;
using SecureMail.Gateway.Telemetry;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Ledger;
using SecureMail.LedgerStore;
using SecureMail.Storage;

namespace SecureMail.Gateway.Directories;

/// <summary>A cipher for a dispatch, and the agencies because of which it is not the best one. The list is empty where
/// it is the best.</summary>
internal sealed record DispatchCipher(CipherChoice Choice, IReadOnlyList<Guid> LimitedBy);

/// <summary>
/// What the readers of agencies can do: announced in a message that the agency provably signed (RFC 8551 §2.5.2), or
/// configured in the directory, whichever is later. Unsigned announcements count for nothing, because whoever writes
/// them would choose our cipher.
/// </summary>
internal static class AgencyCapabilities
{
    /// <summary>
    /// Assumed of an agency that has announced nothing. Every agency of the directory is served by a SecureMail
    /// gateway, and every build reads these. AES-CBC, the fallback for strangers, would leave the first dispatch to
    /// each agency without authentication and protect nobody. The binding of RFC 9709 is used where it is announced.
    /// </summary>
    private static readonly SmimeCapabilities Assumed = SmimeCapabilities.Named(
        "id-aes256-GCM", "id-aes128-GCM", "id-aes256-CBC", "id-aes128-CBC");

    /// <summary>
    /// Notes what a message announces, in the transaction that records it. A message that was signed no later than what
    /// is known changes nothing. When the choice of cipher becomes weaker, an entry in the ledger and an alarm say so.
    /// </summary>
    /// <returns>Whether it became weaker.</returns>
    public static async Task<bool> NoteAsync(
        NpgsqlTransaction transaction, Agency agency, ReaderCapabilities announced, X509Certificate2 signer,
        DateTimeOffset now, CancellationToken cancellationToken)
    {
        // RETURNING sees the new row alone. Therefore the old list is moved to a column of the new row, and the
        // comparison is with what stood there under the lock.
        var (noted, before) = await transaction.FindAsync<(bool Noted, string[]? Before)>(
            """
            INSERT INTO gateway.capability AS c (agency_id, algorithms, signed_at, certificate) VALUES (@Id,
              @algorithms, @signedAt, @certificate)
            ON CONFLICT (agency_id) DO UPDATE
              SET before = CASE WHEN c.signed_at > coalesce(@statedAt::timestamptz, '-infinity')
                THEN c.algorithms END,
                algorithms = excluded.algorithms, signed_at = excluded.signed_at, certificate = excluded.certificate
              WHERE c.signed_at < excluded.signed_at
            RETURNING true, before
            """,
            new
            {
                agency.Id,
                algorithms = announced.Capabilities.Algorithms.ToArray(),
                signedAt = announced.At.UtcDateTime,
                certificate = SHA256.HashData(signer.RawDataMemory.Span),
                statedAt = agency.ConfiguredCapabilities?.At.UtcDateTime,
            }, cancellationToken);
        if (!noted || agency.ConfiguredCapabilities?.At >= announced.At)
        {
            return false;
        }

        var was = CipherChoice.For([before is null ? KnownOf(agency, null) : SmimeCapabilities.Of(before)]);
        var becomes = CipherChoice.For([announced.Capabilities]);
        if (!becomes.IsWeakerThan(was))
        {
            return false;
        }

        var change = $"{was.Name} → {becomes.Name}";
        await AlarmTable.AddWithEntryAsync(
            transaction,
            new LedgerEntry
            {
                Time = now,
                Agency = DirectoryStore.GatewayItself,
                Kind = EntryKind.CapabilitiesWeakened,
                Object = $"capabilities:{agency.Id}",
                // Not salted: it stands in clear in gateway.alarm, and anybody shall be able to compare.
                Commitments = new Dictionary<string, string>
                {
                    ["change"] = "sha256:" + Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(change))),
                },
            },
            AlarmKind.CapabilitiesWeakened, agency.LastName.Code, change, cancellationToken);
        return true;
    }

    /// <summary>The strongest cipher that every one of these agencies can read.</summary>
    public static async Task<DispatchCipher> ChooseAsync(
        NpgsqlConnection connection, IReadOnlyList<Agency> readers, CancellationToken cancellationToken)
    {
        var rows = await connection.ListAsync<(Guid Agency, string[] Algorithms, DateTime SignedAt)>(
            "SELECT agency_id, algorithms, signed_at FROM gateway.capability WHERE agency_id = ANY(@ids)",
            new { ids = readers.Select(r => r.Id).ToArray() }, cancellationToken);
        var announced = rows.ToDictionary(
            r => r.Agency,
            r => new ReaderCapabilities(
                SmimeCapabilities.Of(r.Algorithms), new DateTimeOffset(r.SignedAt, TimeSpan.Zero)));
        var known = readers.Select(r => (r.Id, Capabilities: KnownOf(r, announced.GetValueOrDefault(r.Id)))).ToList();
        return new DispatchCipher(
            CipherChoice.For([.. known.Select(k => k.Capabilities)]),
            [.. known.Where(k => CipherChoice.For([k.Capabilities]).Downgrade is not null).Select(k => k.Id)]);
    }

    /// <summary>The directory counts unless a message was signed after it, because the publisher may have had a reason
    /// to take something back.</summary>
    private static SmimeCapabilities KnownOf(Agency agency, ReaderCapabilities? announced) =>
        announced is not null && !(agency.ConfiguredCapabilities?.At >= announced.At)
            ? announced.Capabilities
            : agency.ConfiguredCapabilities?.Capabilities ?? Assumed;
}
