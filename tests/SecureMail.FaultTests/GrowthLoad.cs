using System.Security.Cryptography;
using System.Text;
using Npgsql;
using NpgsqlTypes;
using SecureMail.Exchange;
using SecureMail.Gateway.Registers;
using SecureMail.Ledger;
using SecureMail.LedgerStore;
using SecureMail.Storage;
using SecureMail.TestKit.Probes;

namespace SecureMail.FaultTests;

/// <summary>
/// Days of traffic written straight into a gateway's tables, row for row as the flows would have: half of the
/// dispatches go out to one addressee each and are acknowledged, half come in and are answered; sealed blobs, findings,
/// ledger entries with the product's own hashing, a signed checkpoint for every three entries, a peer's checkpoint for
/// every message and its cosignature for every other one. One in a hundred is never answered, one a duplicate, one
/// quarantined.
/// </summary>
internal sealed class GrowthLoad(RunningGateway gateway)
{
    private readonly CardCipher _cards = new(gateway.Node.Identity.Storage);

    /// <summary>Octets of a document and of a mail here; a real one is larger, and the tables of chunks grow with it
    /// alone.</summary>
    public const int BlobOctets = 256;

    private static readonly Guid Sender = Guid.Parse("0195536e-8f00-7000-8000-000000000001");
    private static readonly byte[] Finding = Encoding.UTF8.GetBytes(
        """[{"indication":"TOTAL-PASSED","subIndication":null,"reason":{"code":"VALID","vi":"Chữ ký hợp lệ.","en":"The signature is valid."},"intact":true,"trusted":true,"coversWhole":true,"signerIsSender":true,"changesAfterSigning":"none","signer":{"subject":"CN=Văn phòng Tỉnh ủy,O=Tỉnh ủy Song Lam,C=VN","emails":["vanthu@tinhuy.songlam.test"],"issuer":"CN=CA,C=VN","serial":"01ab"},"digestAlgorithm":"SHA-256","claimedTime":"2026-11-21T08:00:00Z","provenTime":null,"path":["CN=Văn phòng Tỉnh ủy","CN=CA","CN=Root"]}]"""
    );
    private readonly StorageKeys _keys = gateway.Node.Identity.Storage;
    private readonly byte[] _content = RandomNumberGenerator.GetBytes(BlobOctets);
    private Frontier _frontier = new();
    private long _nextEntry;
    private int _number;
    private Task _writing = Task.CompletedTask;

    public long Entries => _frontier.Size;

    public Guid Middle { get; private set; }

    public string MiddleNumber { get; private set; } = "";

    public async Task StartAsync()
    {
        await using var connection = new NpgsqlConnection(gateway.Owner);
        await connection.OpenAsync();
        var head = await StoredLedger.HeadAsync(connection, CancellationToken.None);
        _frontier = await TreeRows.FrontierAsync(connection, head?.Size ?? 0, CancellationToken.None);
        _nextEntry = await new ProbeDatabase(gateway.Owner).ScalarAsync<long>(
            "SELECT nextval('ledger.entry_entry_id_seq')");
        _number = 1000;
    }

    /// <summary>One day, in one transaction; it is written while the next one is made.</summary>
    public async Task DayAsync(DateTimeOffset day, int dispatches, Guid recipient, bool middle)
    {
        var rows = new Rows();
        for (var n = 0; n < dispatches; n++)
        {
            // Eight hours of office.
            var at = day + TimeSpan.FromHours(1) + (TimeSpan.FromHours(8) * n / dispatches);
            if (n % 2 == 0)
            {
                Out(rows, at, recipient, n % 100 == 0, middle && n == dispatches / 2 / 2 * 2);
            }
            else
            {
                In(
                    rows,
                    at,
                    recipient,
                    (n % 100) switch
                    {
                        1 => "duplicate",
                        51 => "quarantine",
                        _ => "inbox",
                    });
            }
        }

        var leaves = new List<(long, long, byte[])>();
        var nodes = new List<(NodeId, byte[])>();
        foreach (var (time, agency, kind, subject, commitments, prior) in rows.Entries)
        {
            var entry = new LedgerEntry
            {
                Time = time,
                Agency = agency,
                Kind = kind,
                Object = subject,
                Commitments = commitments,
            };
            var body = entry.ToBytes();
            var hash = MerkleTree.LeafHash(body);
            leaves.Add((_frontier.Size, _nextEntry, hash));
            rows.EntryRows.Add([_nextEntry++, body, hash, subject, kind, agency, time.UtcDateTime, DBNull.Value]);
            _frontier.Append(hash, (id, node) => nodes.Add((id, node)));
            if (_frontier.Size % 3 == 0)
            {
                var checkpoint = Checkpoint.Sign(gateway.Node.Identity.Ledger, _frontier.Size, _frontier.Root());
                rows.Checkpoints.Add([
                    checkpoint.Size,
                    checkpoint.Root.ToArray(),
                    checkpoint.Note.ToArray(),
                    time.UtcDateTime,
                ]);
                if (_frontier.Size % 2 == 0)
                {
                    rows.Peers.Add([
                        $"gateway-{_frontier.Size % 20}.test",
                        checkpoint.Size,
                        checkpoint.Root.ToArray(),
                        checkpoint.Note.ToArray(),
                        "verified",
                        time.UtcDateTime,
                        time.UtcDateTime,
                    ]);
                    rows.Cosignatures.Add([
                        checkpoint.Size,
                        $"gateway-{_frontier.Size % 20}.test/cosigner+0a1b2c3d+B{new string('A', 43)}",
                        "— " + new string('x', 150) + "\n",
                        time.UtcDateTime,
                    ]);
                }
            }
        }

        // The last entries of a day are covered, too.
        if (_frontier.Size % 3 != 0)
        {
            var checkpoint = Checkpoint.Sign(gateway.Node.Identity.Ledger, _frontier.Size, _frontier.Root());
            rows.Checkpoints.Add([
                checkpoint.Size,
                checkpoint.Root.ToArray(),
                checkpoint.Note.ToArray(),
                day.AddHours(10).UtcDateTime,
            ]);
        }

        await _writing;
        var next = _nextEntry;
        _writing = Task.Run(() => WriteAsync(rows, leaves, nodes, next));
    }

