using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using SecureMail.Exchange;
using SecureMail.Gateway.Clock;
using SecureMail.Gateway.Registers;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Gateway.Words;
using SecureMail.Ledger;
using SecureMail.LedgerStore;
using SecureMail.Storage;
using SecureMail.Storage.Queue;

namespace SecureMail.Gateway.Inbound;

/// <summary>
/// Inbox → registered: văn thư takes a dispatch in (tiếp nhận). Only that draws its arrival number, in the register of
/// the agency and the year, and its sender hears of it by the next receipt.
/// </summary>
public sealed class Registration
{
    private readonly GatewayDatabase _database;
    private readonly BlobStore _blobs;
    private readonly ClockWatch _clock;
    private readonly TimeProvider _time;

    internal Registration(GatewayDatabase database, BlobStore blobs, ClockWatch clock, TimeProvider time) =>
        (_database, _blobs, _clock, _time) = (database, blobs, clock, time);

    /// <summary>Takes a dispatch in, and answers its arrival number. One that was taken in before keeps its
    /// number.</summary>
    /// <exception cref="RegistrationRefusedException">There is no such message, it is not in the inbox, its content is
    /// erased, or it is not certain which year it is.</exception>
    public async Task<int> RegisterAsync(Guid incoming, Authority by, CancellationToken cancellationToken)
    {
        var now = _time.GetUtcNow();
        try
        {
            await _clock.RequireYearAsync(now, cancellationToken);
        }
        catch (ClockSuspectException e)
        {
            throw new RegistrationRefusedException(e.Message);
        }

        // The number, the entries and the receipt that falls due are one commit.
        return await _database.Source.InTransactionAsync(
            "inbound.register",
            async transaction =>
            {
                var row = await IncomingTable.LockAsync(transaction, incoming, cancellationToken)
                    ?? throw new RegistrationRefusedException("REGISTER_UNKNOWN", incoming);
                if (row.ArrivalNumber is { } known)
                {
                    return known;
                }

                if (row.Disposition != Disposition.Inbox || row.IsErased || row.Manifest is null)
                {
                    throw new RegistrationRefusedException("REGISTER_NOT_IN_INBOX");
                }

                var number = await Register.NextAsync(
                    transaction, row.Agency, RegisterDirection.Incoming, Register.YearOf(now), cancellationToken);
                var manifest = Manifest.Parse(
                    await _blobs.ReadAllAsync(transaction, row.Manifest.Value, Manifest.MaxBytes, cancellationToken));
                var arrival = string.Create(CultureInfo.InvariantCulture, $"{number}/{Register.YearOf(now)}");
                await StoredLedger.AppendAsync(
                    transaction,
                    new LedgerEntry
                    {
                        Time = now,
                        Agency = row.Agency,
                        Kind = EntryKind.MessageRegistered,
                        Object = incoming.ToString(),
                        Actor = by.Actor,
                        Grant = by.Grant,
                        Commitments = new Dictionary<string, string>
                        {
                            ["arrival"] = Commitment.Of(
                                manifest.Salt, SHA256.HashData(Encoding.UTF8.GetBytes(arrival))),
                        },
                    },
                    cancellationToken);
                var seq = row.ReceiptSeq + 1;
                var entry = await StoredLedger.AppendAsync(
                    transaction,
                    new LedgerEntry
                    {
                        Time = now,
                        Agency = row.Agency,
                        Kind = EntryKind.ReceiptStated,
                        Object = incoming.ToString(),
                        Commitments = new Dictionary<string, string>
                        {
                            ["content"] = Commitment.Of(manifest.Salt, row.Digest),
                            ["state"] = CommitmentToState(manifest.Salt, seq, ReceiptState.Registered, number),
                        },
                    },
                    cancellationToken);
                await IncomingTable.RegisterAsync(
                    transaction, incoming, Register.YearOf(now), number, seq, entry.EntryId, now, cancellationToken);
                await WorkQueue.EnqueueAsync(
                    transaction, WorkKind.SendReceipt, incoming, entry.EntryId, cancellationToken: cancellationToken);
                return number;
            },
            cancellationToken);
    }

    /// <summary>What the entry <c>receipt.stated</c> commits to beside the content: the sequence number, the state and
    /// the arrival number of the receipt, separated by spaces (docs/ledger.md).</summary>
    internal static string CommitmentToState(byte[] salt, int seq, string state, int? arrivalNumber) =>
        Commitment.Of(
            salt,
            SHA256.HashData(
                Encoding.UTF8.GetBytes(
                    string.Create(CultureInfo.InvariantCulture, $"{seq} {state} {arrivalNumber}").TrimEnd())));
}

/// <summary>A message was not taken in, and nothing was changed.</summary>
public sealed class RegistrationRefusedException(string code, params object[] arguments)
    : ReasonedException(code, arguments);
