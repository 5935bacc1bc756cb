using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using SecureMail.Exchange;
using SecureMail.Ledger;

namespace SecureMail.Tests.Exchange;

/// <summary>A manifest, a receipt and a directory that are within their bounds.</summary>
internal sealed class WireSamples : IDisposable
{
    public const string Gateway = "a.test";

    public static readonly DateTimeOffset Start = DateTimeOffset.UnixEpoch.AddYears(50);

    private readonly string _folder = System.IO.Directory.CreateTempSubdirectory("smwire").FullName;

    public void Dispose() => System.IO.Directory.Delete(_folder, recursive: true);

    public static Manifest Manifest() =>
        new()
        {
            DispatchId = Guid.Parse("0192f000-0000-7000-8000-00000000aaaa"),
            Issued = DateTimeOffset.UnixEpoch.AddYears(56),
            Sender = new Party(
                Guid.Parse("0192f000-0000-7000-8000-000000000001"), "H90.SL.001", "Văn phòng Tỉnh ủy Sông Lam"),
            Recipients =
            [
                new Party(Guid.Parse("0192f000-0000-7000-8000-000000000101"), "H90.SL.101", "Đảng ủy xã An Hòa"),
                new Party(Guid.Parse("0192f000-0000-7000-8000-000000000102"), "H90.SL.102", "Đảng ủy xã Bình Minh"),
            ],
            Fields = new DispatchFields
            {
                Number = "36-HD/VPTW",
                Subject = "V/v triệu tập hội nghị",
                TypeName = "Công văn",
                IssuedDate = new DateOnly(2026, 11, 21),
                PageAmount = 3,
                SignerInfo = new Signatory("Chánh Văn phòng", "Nguyễn Văn A"),
                Priority = 1,
            },
            Documents = [new DocumentDigest("Công văn số 1.pdf", "application/pdf", 5, SHA256.HashData("hello"u8))],
            Salt = new byte[32],
        };

    public static Receipt Receipt() =>
        new()
        {
            DispatchId = Guid.Parse("0192f000-0000-7000-8000-00000000aaaa"),
            Sender = Guid.Parse("0192f000-0000-7000-8000-000000000001"),
            Recipient = Guid.Parse("0192f000-0000-7000-8000-000000000101"),
            Event = ReceiptEvent.RelayRejection,
            Digest = new byte[32],
            Verdict = "wrong-sender",
            ArrivalNumber = 7,
            Time = DateTimeOffset.UnixEpoch.AddYears(56),
            Reason = new ReceiptReason("NOT_ADDRESSED_TO_US", "Không gửi cho cơ quan này.", "Not for us."),
            Ledger = "AAAA",
        };

    /// <summary>Two agencies in force from the same day on, at one gateway.</summary>
    public DirectoryDocument Directory()
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var certificate = new CertificateRequest("CN=x", key, HashAlgorithmName.SHA256).CreateSelfSigned(
            DateTimeOffset.UnixEpoch, DateTimeOffset.UnixEpoch.AddYears(1));
        AgencyRecord Agency(int n) =>
            new(
                Guid.Parse($"0192f000-0000-7000-8000-00000000010{n}"), null, null, Start, null,
                [new AgencyGateway(Gateway, Start, null)],
                [new AgencyName($"H90.SL.10{n}", $"Đảng ủy xã số {n}", $"vanthu@xa{n}.test", Start, null)],
                [new AgencyCertificate(CertificateUse.Dispatch, certificate.RawData, Start, null)]);
        using var ledger = Key(NoteKeyKind.Log);
        using var cosigner = Key(NoteKeyKind.Cosigner);
        return new DirectoryDocument
        {
            Version = 1,
            Issued = Start,
            Agencies = [Agency(1), Agency(2)],
            Gateways =
            [
                new GatewayRecord(
                    Gateway, "127.0.0.1", 2525, [new TlsKey(new byte[32], Start, null)],
                    [new LedgerRecord(1, ledger.Verifier.ToString(), Start, null, null)],
                    [new CosignerRecord(cosigner.Verifier.ToString(), Start, null)]),
            ],
        };
    }

    public LedgerKey Key(NoteKeyKind kind, string name = Gateway) =>
        LedgerKey.Create(Path.Combine(_folder, Guid.NewGuid().ToString("N")), name, kind);
}