    public Task FinishAsync() => _writing;

    private async Task WriteAsync(Rows rows, List<(long, long, byte[])> leaves, List<(NodeId, byte[])> nodes, long next)
    {
        await using var connection = new NpgsqlConnection(
            new NpgsqlConnectionStringBuilder(gateway.Owner) { Options = "-c synchronous_commit=off" }.ConnectionString
        );
        await connection.OpenAsync();
        await using var transaction = await connection.BeginTransactionAsync();
        await CopyAsync(
            connection, "gateway.blob (blob_id, length, sha256, storage_key, wrapped_key, created_at)", rows.Blobs);
        await CopyAsync(connection, "gateway.blob_chunk (blob_id, n, octets)", rows.Chunks);
        await CopyAsync(
            connection, "ledger.entry (entry_id, body, leaf_hash, object, kind, agency, time, prior)", rows.EntryRows);
        await using var batch = new NpgsqlBatch(connection);
        foreach (var insert in TreeRows.Inserts(leaves, nodes))
        {
            batch.BatchCommands.Add(insert);
        }

        await batch.ExecuteNonQueryAsync();
        await CopyAsync(connection, "ledger.checkpoint (size, root, note, time)", rows.Checkpoints);
        await CopyAsync(connection, "ledger.cosignature (size, cosigner, line, stated)", rows.Cosignatures);
        await CopyAsync(
            connection, "ledger.peer_checkpoint (origin, size, root, note, state, seen_at, verified_at)", rows.Peers);
        await CopyAsync(
            connection,
            "gateway.outgoing (dispatch_id, agency_id, state, number_body, number_type, number_period, "
                + "number_value, number_text, manifest_blob, card, card_key, message_blob, accepted_entry, "
                + "signed_entry, signed_digest, accepted_at, queued_at)",
            rows.Outgoing);
        await CopyAsync(connection, "gateway.outgoing_document (dispatch_id, n, blob_id)", rows.OutgoingDocuments);
        await CopyAsync(
            connection,
            "gateway.transmission (transmission_id, kind, dispatch_id, agency_id, recipient_id, "
                + "recipient_code, state, message_blob, entry_id, queued_at, first_sent_at, closed_at, overdue_at, "
                + "receipt_event, receipt_seq)",
            rows.Transmissions);
        await CopyAsync(
            connection, "gateway.received (received_id, peer, envelope_from, blob_id, salt, received_at, proof_asked)",
            rows.Received);
        await CopyAsync(
            connection,
            "gateway.incoming (incoming_id, received_id, agency_id, address, state, kind, place, verdict, "
                + "sender_id, dispatch_id, signed_digest, arrival_year, arrival_number, manifest_blob, card, "
                + "card_key, entry_id, recorded_at, registered_at)",
            rows.Incoming);
        await CopyAsync(connection, "gateway.incoming_document (incoming_id, n, blob_id)", rows.IncomingDocuments);
        await CopyAsync(connection, "gateway.finding (incoming_id, judged_at, verdict, findings)", rows.Findings);
        await CopyAsync(
            connection, "gateway.seen (recipient_id, sender_id, dispatch_id, digest, incoming_id)", rows.Seen);
        await using (
            var command = new NpgsqlCommand(
                $"SELECT setval('ledger.entry_entry_id_seq', {next})", connection, transaction))
        {
            await command.ExecuteScalarAsync();
        }

        await transaction.CommitAsync();
    }

