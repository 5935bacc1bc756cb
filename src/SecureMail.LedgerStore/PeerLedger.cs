using System.Globalization;
using System.Security.Cryptography;
using Microsoft.Extensions.Logging;
using Npgsql;
using SecureMail.Ledger;
using SecureMail.Storage;

namespace SecureMail.LedgerStore;

/// <summary>
/// Keeps the checkpoints seen of other gateways' ledgers, so that no peer can rewrite its past unnoticed.
/// <list type="number">
/// <item>Every distinct checkpoint seen of a peer is stored. The first one is trusted on first use, because the
/// directory pins the key.</item>
/// <item>The verified checkpoints are one history. A new checkpoint above the highest verified one must be joined to
/// <b>that</b> one by a consistency proof, because a proof from an older one would leave room for a fork between them.
/// A checkpoint below the highest verified one stays pending until a proof joins it to a later verified one.</item>
/// <item><see cref="SeenSizesAsync"/> gives the sizes from which a peer must bring proofs.</item>
/// <item>Two roots for one size, or a proof that fails, are a fork: an alarm with both notes is stored.</item>
/// <item>A verified checkpoint is cosigned. The peer stores our line as evidence that we saw its checkpoint
/// (<see cref="AddCosignatureAsync"/>).</item>
/// </list>
/// All methods work in the caller's transaction. Left out on purpose: asking third parties what they have seen
/// (gossip).
/// </summary>
public sealed class PeerLedger(LedgerKey cosigner, TimeProvider time, ILogger logger)
{
    /// <summary>The most pending checkpoints of a peer. Further ones are refused, so that a peer cannot fill the
    /// table.</summary>
    public const int MaxPending = 1000;

    // After a burst of parallel deliveries many checkpoints are pending. A peer is asked for as many proofs as one
    // observation may bring: the highest verified size and these.
    private const int PendingSizesAsked = LedgerEvidence.MaxProofs - 1;

    // Of an unsigned note only the beginning is stored, because it proves nothing and only helps a person to search.
    private const int MaxUnsignedKept = 4096;

    private sealed record Known(Checkpoint Checkpoint, bool Verified);

    /// <summary>Verifies and stores one checkpoint of a peer, with the consistency proofs that came with it.</summary>
    /// <param name="peer">The peer's log key as the directory pins it. Its name is the origin.</param>
    /// <param name="note">The bytes of the note as received.</param>
    /// <param name="proofs">For each earlier size the proof from that size to the size of the note. Sizes that were not
    /// seen are ignored.</param>
    /// <exception cref="LedgerException">TooLarge: more than <see cref="LedgerEvidence.MaxProofs"/> proofs, or
    /// <see cref="MaxPending"/> reached.</exception>
    public async Task<PeerObservation> ObserveAsync(
        NpgsqlTransaction transaction, VerifierKey peer, ReadOnlyMemory<byte> note,
        IReadOnlyDictionary<long, IReadOnlyList<byte[]>> proofs, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(transaction);
        ArgumentNullException.ThrowIfNull(peer);
        ArgumentNullException.ThrowIfNull(proofs);
        if (proofs.Count > LedgerEvidence.MaxProofs)
        {
            throw new LedgerException(
                LedgerFault.TooLarge, $"An observation brings at most {LedgerEvidence.MaxProofs} consistency proofs.");
        }

        if (Read(note.Span) is not { } seen || seen.Origin != peer.Name || seen.Size == 0 || !seen.IsSignedBy(peer))
        {
            var raised = await AlarmAsync(
                transaction, peer.Name, PeerAlarmKind.BadSignature, "a note that the peer's key did not sign",
                cancellationToken, note[..Math.Min(note.Length, MaxUnsignedKept)]);
            return new PeerObservation(PeerState.BadSignature, Read(note.Span), null, raised, JoinedFrom: null);
        }
        await AdvisoryLock.PeerLedger(peer.Name).TakeAsync(transaction, cancellationToken);
        var known = await KnownAsync(transaction, peer.Name, seen.Size, [.. proofs.Keys], cancellationToken);
        var highest = known.Where(k => k.Verified).MaxBy(k => k.Checkpoint.Size)?.Checkpoint;

        if (Contradiction(seen, known, proofs) is { } other)
        {
            var detail = string.Create(
                CultureInfo.InvariantCulture, $"sizes {other.Size} and {seen.Size} are not one history");
            // The contradicting checkpoint is stored too, as pending, unless it is stored already.
            await InsertAsync(transaction, seen, verified: false, cancellationToken);
            var raised = await AlarmAsync(
                transaction, peer.Name, PeerAlarmKind.Fork, detail, cancellationToken, other.Note, seen.Note);
            return new PeerObservation(PeerState.Fork, seen, null, raised, JoinedFrom: null);
        }
        var stored = known.Find(k => k.Checkpoint.Size == seen.Size);
        var joined =
            stored is { Verified: true } ? seen.Size
            : highest is null ? 0
            // The proofs are valid here, because a failing proof was a contradiction above.
            : known
                .Where(k => k.Verified && k.Checkpoint.Size < seen.Size && proofs.ContainsKey(k.Checkpoint.Size))
                .Max(k => (long?)k.Checkpoint.Size);
        var verified =
            stored is { Verified: true }
            || highest is null // trust on first use
            || (seen.Size > highest.Size && proofs.ContainsKey(highest.Size));
        if (!verified)
        {
            if (stored is null && await PendingCountAsync(transaction, peer.Name, cancellationToken) >= MaxPending)
            {
                throw new LedgerException(
                    LedgerFault.TooLarge, $"More than {MaxPending} checkpoints of this peer wait for a proof.");
            }

            await InsertAsync(transaction, seen, verified: false, cancellationToken);
            return new PeerObservation(PeerState.Pending, seen, null, AlarmRaised: false, joined);
        }
        await VerifyAsync(transaction, seen, stored, known, proofs, cancellationToken);
        var top = highest is null || seen.Size > highest.Size ? seen : highest;
        return new PeerObservation(
            PeerState.Verified, seen, new Cosignature(top.Size, top.Cosign(cosigner, time.GetUtcNow())),
            AlarmRaised: false, joined);
    }

