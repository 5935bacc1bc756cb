using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Npgsql;
using SecureMail.Cms;
using SecureMail.Exchange;
using SecureMail.Gateway;
using SecureMail.Gateway.Keys;
using SecureMail.Ledger;
using SecureMail.LedgerStore;
using SecureMail.Mail.Mime;
using SecureMail.Smime;
using SecureMail.Storage;

namespace SecureMail.TestKit;

/// <summary>Who can sign in a test: the agencies' tokens, and strangers with keys of their own.</summary>
internal static class TestSigners
{
    private static readonly string[] Labels = ["tinh-uy-song-lam", "an-hoa", "binh-minh", "tinh-uy-thanh-binh"];

    // Kept for the run: tokens are opened once.
    private static readonly Lazy<AgencyKeys> Tokens = new(() =>
    {
        var options = new GatewaySetup
        {
            Name = "test",
            DataFolder = "",
            Anchors = [Path.Combine(TwoGateways.Pki, "root.pem")],
            Intermediates = [Path.Combine(TwoGateways.Pki, "issuing.pem")],
            Crls = [Path.Combine(TwoGateways.Pki, "root.crl.pem"), Path.Combine(TwoGateways.Pki, "issuing.crl.pem")],
            Tokens = [.. Labels.Select(TwoGateways.TokenOf)],
        };
        return new AgencyKeys(
            options.Keys,
            new CertificateChoice(new GatewayTrust(options.Settings.Trust, TimeProvider.System), TimeProvider.System));
    });

    public static AgencySigner Of(Agency agency, string use = CertificateUse.Dispatch) =>
        Tokens.Value.SignerOf(agency, use);

    /// <summary>What opens mail to an agency.</summary>
    public static IReadOnlyList<RecipientKey> KeysOf(Agency agency) => Tokens.Value.DecryptersOf(agency);

    /// <summary>Certified by the agencies' own CA, and in no directory.</summary>
    public static AgencySigner Unlisted(string email)
    {
        using var issuer = X509Certificate2.CreateFromPemFile(
            Path.Combine(TwoGateways.Pki, "issuing.pem"), Path.Combine(TwoGateways.Pki, "ca", "issuing.key"));
        var key = RSA.Create(2048);
        return new AgencySigner(
            Request(email, key)
                .Create(
                    issuer, new DateTimeOffset(issuer.NotBefore), new DateTimeOffset(issuer.NotBefore).AddDays(30),
                    RandomNumberGenerator.GetBytes(8)),
            [X509CertificateLoader.LoadCertificate(issuer.RawData)],
            key);
    }

    /// <summary>Certified by a CA that nobody trusts, for the address of another.</summary>
    public static AgencySigner Stranger(string email)
    {
        using var rootKey = RSA.Create(2048);
        var root = new CertificateRequest("CN=Stranger", rootKey, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        root.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        using var issuer = root.CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(60));
        var key = RSA.Create(2048);
        return new AgencySigner(
            Request(email, key)
                .Create(issuer, DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(30), [1, 2, 3]),
            [X509CertificateLoader.LoadCertificate(issuer.RawData)],
            key);
    }

    private static CertificateRequest Request(string email, RSA key)
    {
        var request = new CertificateRequest("CN=Somebody", key, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(false, false, 0, true));
        request.CertificateExtensions.Add(
            new X509KeyUsageExtension(X509KeyUsageFlags.DigitalSignature | X509KeyUsageFlags.NonRepudiation, true));
        var names = new SubjectAlternativeNameBuilder();
        names.AddEmailAddress(email);
        request.CertificateExtensions.Add(names.Build());
        return request;
    }
}

/// <summary>A message as composed, before its ledger field.</summary>
/// <param name="Digest">SHA-256 of the signed octets.</param>
internal sealed record MadeMail(byte[] Message, byte[] Digest);

/// <summary>What composes and proves: the product's own steps, one by one, so that any of them can be done
/// wrong.</summary>
internal static class TestMail
{
    /// <summary>Signs, and encrypts when there is someone to encrypt to.</summary>
    /// <param name="inner">Changes the octets before they are signed.</param>
    /// <param name="after">Changes them after.</param>
    /// <param name="change">Changes who signs and how.</param>
    public static async Task<MadeMail> SecureAsync(
        OutgoingMessage message, AgencySigner signer, IReadOnlyList<X509Certificate2> encryptTo,
        Func<byte[], byte[]>? inner = null, Func<byte[], byte[]>? after = null,
        Func<SigningRequest, SigningRequest>? change = null)
    {
        var request = signer.Request(DateTimeOffset.UtcNow);
        request = change?.Invoke(request) ?? request;
        using var written = new MemoryStream();
        await SmimeComposer.PrepareAsync(message, encryptTo.Count > 0, request, written);
        var octets = inner is null ? written.ToArray() : inner(written.ToArray());
        var digest = SHA256.HashData(octets);
        var prepared = PreparedSignature.Prepare(request, digest);
        var signedData = signer.Sign(prepared);
        using var content = new MemoryStream(after is null ? octets : after(octets));
        using var output = new MemoryStream();
        if (encryptTo.Count > 0)
        {
            await SmimeComposer.WriteEncryptedAsync(
                message, content, prepared, signedData, encryptTo, ContentCipher.Aes256Gcm, output);
        }
        else
        {
            await SmimeComposer.WriteSignedAsync(message, content, prepared, signedData, output);
        }

        return new MadeMail(output.ToArray(), digest);
    }