    private void Out(Rows rows, DateTimeOffset at, Guid recipient, bool unanswered, bool middle)
    {
        var (dispatch, transmission, number) = (
            Guid.CreateVersion7(at), Guid.CreateVersion7(at), $"{++_number:00}-CV/VPTU");
        var bytes = ManifestOf(dispatch, at, number, recipient);
        var (manifest, card) = (Blob(rows, at, bytes), Card(dispatch, bytes));
        var message = Blob(rows, at, _content);
        rows.Outgoing.Add([
            dispatch,
            Sender,
            "queued",
            "VPTU",
            "CV",
            $"{at.Year}",
            (long)_number,
            number,
            manifest,
            card.Ciphertext,
            card.Key,
            message,
            _nextEntry,
            _nextEntry + 1,
            Digest,
            at.UtcDateTime,
            at.UtcDateTime,
        ]);
        rows.OutgoingDocuments.Add([dispatch, 1, Blob(rows, at, _content)]);
        rows.Transmissions.Add([
            transmission,
            "dispatch",
            dispatch,
            Sender,
            recipient,
            TwoGateways.AnHoa,
            unanswered ? "sent" : "acknowledged",
            message,
            _nextEntry + 1,
            at.UtcDateTime,
            at.UtcDateTime,
            unanswered ? DBNull.Value : at.AddMinutes(1).UtcDateTime,
            unanswered ? at.AddDays(1).UtcDateTime : DBNull.Value,
            unanswered ? DBNull.Value : "ContentConsignment",
            0,
        ]);
        Entry(rows, at, "dispatch.accepted", dispatch, "manifest");
        Entry(rows, at, "dispatch.signed", dispatch, "content", "message");
        Entry(rows, at, "dispatch.sent", transmission);
        if (!unanswered)
        {
            Receive(rows, at.AddMinutes(1), "receipt", "matched", recipient, dispatch, null);
            Entry(rows, at.AddMinutes(1), "dispatch.acknowledged", transmission, "receipt");
        }

        if (middle)
        {
            (Middle, MiddleNumber) = (dispatch, number);
        }
    }

    private void In(Rows rows, DateTimeOffset at, Guid sender, string place)
    {
        var dispatch = Guid.CreateVersion7(at);
        var manifest = place == "duplicate" ? null : ManifestOf(dispatch, at, "12-CV/UBND", sender);
        var incoming = Receive(rows, at, "dispatch", place, sender, dispatch, manifest);
        if (place == "inbox")
        {
            rows.IncomingDocuments.Add([incoming, 1, Blob(rows, at, _content)]);
            rows.Seen.Add([Sender, sender, dispatch, Digest, incoming]);
            var receipt = Guid.CreateVersion7(at);
            rows.Transmissions.Add([
                receipt,
                "receipt",
                dispatch,
                Sender,
                sender,
                TwoGateways.AnHoa,
                "sent",
                Blob(rows, at, _content),
                _nextEntry,
                at.UtcDateTime,
                at.UtcDateTime,
                DBNull.Value,
                DBNull.Value,
                DBNull.Value,
                1,
            ]);
            Entry(rows, at, "receipt.sent", receipt);
        }
    }

    private Guid Receive(
        Rows rows, DateTimeOffset at, string kind, string place, Guid sender, Guid dispatch, byte[]? manifest)
    {
        var (received, incoming) = (Guid.CreateVersion7(at), Guid.CreateVersion7(at));
        var card = manifest is null ? null : Card(incoming, manifest);
        rows.Received.Add([
            received,
            "gateway-b.test",
            "vanthu@anhoa.songlam.test",
            Blob(rows, at, _content),
            Digest,
            at.UtcDateTime,
            1L,
        ]);
        rows.Incoming.Add([
            incoming,
            received,
            Sender,
            "vanthu@tinhuy.songlam.test",
            "recorded",
            kind,
            place,
            "valid",
            sender,
            dispatch,
            Digest,
            place == "inbox" ? at.Year : DBNull.Value,
            place == "inbox" ? ++_number : DBNull.Value,
            manifest is null ? DBNull.Value : Blob(rows, at, manifest),
            (object?)card?.Ciphertext ?? DBNull.Value,
            (object?)card?.Key ?? DBNull.Value,
            _nextEntry,
            at.UtcDateTime,
            place == "inbox" ? at.UtcDateTime : DBNull.Value,
        ]);
        rows.Findings.Add([incoming, at.UtcDateTime, "valid", Finding]);
        Entry(rows, at, "message.received", incoming, "octets");
        Entry(
            rows, at, place == "matched" ? "receipt.matched" : "message.judged", incoming, "findings", "place",
            "content");
        return incoming;
    }

