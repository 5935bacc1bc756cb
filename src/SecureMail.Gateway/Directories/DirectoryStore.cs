using System.Globalization;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Npgsql;
using SecureMail.Cms;
using SecureMail.Exchange;
using SecureMail.Gateway.Telemetry;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Gateway.Words;
using SecureMail.Ledger;
using SecureMail.LedgerStore;
using SecureMail.Storage;
using SecureMail.Storage.Queue;

namespace SecureMail.Gateway.Directories;

/// <summary>
/// The directory that this gateway goes by: the highest version imported, as its publishers signed it. A version is
/// taken only where enough publishers of the version in force signed it, only above that version, and not far above,
/// because an old directory would bring back revoked keys and dissolved agencies. The configuration pins the publisher
/// of the first version, and of each version for which the one before names none.
/// </summary>
public sealed class DirectoryStore(NpgsqlDataSource database, X509Certificate2? publisher, TimeProvider time)
{
    /// <summary>The capability of EHLO that names version and SHA-256 of the directory in force.</summary>
    public const string Capability = "XDIRECTORY";

    /// <summary>How far above the version in force the next one may be: a number that is taken by mistake or by a thief
    /// must not shut out all that follow.</summary>
    private const int LargestStep = 1_000;

    /// <summary>The owner of ledger entries that belong to the gateway itself and to no agency.</summary>
    internal static readonly Guid GatewayItself = Guid.Empty;

    private volatile DirectorySnapshot? _current;

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

        // The signatures are verified again, because the database is no more trustworthy than a file. Whoever may sign
        // was named by a version that others signed, down to the publisher that is pinned.
        var publishers = Pinned();
        foreach (
            var earlier in await connection.ListAsync<byte[]>(
                "SELECT document FROM gateway.directory WHERE sets_publishers AND version < @version ORDER BY version",
                new { version }, cancellationToken))
        {
            publishers = PublishersOf(await ReadAsync(earlier, publishers, cancellationToken));
        }