    /// <summary>
    /// The sizes from which the peer must prove consistency: the highest verified one, then up to 31 pending ones, the
    /// smallest first. Empty for a peer that was never seen.
    /// </summary>
    public static async Task<IReadOnlyList<long>> SeenSizesAsync(
        NpgsqlConnection connection, string peerOrigin, CancellationToken cancellationToken)
    {
        await using var command = new NpgsqlCommand(
            $"""
            SELECT size FROM (
              (SELECT 0 AS place, size
               FROM ledger.peer_checkpoint
               WHERE origin = $1 AND state = '{PeerCheckpointState.Verified}'
               ORDER BY size DESC LIMIT 1)
              UNION ALL
              (SELECT DISTINCT 1, p.size
               FROM ledger.peer_checkpoint p
               WHERE p.origin = $1 AND p.state = '{PeerCheckpointState.Pending}'
                 AND NOT EXISTS (
                   SELECT FROM ledger.peer_checkpoint v
                   WHERE v.origin = $1 AND v.size = p.size AND v.root <> p.root)
               ORDER BY size LIMIT $2)) asked
            ORDER BY place, size
            """,
            connection)
        {
            Parameters =
            {
                new() { Value = peerOrigin },
                new() { Value = PendingSizesAsked },
            },
        };
        await using var reader = await command.ExecuteReaderAsync(cancellationToken);
        var sizes = new List<long>();
        while (await reader.ReadAsync(cancellationToken))
        {
            sizes.Add(reader.GetInt64(0));
        }

        return sizes;
    }

    /// <summary>Our cosignature over the highest verified checkpoint of the peer, to be sent with a message to the
    /// peer. Null if no checkpoint was seen.</summary>
    public async Task<Cosignature?> CosignHighestAsync(
        NpgsqlTransaction transaction, string peerOrigin, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(transaction);
        await using var command = new NpgsqlCommand(
            $"""
            SELECT note
            FROM ledger.peer_checkpoint
            WHERE origin = $1 AND state = '{PeerCheckpointState.Verified}'
            ORDER BY size DESC LIMIT 1
            """,
            transaction.Connection,
            transaction)
        {
            Parameters = { new() { Value = peerOrigin } },
        };
        if (await command.ExecuteScalarAsync(cancellationToken) is not byte[] note)
        {
            return null;
        }

        var highest = Checkpoint.Parse(note);
        return new Cosignature(highest.Size, highest.Cosign(cosigner, time.GetUtcNow()));
    }

    /// <summary>Verifies and stores a peer's cosignature over one of our own checkpoints.</summary>
    /// <param name="peerCosigner">The peer's cosigner key as the directory pins it.</param>
    /// <returns>False if the line is not that cosigner's over our checkpoint of that size. Nothing is stored
    /// then.</returns>
    public static async Task<bool> AddCosignatureAsync(
        NpgsqlTransaction transaction, VerifierKey peerCosigner, Cosignature cosignature,
        CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(transaction);
        ArgumentNullException.ThrowIfNull(cosignature);
        await using var select = new NpgsqlCommand(
            "SELECT note FROM ledger.checkpoint WHERE size = $1", transaction.Connection, transaction)
        {
            Parameters = { new() { Value = cosignature.Size } },
        };
        if (await select.ExecuteScalarAsync(cancellationToken) is not byte[] note)
        {
            return false;
        }

        DateTimeOffset? stated;
        try
        {
            stated = Checkpoint.Parse(note).CosignedAt(peerCosigner, cosignature.Line);
        }
        catch (LedgerException)
        {
            return false;
        }
        if (stated is null)
        {
            return false;
        }

        await ExecuteAsync(
            transaction,
            """
            INSERT INTO ledger.cosignature (size, cosigner, line, stated)
            VALUES ($1, $2, $3, $4)
            ON CONFLICT DO NOTHING
            """,
            cancellationToken,
            cosignature.Size,
            peerCosigner.ToString(),
            cosignature.Line,
            stated.Value);
        return true;
    }