    private static readonly byte[] Digest = SHA256.HashData("content"u8);

    private void Entry(Rows rows, DateTimeOffset at, string kind, Guid subject, params string[] commitments) =>
        rows.Entries.Add(
            (
                at, Sender, kind, subject.ToString(),
                commitments.ToDictionary(c => c, _ => Commitment.Of(Digest, Digest)), null));

    private Guid Blob(Rows rows, DateTimeOffset at, byte[] octets)
    {
        // Sealed as BlobStore seals; one key for all, since making three million is not what is measured.
        var id = Guid.CreateVersion7(at);
        Span<byte> nonce = stackalloc byte[12];
        Span<byte> associated = stackalloc byte[21];
        BlobRow.Nonce(nonce, 0);
        BlobRow.Associate(associated, id, 0, last: true);
        var sealedRow = new byte[octets.Length + 16];
        Cipher.Encrypt(nonce, octets, sealedRow.AsSpan(0, octets.Length), sealedRow.AsSpan(octets.Length), associated);
        var (name, wrapped) = _keys.Wrap(id, Key);
        rows.Blobs.Add([id, (long)octets.Length, Digest, name, wrapped, at.UtcDateTime]);
        rows.Chunks.Add([id, 0, sealedRow]);
        return id;
    }

    private static readonly byte[] Key = RandomNumberGenerator.GetBytes(32);
    private static readonly AesGcm Cipher = new(Key, 16);

    private EncryptedCard Card(Guid row, byte[] manifest) =>
        DispatchCard.Of(Manifest.Parse(manifest)).Encrypt(_cards, row);

    private static byte[] ManifestOf(Guid dispatch, DateTimeOffset at, string number, Guid other) =>
        new Manifest
        {
            DispatchId = dispatch,
            Issued = at,
            Sender = new Party(Sender, TwoGateways.Province, "Tỉnh ủy Song Lam"),
            Recipients = [new Party(other, TwoGateways.AnHoa, "Đảng ủy xã An Hòa")],
            Fields = new DispatchFields { Number = number, Subject = "V/v triệu tập hội nghị" },
            Documents = [new DocumentDigest("Công văn.pdf", "application/pdf", BlobOctets, Digest)],
            Salt = Digest,
        }.ToBytes();

    private static async Task CopyAsync(NpgsqlConnection connection, string table, List<object[]> rows)
    {
        await using var copy = await connection.BeginBinaryImportAsync($"COPY {table} FROM STDIN BINARY");
        foreach (var row in rows)
        {
            await copy.StartRowAsync();
            foreach (var value in row)
            {
                switch (value)
                {
                    case DBNull:
                        await copy.WriteNullAsync();
                        break;
                    case DateTime time:
                        await copy.WriteAsync(time, NpgsqlDbType.TimestampTz);
                        break;
                    case byte[] json when ReferenceEquals(json, Finding):
                        await copy.WriteAsync(Encoding.UTF8.GetString(json), NpgsqlDbType.Jsonb);
                        break;
                    case byte[] octets:
                        await copy.WriteAsync(octets, NpgsqlDbType.Bytea);
                        break;
                    case Guid id:
                        await copy.WriteAsync(id, NpgsqlDbType.Uuid);
                        break;
                    case long big:
                        await copy.WriteAsync(big, NpgsqlDbType.Bigint);
                        break;
                    case int small:
                        await copy.WriteAsync(small, NpgsqlDbType.Integer);
                        break;
                    default:
                        await copy.WriteAsync((string)value, NpgsqlDbType.Text);
                        break;
                }
            }
        }

        await copy.CompleteAsync();
    }

    private sealed class Rows
    {
        public List<(
            DateTimeOffset Time, Guid Agency, string Kind, string Object, Dictionary<string, string> Commitments,
            string? Prior)> Entries
        { get; } = [];

        public List<object[]> EntryRows { get; } = [];

        public List<object[]> Blobs { get; } = [];

        public List<object[]> Chunks { get; } = [];

        public List<object[]> Checkpoints { get; } = [];

        public List<object[]> Cosignatures { get; } = [];

        public List<object[]> Peers { get; } = [];

        public List<object[]> Outgoing { get; } = [];

        public List<object[]> OutgoingDocuments { get; } = [];

        public List<object[]> Transmissions { get; } = [];

        public List<object[]> Received { get; } = [];

        public List<object[]> Incoming { get; } = [];

        public List<object[]> IncomingDocuments { get; } = [];

        public List<object[]> Findings { get; } = [];

        public List<object[]> Seen { get; } = [];
    }
}