    /// <summary>Writes an entry into a gateway's ledger, as one of its steps would.</summary>
    public static async Task<long> AppendAsync(
        RunningGateway gateway, Guid agency, string kind, Guid subject, string content, string? state = null)
    {
        await using var connection = await gateway.Node.Database.Source.OpenConnectionAsync();
        await using var transaction = await connection.BeginTransactionAsync();
        var entry = await StoredLedger.AppendAsync(
            transaction,
            new LedgerEntry
            {
                Time = DateTimeOffset.UtcNow,
                Agency = agency,
                Kind = kind,
                Object = subject.ToString(),
                Commitments = state is null
                    ? new Dictionary<string, string> { ["content"] = content }
                    : new Dictionary<string, string> { ["content"] = content, ["state"] = state },
            },
            CancellationToken.None);
        await transaction.CommitAsync();
        return entry.EntryId;
    }

    /// <summary>The evidence for an entry, once a checkpoint covers it.</summary>
    /// <param name="asker">Whose EHLO reply is answered with proofs; null: none are brought.</param>
    public static async Task<LedgerEvidence> EvidenceAsync(RunningGateway gateway, long entry, RunningGateway? asker)
    {
        IReadOnlyList<long> sizes = [];
        if (asker is not null)
        {
            await using var asking = await asker.Node.Database.Source.OpenConnectionAsync();
            await using var transaction = await asking.BeginTransactionAsync();
            sizes = await PeerLedger.SeenSizesAsync(transaction.Connection!, gateway.Node.Name, CancellationToken.None);
        }

        await using var connection = await gateway.Node.Database.Source.OpenConnectionAsync();
        return await TwoGateways.EventuallyAsync(
            async () =>
            {
                try
                {
                    return await EvidenceBuilder.BuildAsync(connection, entry, sizes, [], CancellationToken.None);
                }
                catch (LedgerException e) when (e.Fault == LedgerFault.NotCovered)
                {
                    return null;
                }
            },
            "a checkpoint");
    }

    public static byte[] WithField(LedgerEvidence evidence, byte[] message) =>
        [.. EvidenceField.Write(evidence), .. message];
}

/// <summary>A dispatch of the province to An Hòa, or whatever a test makes of it.</summary>
internal sealed record TestDispatch(TwoGateways Pair)
{
    public Guid Id { get; init; } = Guid.CreateVersion7();

    public string Sender { get; init; } = TwoGateways.Province;

    /// <summary>The address in From; null: the sender's.</summary>
    public string? From { get; init; }

    /// <summary>Named in the manifest.</summary>
    public IReadOnlyList<string> Recipients { get; init; } = [TwoGateways.AnHoa];

    /// <summary>Null: those named.</summary>
    public IReadOnlyList<string>? EncryptTo { get; init; }

    /// <summary>Null: the sender's token.</summary>
    public AgencySigner? Signer { get; init; }

    public string Subject { get; init; } = "V/v kiểm tra";

    public string? Secrecy { get; init; }

    public IReadOnlyList<(string Name, string Text)> Documents { get; init; } =
    [("Công văn.txt", "Nội dung"), ("Phụ lục.txt", "Bảng")];

    /// <summary>The documents that are in the mail; null: those of the manifest.</summary>
    public IReadOnlyList<(string Name, string Text)>? Enclosed { get; init; }

    public Func<Manifest, Manifest> Change { get; init; } = m => m;

    public Func<byte[], byte[]>? Inner { get; init; }

    public Func<byte[], byte[]>? AfterSigning { get; init; }

    public Func<SigningRequest, SigningRequest>? Request { get; init; }