    /// <summary>
    /// Raises a rollback alarm for each checkpoint that has been pending longer than that although the peer came again
    /// an hour later or more. Such a peer was asked for proofs (<see cref="SeenSizesAsync"/>) and brought none. A peer
    /// that rewrote its past has no proof, so its silence must not count as an honest answer. A peer that did not come
    /// again is not suspected, because deliveries that overtook each other may have been its last ones.
    /// </summary>
    /// <returns>How many alarms were new.</returns>
    public async Task<int> AlarmOverdueAsync(
        NpgsqlTransaction transaction, TimeSpan longerThan, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(transaction);
        var overdue = new List<(string Origin, byte[] Pending, byte[] Verified)>();
        await using (
            var command = new NpgsqlCommand(
                $"""
                SELECT p.origin, p.note, v.note
                FROM ledger.peer_checkpoint p
                  JOIN LATERAL (
                    SELECT note
                    FROM ledger.peer_checkpoint
                    WHERE origin = p.origin AND state = '{PeerCheckpointState.Verified}'
                    ORDER BY size DESC LIMIT 1) v ON true
                WHERE p.state = '{PeerCheckpointState.Pending}' AND p.seen_at < $1
                  AND EXISTS (
                    SELECT FROM ledger.peer_checkpoint l
                    WHERE l.origin = p.origin AND l.seen_at >= p.seen_at + interval '1 hour')
                  AND NOT EXISTS (
                    SELECT FROM ledger.peer_checkpoint f
                    WHERE f.origin = p.origin AND f.size = p.size AND f.root <> p.root)
                """,
                transaction.Connection,
                transaction)
            {
                Parameters = { new() { Value = time.GetUtcNow() - longerThan } },
            })
        {
            await using var reader = await command.ExecuteReaderAsync(cancellationToken);
            while (await reader.ReadAsync(cancellationToken))
            {
                overdue.Add((reader.GetString(0), reader.GetFieldValue<byte[]>(1), reader.GetFieldValue<byte[]>(2)));
            }
        }
        var raised = 0;
        foreach (var (origin, pending, verified) in overdue)
        {
            if (
                await AlarmAsync(
                    transaction, origin, PeerAlarmKind.Rollback,
                    "a checkpoint that the peer joined to nothing although it was asked", cancellationToken, pending,
                    verified))
            {
                raised++;
            }
        }
        return raised;
    }

    /// <summary>A stored checkpoint that cannot be in one history with the observed one, or null.</summary>
    private static Checkpoint? Contradiction(
        Checkpoint seen, List<Known> known, IReadOnlyDictionary<long, IReadOnlyList<byte[]>> proofs)
    {
        foreach (var (checkpoint, _) in known)
        {
            if (checkpoint.Size == seen.Size && !checkpoint.Root.Span.SequenceEqual(seen.Root.Span))
            {
                return checkpoint;
            }
            // The peer offers this proof over its authenticated connection for two trees that it signed. If the proof
            // fails, the peer's log forked or the peer cannot prove that it did not. A person must examine either case.
            if (
                checkpoint.Size < seen.Size
                && proofs.TryGetValue(checkpoint.Size, out var proof)
                && !MerkleTree.VerifyConsistency(
                    checkpoint.Size, checkpoint.Root.Span, seen.Size, seen.Root.Span, proof))
            {
                return checkpoint;
            }
        }
        return null;
    }

    private async Task VerifyAsync(
        NpgsqlTransaction transaction, Checkpoint seen, Known? stored, List<Known> known,
        IReadOnlyDictionary<long, IReadOnlyList<byte[]>> proofs, CancellationToken cancellationToken)
    {
        if (stored is null)
        {
            await InsertAsync(transaction, seen, verified: true, cancellationToken);
        }
        // Pending checkpoints below, from which a valid proof leads to this one (a failing proof was a contradiction),
        // and this one if it was pending.
        foreach (
            var waiting in known.Where(k =>
                !k.Verified
                && (
                    k.Checkpoint.Size == seen.Size
                    || (k.Checkpoint.Size < seen.Size && proofs.ContainsKey(k.Checkpoint.Size)))))
        {
            await ExecuteAsync(
                transaction,
                $"""
                UPDATE ledger.peer_checkpoint SET state = '{PeerCheckpointState.Verified}', verified_at = $4
                WHERE origin = $1 AND size = $2 AND root = $3 AND state = '{PeerCheckpointState.Pending}'
                """,
                cancellationToken,
                seen.Origin,
                waiting.Checkpoint.Size,
                waiting.Checkpoint.Root.ToArray(),
                time.GetUtcNow());
        }
    }

