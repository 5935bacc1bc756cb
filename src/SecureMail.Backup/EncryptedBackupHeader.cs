using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using SecureMail.Cms;
using SecureMail.Ledger;

namespace SecureMail.Backup;

/// <summary>What a sealed file says of itself in clear: which piece of which gateway's backup it is. Signed; the key in
/// it is for the recovery key alone.</summary>
/// <param name="Kind"><c>base</c>, <c>keys</c>, <c>manifest</c> or <c>journal</c>.</param>
/// <param name="System">PostgreSQL's identifier of the cluster, so that pieces of two clusters are never mixed.</param>
/// <param name="Position">Where it begins in the write-ahead log; 0 where that means nothing.</param>
/// <param name="Key">CMS AuthEnvelopedData to the recovery certificate: the 32 octets under which the records are
/// sealed.</param>
internal sealed record EncryptedBackupHeader(
    int V, string Kind, string Gateway, DateTimeOffset Made, string System, long Timeline, long Position, byte[] Key)
{
    public const int LongestOctets = 64 * 1024;

    private const int KeySize = 32;

    /// <summary>The header as it stands in the file: CMS SignedData by the gateway's TLS key; and the key it
    /// wraps.</summary>
    public static async Task<(byte[] Octets, byte[] Key)> MakeAsync(
        BackupKeys seal, string kind, WalPlace place, CancellationToken cancellationToken)
    {
        var key = RandomNumberGenerator.GetBytes(KeySize);
        using var envelope = new MemoryStream();
        await CmsEnveloper.EncryptAsync(
            new MemoryStream(key), envelope, [seal.Recovery], ContentCipher.Aes256Gcm, cancellationToken);
        var header = new EncryptedBackupHeader(
            1, kind, seal.Gateway, seal.Time.GetUtcNow(), place.System, place.Timeline, (long)place.Position,
            envelope.ToArray());
        using var signed = new MemoryStream();
        var by = seal.Signer;
        var rsa = by.GetRSAPrivateKey();
        using AsymmetricAlgorithm signing = (AsymmetricAlgorithm?)rsa
            ?? by.GetECDsaPrivateKey()
            ?? throw new InvalidDataException("The gateway's TLS key is neither RSA nor ECDSA.");
        await CmsSigner.SignAttachedAsync(
            new MemoryStream(JsonSerializer.SerializeToUtf8Bytes(header, WireJson.Options)),
            signed,
            new SigningRequest(
                by, [], HashAlgorithmName.SHA256, rsa is null ? SignatureScheme.Ecdsa : SignatureScheme.RsaPkcs1,
                header.Made),
            signing,
            cancellationToken);
        return (signed.ToArray(), key);
    }

    /// <summary>Reads and checks a header: the signature is intact; who signed is for the caller to compare.</summary>
    /// <exception cref="BackupException">Damaged, or not signed.</exception>
    public static async Task<(EncryptedBackupHeader Header, X509Certificate2 Signer)> ReadAsync(
        string file, byte[] octets, CancellationToken cancellationToken)
    {
        try
        {
            using var data = await CmsSignedData.ReadAsync(
                new MemoryStream(octets), cancellationToken: cancellationToken);
            if (
                !data.HasContent
                || data.ContentLength > LongestOctets
                || await data.VerifyAsync(null, cancellationToken: cancellationToken)
                    is not [{ Intact: true, Certificate: { } signer }])
            {
                throw BackupException.Damaged(file, BackupFault.HeaderSignature);
            }

            await using var inside = data.OpenContent();
            using var json = new MemoryStream();
            await inside.CopyToAsync(json, cancellationToken);
            return (WireJson.Read<EncryptedBackupHeader>(json.ToArray(), LongestOctets, "backup header"), signer);
        }
        catch (Exception e)
            when (e is CmsException or WireFormatException or CryptographicException or EndOfStreamException)
        {
            throw BackupException.Damaged(file, BackupFault.HeaderDamaged, e);
        }
    }

    /// <summary>The records' key, by the recovery key.</summary>
    /// <exception cref="BackupException">It is another's, or the envelope was changed.</exception>
    public async Task<byte[]> UnwrapAsync(
        string file, IReadOnlyList<RecipientKey> keys, CancellationToken cancellationToken)
    {
        try
        {
            using var opened = await CmsDecryptor.DecryptAsync(
                new MemoryStream(Key), keys, cancellationToken: cancellationToken);
            var key = new byte[KeySize];
            await using var content = opened.OpenContent();
            if (
                !opened.Authenticated
                || opened.Length != KeySize
                || await content.ReadAtLeastAsync(key, KeySize, throwOnEndOfStream: false, cancellationToken) != KeySize
            )
            {
                throw BackupException.Damaged(file, BackupFault.HeaderKey);
            }

            return key;
        }
        catch (CmsException e)
        {
            throw e.Error is CmsError.NotForUs or CmsError.DecryptionFailed
                ? BackupException.Damaged(file, BackupFault.WrongRecoveryKey, e)
                : BackupException.Damaged(file, BackupFault.HeaderDamaged, e);
        }
    }
}

/// <summary>A place in a cluster's write-ahead log.</summary>
internal readonly record struct WalPlace(string System, long Timeline, ulong Position);

/// <summary>What every sealed file is made with: whom it is encrypted to, and by whom it is signed.</summary>
/// <param name="Recovery">RSA; its private key is kept away from the gateway.</param>
/// <param name="Signer">The gateway's TLS certificate with its key: what its peers pin, so that a forged backup cannot
/// stand before them.</param>
internal sealed record BackupKeys(
    X509Certificate2 Recovery, X509Certificate2 Signer, string Gateway, TimeProvider Time);