    /// <summary>The message without its ledger field.</summary>
    public async Task<(MadeMail Mail, Manifest Manifest)> ComposeAsync()
    {
        var directory = await Pair.A.Node.Directory.CurrentAsync(CancellationToken.None);
        Agency AgencyOf(string code) => directory.FindEverByCode(code)!;
        Party PartyOf(string code) => new(AgencyOf(code).Id, code, AgencyOf(code).LastName.Name);
        var sender = AgencyOf(Sender);
        var manifest = Change(
            new Manifest
            {
                DispatchId = Id,
                Issued = DateTimeOffset.UtcNow,
                Sender = PartyOf(Sender),
                Recipients = [.. Recipients.Select(PartyOf)],
                Fields = new DispatchFields
                {
                    Number = $"{RandomNumberGenerator.GetInt32(100, 1_000_000)}-CV/VPTU",
                    Subject = Subject,
                    Secrecy = Secrecy,
                },
                Documents =
                [
                    .. Documents.Select(d => new DocumentDigest(
                        d.Name, "text/plain", Encoding.UTF8.GetByteCount(d.Text),
                        SHA256.HashData(Encoding.UTF8.GetBytes(d.Text)))),
                ],
                Salt = Commitment.NewSalt(),
            });
        var message = new OutgoingMessage
        {
            From = new Mailbox(null, From ?? sender.LastName.Address),
            To = [.. Recipients.Select(r => new Mailbox(null, AgencyOf(r).LastName.Address))],
            Subject = Subject,
            Date = DateTimeOffset.UtcNow,
            MessageId = $"<{Id}@gateway-a.test>",
            Parts =
            [
                new OutgoingPart(MimeContentType.Of(Manifest.MediaType), null, () =>
                    new MemoryStream(manifest.ToBytes())),
                .. (Enclosed ?? Documents).Select(d => new OutgoingPart(MimeContentType.Of("text/plain"), d.Name, () =>
                    new MemoryStream(Encoding.UTF8.GetBytes(d.Text)))),
            ],
        };
        var encryptTo = (EncryptTo ?? Recipients)
            .Select(r => AgencyOf(r).CertificatesFor(CertificateUse.Encrypt).First().Certificate)
            .ToList();
        return (
            await TestMail.SecureAsync(
                message, Signer ?? TestSigners.Of(sender), encryptTo, Inner, AfterSigning, Request),
            manifest);
    }

    /// <summary>The message with the honest evidence of A's ledger.</summary>
    public async Task<byte[]> MakeAsync()
    {
        var (mail, manifest) = await ComposeAsync();
        return TestMail.WithField(await EvidenceAsync(mail, manifest), mail.Message);
    }

    /// <summary>The honest evidence of A's ledger for this dispatch.</summary>
    public async Task<LedgerEvidence> EvidenceAsync(MadeMail mail, Manifest manifest) =>
        await TestMail.EvidenceAsync(Pair.A, await CommitAsync(mail, manifest), Pair.B);

    public Task<long> CommitAsync(MadeMail mail, Manifest manifest) =>
        TestMail.AppendAsync(
            Pair.A, manifest.Sender.Id, "dispatch.signed", manifest.DispatchId,
            Commitment.Of(manifest.Salt, mail.Digest));

    /// <summary>The same, and A's register says that it was sent to these agencies, so that a receipt finds
    /// it.</summary>
    public async Task<byte[]> MakeSentAsync(params string[] sentTo)
    {
        var (mail, manifest) = await ComposeAsync();
        var entry = await CommitAsync(mail, manifest);
        await RegisterAsync(mail, manifest, entry, sentTo);
        return TestMail.WithField(await TestMail.EvidenceAsync(Pair.A, entry, Pair.B), mail.Message);
    }

    public async Task RegisterAsync(MadeMail mail, Manifest manifest, long entry, params string[] sentTo)
    {
        var directory = await Pair.A.Node.Directory.CurrentAsync(CancellationToken.None);
        var blobs = new BlobStore(Pair.A.Node.Database.Source, Pair.A.Node.Identity.Storage);
        await using var connection = await Pair.A.Node.Database.Source.OpenConnectionAsync();
        await using var transaction = await connection.BeginTransactionAsync();
        var manifestBlob = await blobs.WriteAsync(
            transaction, new MemoryStream(manifest.ToBytes()), CancellationToken.None);
        var messageBlob = await blobs.WriteAsync(transaction, new MemoryStream(mail.Message), CancellationToken.None);
        await using (
            var insert = new NpgsqlCommand(
                """
                INSERT INTO gateway.outgoing (dispatch_id, agency_id, state, number_body, number_type, number_period,
                  number_value, number_text, manifest_blob, message_blob, accepted_entry, signed_entry, signed_digest,
                  accepted_at, queued_at)
                VALUES ($1, $2, 'queued', $1::text, '', '2026', 1, $3, $4, $5, $6, $6, $7, now(), now())
                """,
                connection,
                transaction)
            {
                Parameters =
                {
                    new() { Value = manifest.DispatchId },
                    new() { Value = manifest.Sender.Id },
                    new() { Value = manifest.Fields.Number },
                    new() { Value = manifestBlob.Id },
                    new() { Value = messageBlob.Id },
                    new() { Value = entry },
                    new() { Value = mail.Digest },
                },
            })
        {
            await insert.ExecuteNonQueryAsync();
        }

        foreach (var code in sentTo)
        {
            await using var insert = new NpgsqlCommand(
                """
                INSERT INTO gateway.transmission (transmission_id, kind, dispatch_id, agency_id, recipient_id,
                  recipient_code, state, message_blob, entry_id, queued_at, first_sent_at)
                VALUES ($1, 'dispatch', $2, $3, $4, $5, 'sent', $6, $7, now(), now())
                """,
                connection,
                transaction)
            {
                Parameters =
                {
                    new() { Value = Guid.CreateVersion7() },
                    new() { Value = manifest.DispatchId },
                    new() { Value = manifest.Sender.Id },
                    new() { Value = directory.FindEverByCode(code)!.Id },
                    new() { Value = code },
                    new() { Value = messageBlob.Id },
                    new() { Value = entry },
                },
            };
            await insert.ExecuteNonQueryAsync();
        }

        await transaction.CommitAsync();
    }
}
