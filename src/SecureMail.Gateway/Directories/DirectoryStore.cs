using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Npgsql;
using SecureMail.Cms;
using SecureMail.Exchange;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Gateway.Words;
using SecureMail.Ledger;
using SecureMail.LedgerStore;
using SecureMail.Storage;
using SecureMail.Storage.Queue;

namespace SecureMail.Gateway.Directories;

/// <summary>
/// The directory that this gateway goes by: the highest version imported, as its publisher signed it. A version is
/// taken only with the publisher's signature and only above the one in force, because an old directory would bring back
/// revoked keys and dissolved agencies.
/// </summary>
public sealed class DirectoryStore(NpgsqlDataSource database, X509Certificate2? publisher, TimeProvider time)
{
    /// <summary>The owner of ledger entries that belong to the gateway itself and to no agency.</summary>
    internal static readonly Guid GatewayItself = Guid.Empty;

    private volatile DirectorySnapshot? _current;
    private volatile VersionDigest? _digest;

    /// <summary>The snapshot that was in force when last asked; null before the first time. For questions that cannot
    /// wait, such as a TLS handshake.</summary>
    internal DirectorySnapshot? Known => _current;

    /// <summary>The snapshot in force. One query when nothing changed.</summary>
    /// <exception cref="DirectoryException">No directory was imported yet.</exception>
    public async Task<DirectorySnapshot> CurrentAsync(CancellationToken cancellationToken)
    {
        await using var connection = await database.OpenConnectionAsync(cancellationToken);
        var version = await connection.ScalarAsync<long?>(
            "SELECT max(version) FROM gateway.directory", null, cancellationToken)
            ?? throw new DirectoryException(ReasonCode.DirectoryMissing);
        if (_current is { } known && known.Version == version)
        {
            return known;
        }

        var document = await connection.ScalarAsync<byte[]>(
            "SELECT document FROM gateway.directory WHERE version = @version", new { version }, cancellationToken);
        // The signature is verified again, because the database is no more trustworthy than a file.
        var snapshot = new DirectorySnapshot(await ReadAsync(document!, cancellationToken));
        _current = snapshot;
        return snapshot;
    }

    /// <summary>SHA-256 of a version as it was imported; null where it was not.</summary>
    internal async Task<byte[]?> DigestOfAsync(long version, CancellationToken cancellationToken)
    {
        if (_digest is { } known && known.Version == version)
        {
            return known.Sha256;
        }

        await using var connection = await database.OpenConnectionAsync(cancellationToken);
        var digest = await connection.ScalarAsync<byte[]?>(
            "SELECT sha256 FROM gateway.directory WHERE version = @version", new { version }, cancellationToken);
        _digest = digest is null ? null : new VersionDigest(version, digest);
        return digest;
    }

    /// <summary>Takes a new version. The same file again changes nothing.</summary>
    /// <param name="signed">CMS SignedData with the document inside, DER or PEM.</param>
    /// <param name="by">Who imports it. Null: the gateway itself.</param>
    /// <exception cref="DirectoryException">Not signed by the publisher, damaged, or not newer than the version in
    /// force.</exception>
    public async Task<DirectoryDocument> ImportAsync(
        byte[] signed, CancellationToken cancellationToken, Authority? by = null)
    {
        var document = await ReadAsync(signed, cancellationToken);
        var digest = SHA256.HashData(signed);
        // Within a second of this commit every node goes by the new version.
        await database.InTransactionAsync(
            "directory.import",
            async transaction =>
            {
                await AdvisoryLock.DirectoryImport.TakeAsync(transaction, cancellationToken);
                var (last, lastDigest) = await transaction.FindAsync<(long, byte[]?)>(
                    "SELECT version, sha256 FROM gateway.directory ORDER BY version DESC LIMIT 1", null,
                    cancellationToken);
                if (document.Version == last && digest.AsSpan().SequenceEqual(lastDigest))
                {
                    return;
                }

                if (document.Version <= last)
                {
                    throw new DirectoryException(ReasonCode.DirectoryRollback, document.Version, last);
                }

                await transaction.ExecuteAsync(
                    "INSERT INTO gateway.directory (version, document, sha256) VALUES (@Version, @signed, @digest)",
                    new { document.Version, signed, digest }, cancellationToken);
                // Quarantined messages may wait for what this version says.
                await WorkQueue.MakeTimerDueAsync(transaction, WorkKind.Arrivals, cancellationToken);
                await StoredLedger.AppendAsync(
                    transaction,
                    new LedgerEntry
                    {
                        Time = time.GetUtcNow(),
                        Agency = GatewayItself,
                        Kind = EntryKind.DirectoryImported,
                        Object = FormattableString.Invariant($"directory-{document.Version}"),
                        Actor = by?.Actor,
                        Grant = by?.Grant,
                        Commitments = new Dictionary<string, string>
                        {
                            ["document"] = "sha256:" + Convert.ToHexStringLower(digest),
                        },
                    },
                    cancellationToken);
            },
            cancellationToken);
        return document;
    }

    /// <summary>The signed bytes of the version in force, as they were imported.</summary>
    public async Task<byte[]?> ExportAsync(CancellationToken cancellationToken)
    {
        await using var connection = await database.OpenConnectionAsync(cancellationToken);
        return await connection.ScalarAsync<byte[]?>(
            "SELECT document FROM gateway.directory ORDER BY version DESC LIMIT 1", null, cancellationToken);
    }

    private sealed record VersionDigest(long Version, byte[] Sha256);

    private async Task<DirectoryDocument> ReadAsync(byte[] signed, CancellationToken cancellationToken)
    {
        if (publisher is null)
        {
            throw new DirectoryException(ReasonCode.PublisherMissing);
        }

        try
        {
            using var data = await CmsSignedData.ReadAsync(
                new MemoryStream(signed), cancellationToken: cancellationToken);
            var signers = await data.VerifyAsync(null, [publisher], cancellationToken);
            // The publisher is pinned: no path is built, and that very certificate must be the only signer.
            var sound =
                data.HasContent
                && signers is [{ Intact: true, Certificate: { } by }]
                && by.RawDataMemory.Span.SequenceEqual(publisher.RawDataMemory.Span);
            if (!sound)
            {
                throw new DirectoryException(ReasonCode.DirectorySignature);
            }

            using var content = new MemoryStream();
            await using var inside = data.OpenContent();
            await inside.CopyToAsync(content, cancellationToken);
            return DirectoryDocument.Parse(content.ToArray());
        }
        catch (CmsException e)
        {
            throw new DirectoryException(ReasonCode.DirectoryDamaged, e);
        }
        catch (WireFormatException e)
        {
            throw new DirectoryException(e.Code, e);
        }
    }
}

/// <summary>The directory cannot be used or taken, or it lacks what was asked for.</summary>
public sealed class DirectoryException : ReasonedException
{
    public DirectoryException(string code, params object[] arguments)
        : base(code, arguments)
    {
    }

    public DirectoryException(string code, Exception inner)
        : base(code, [], inner)
    {
    }
}