        var signed = await connection.ScalarAsync<byte[]>(
            "SELECT document FROM gateway.directory WHERE version = @version", new { version }, cancellationToken);
        var snapshot = new DirectorySnapshot(
            await ReadAsync(signed!, publishers, cancellationToken), SHA256.HashData(signed!));
        _current = snapshot;
        return snapshot;
    }

    /// <summary>Takes a new version. The same file again changes nothing.</summary>
    /// <param name="signed">CMS SignedData with the document inside, DER or PEM.</param>
    /// <param name="by">Who imports it. Null: the gateway itself.</param>
    /// <exception cref="DirectoryException">Not signed by those who may, damaged, not newer than the version in force,
    /// too far above it, or of another line of versions.</exception>
    public async Task<DirectoryDocument> ImportAsync(
        byte[] signed, CancellationToken cancellationToken, Authority? by = null)
    {
        var digest = SHA256.HashData(signed);
        // Within a second of this commit every node goes by the new version.
        var (document, conflict) = await database.InTransactionAsync<(DirectoryDocument?, long?)>(
            "directory.import",
            async transaction =>
            {
                await AdvisoryLock.DirectoryImport.TakeAsync(transaction, cancellationToken);
                var publishers = await InForceAsync(transaction, cancellationToken);
                var document = await ReadAsync(signed, publishers.Next, cancellationToken);
                var held = publishers.Held;
                if (held is { } same && document.Version == same.Version && digest.AsSpan().SequenceEqual(same.Sha256))
                {
                    return (document, null);
                }

                if (await FindConflictAsync(transaction, document, digest, cancellationToken) is { } version)
                {
                    // Two directories with one number were signed. The alarm stands; neither is taken in place of the
                    // other.
                    await RaiseConflictAsync(transaction, "publisher", version, digest, cancellationToken);
                    return (null, version);
                }

                if (held is not null && document.Version <= held.Version)
                {
                    throw new DirectoryException(ReasonCode.DirectoryRollback, document.Version, held.Version);
                }

                if (held is not null && document.Version - held.Version > LargestStep)
                {
                    throw new DirectoryException(ReasonCode.DirectoryStep, document.Version, held.Version);
                }

                await transaction.ExecuteAsync(
                    """
                    INSERT INTO gateway.directory (version, document, sha256, sets_publishers)
                    VALUES (@Version, @signed, @digest, @setsPublishers)
                    """,
                    new
                    {
                        document.Version,
                        signed,
                        digest,
                        setsPublishers = !PublishersOf(document).IsSameAs(publishers.Next),
                    }, cancellationToken);
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
                return (document, null);
            },
            cancellationToken);
        return document ?? throw new DirectoryException(ReasonCode.DirectoryConflict, conflict!);
    }

    /// <summary>Compares what a peer says of its directory with ours. A version that has another content there raises
    /// an alarm, once.</summary>
    /// <param name="announced">What follows <see cref="Capability"/>: the version and the SHA-256 in
    /// hexadecimal.</param>
    public async Task CompareAsync(string peer, string announced, CancellationToken cancellationToken)
    {
        if (announced.Split(' ') is not [var number, { Length: 64 } hex]
            || !long.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out var version)
            || !hex.All(char.IsAsciiHexDigit)
            || (_current is { } current && current.Version == version
                && current.Sha256.AsSpan().SequenceEqual(Convert.FromHexString(hex))))
        {
            return;
        }

        var digest = Convert.FromHexString(hex);
        await using var connection = await database.OpenConnectionAsync(cancellationToken);
        var ours = await connection.ScalarAsync<byte[]?>(
            "SELECT sha256 FROM gateway.directory WHERE version = @version", new { version }, cancellationToken);
        if (ours is null || ours.AsSpan().SequenceEqual(digest))
        {
            return;
        }

        // The alarm is a commit of its own; the mail that brought the peer goes on.
        await database.InTransactionAsync(
            "directory.compare",
            async transaction =>
            {
                await AdvisoryLock.DirectoryImport.TakeAsync(transaction, cancellationToken);
                await RaiseConflictAsync(transaction, peer, version, digest, cancellationToken);
            },
            cancellationToken);
    }

    /// <summary>The signed bytes of the version in force, as they were imported.</summary>
    public async Task<byte[]?> ExportAsync(CancellationToken cancellationToken)
    {
        await using var connection = await database.OpenConnectionAsync(cancellationToken);
        return await connection.ScalarAsync<byte[]?>(
            "SELECT document FROM gateway.directory ORDER BY version DESC LIMIT 1", null, cancellationToken);
    }

    private PublisherSet Pinned() =>
        new([publisher?.RawData ?? throw new DirectoryException(ReasonCode.PublisherMissing)], 1);

    /// <summary>Who may sign the version after this one.</summary>
    private PublisherSet PublishersOf(DirectoryDocument document) =>
        document.Publishers.Count > 0 ? new([.. document.Publishers], document.Threshold) : Pinned();

    /// <summary>The version in force, and who may sign the next one.</summary>
    private async Task<(PublisherSet Next, DirectoryReference? Held)> InForceAsync(
        NpgsqlTransaction transaction, CancellationToken cancellationToken)
    {
        var publishers = Pinned();
        foreach (
            var document in await transaction.ListAsync<byte[]>(
                "SELECT document FROM gateway.directory WHERE sets_publishers ORDER BY version", null,
                cancellationToken))
        {
            publishers = PublishersOf(await ReadAsync(document, publishers, cancellationToken));
        }

        var held = await transaction.FindAsync<(long Version, byte[] Sha256)?>(
            "SELECT version, sha256 FROM gateway.directory ORDER BY version DESC LIMIT 1", null, cancellationToken);
        return (publishers, held is { } row ? new DirectoryReference(row.Version, row.Sha256) : null);
    }

    /// <summary>The version that we hold with another content than this document says or is. Null: there is
    /// none.</summary>
    private static async Task<long?> FindConflictAsync(
        NpgsqlTransaction transaction, DirectoryDocument document, byte[] digest,
        CancellationToken cancellationToken) =>
        await transaction.ScalarAsync<long?>(
            """
            SELECT version FROM gateway.directory
            WHERE version = @Version AND sha256 <> @digest OR version = @before AND sha256 <> @said
            ORDER BY version DESC LIMIT 1
            """,
            new
            {
                document.Version,
                digest,
                before = document.Previous?.Version,
                said = document.Previous?.Sha256,
            }, cancellationToken);

    private async Task RaiseConflictAsync(
        NpgsqlTransaction transaction, string subject, long version, byte[] digest, CancellationToken cancellationToken)
    {
        var detail = FormattableString.Invariant($"directory {version}: {Convert.ToHexStringLower(digest)}");
        if (await transaction.ScalarAsync<bool>(
            $"""
            SELECT EXISTS (
              SELECT FROM gateway.alarm
              WHERE kind = '{AlarmKind.DirectoryConflict}' AND subject = @subject AND detail = @detail)
            """,
            new { subject, detail }, cancellationToken))
        {
            return;
        }

        await AlarmTable.AddWithEntryAsync(
            transaction,
            new LedgerEntry
            {
                Time = time.GetUtcNow(),
                Agency = GatewayItself,
                Kind = EntryKind.DirectoryConflict,
                Object = FormattableString.Invariant($"directory-{version}"),
                Commitments = new Dictionary<string, string>
                {
                    ["document"] = "sha256:" + Convert.ToHexStringLower(digest),
                },
            },
            AlarmKind.DirectoryConflict, subject, detail, cancellationToken);
    }

    private static async Task<DirectoryDocument> ReadAsync(
        byte[] signed, PublisherSet publishers, CancellationToken cancellationToken)
    {
        var certificates = publishers.Certificates.Select(X509CertificateLoader.LoadCertificate).ToList();
        try
        {
            using var data = await CmsSignedData.ReadAsync(
                new MemoryStream(signed), cancellationToken: cancellationToken);
            var signers = await data.VerifyAsync(null, certificates, cancellationToken);
            // The publishers are pinned: no path is built, and these very certificates must be the signers, and nobody
            // else.
            var by = certificates.Where(c => signers.Any(s => IsBy(s, c))).ToList();
            if (!data.HasContent || by.Count < publishers.Threshold || !signers.All(s => by.Any(c => IsBy(s, c))))
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
        finally
        {
            certificates.ForEach(c => c.Dispose());
        }
    }

    private static bool IsBy(SignerVerification signer, X509Certificate2 certificate) =>
        signer is { Intact: true, Certificate: { } by }
        && by.RawDataMemory.Span.SequenceEqual(certificate.RawDataMemory.Span);

    /// <summary>Who may sign a version: so many of these certificates.</summary>
    private sealed record PublisherSet(IReadOnlyList<byte[]> Certificates, int Threshold)
    {
        public bool IsSameAs(PublisherSet other) =>
            Threshold == other.Threshold
            && Certificates.Select(Convert.ToHexString).Order(StringComparer.Ordinal)
                .SequenceEqual(other.Certificates.Select(Convert.ToHexString).Order(StringComparer.Ordinal));
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