    private async Task InsertAsync(
        NpgsqlTransaction transaction, Checkpoint seen, bool verified, CancellationToken cancellationToken)
    {
        var now = time.GetUtcNow();
        await ExecuteAsync(
            transaction,
            """
            INSERT INTO ledger.peer_checkpoint (origin, size, root, note, state, seen_at, verified_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7)
            ON CONFLICT DO NOTHING
            """,
            cancellationToken,
            seen.Origin,
            seen.Size,
            seen.Root.ToArray(),
            seen.Note.ToArray(),
            verified ? PeerCheckpointState.Verified : PeerCheckpointState.Pending,
            now,
            verified ? now : DBNull.Value);
    }

    /// <summary>The stored checkpoints of the peer that an observation needs: those of the sizes that it names, and the
    /// highest verified one.</summary>
    private static async Task<List<Known>> KnownAsync(
        NpgsqlTransaction transaction, string origin, long size, long[] proofSizes, CancellationToken cancellationToken)
    {
        await using var command = new NpgsqlCommand(
            $"""
            SELECT note, state = '{PeerCheckpointState.Verified}'
            FROM ledger.peer_checkpoint
            WHERE origin = $1 AND (
              size = ANY($2)
              OR size = (
                SELECT max(size)
                FROM ledger.peer_checkpoint
                WHERE origin = $1 AND state = '{PeerCheckpointState.Verified}'))
            """,
            transaction.Connection,
            transaction)
        {
            Parameters =
            {
                new() { Value = origin },
                new() { Value = proofSizes.Append(size).ToArray() },
            },
        };
        await using var reader = await command.ExecuteReaderAsync(cancellationToken);
        var known = new List<Known>();
        while (await reader.ReadAsync(cancellationToken))
        {
            known.Add(new Known(Checkpoint.Parse(reader.GetFieldValue<byte[]>(0)), reader.GetBoolean(1)));
        }
        // Beside a verified checkpoint, other checkpoints of its size are the evidence of an earlier fork. They are
        // left out, because the verified history is the one that is followed.
        var verifiedSizes = known.Where(k => k.Verified).Select(k => k.Checkpoint.Size).ToHashSet();
        known.RemoveAll(k => !k.Verified && verifiedSizes.Contains(k.Checkpoint.Size));
        return known;
    }

    private static async Task<long> PendingCountAsync(
        NpgsqlTransaction transaction, string origin, CancellationToken cancellationToken)
    {
        await using var command = new NpgsqlCommand(
            $"""
            SELECT count(*)
            FROM ledger.peer_checkpoint
            WHERE origin = $1 AND state = '{PeerCheckpointState.Pending}'
            """,
            transaction.Connection,
            transaction)
        {
            Parameters = { new() { Value = origin } },
        };
        return (long)(await command.ExecuteScalarAsync(cancellationToken))!;
    }

    private async Task<bool> AlarmAsync(
        NpgsqlTransaction transaction, string peer, string kind, string detail, CancellationToken cancellationToken,
        params ReadOnlyMemory<byte>[] evidence)
    {
        var kept = evidence.Select(note => note.ToArray()).ToArray();
        using var digest = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (var note in evidence)
        {
            digest.AppendData(SHA256.HashData(note.Span));
        }

        var rows = await ExecuteAsync(
            transaction,
            """
            INSERT INTO ledger.alarm (time, peer, kind, detail, evidence, digest)
            VALUES ($1, $2, $3, $4, $5, $6)
            ON CONFLICT DO NOTHING
            """,
            cancellationToken,
            time.GetUtcNow(),
            peer,
            kind,
            detail,
            kept,
            digest.GetHashAndReset());
        if (rows > 0)
        {
            LedgerStoreLog.PeerAlarm(logger, peer, kind, detail);
        }

        return rows > 0;
    }

    private static Checkpoint? Read(ReadOnlySpan<byte> note)
    {
        try
        {
            return Checkpoint.Parse(note);
        }
        catch (LedgerException)
        {
            return null;
        }
    }

    private static async Task<int> ExecuteAsync(
        NpgsqlTransaction transaction, string sql, CancellationToken cancellationToken, params object[] values)
    {
        await using var command = new NpgsqlCommand(sql, transaction.Connection, transaction);
        foreach (var value in values)
        {
            command.Parameters.Add(new() { Value = value });
        }

        return await command.ExecuteNonQueryAsync(cancellationToken);
    }
}
