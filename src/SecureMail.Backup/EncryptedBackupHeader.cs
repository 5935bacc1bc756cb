using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using SecureMail.Cms;
using SecureMail.Ledger;

namespace SecureMail.Backup;

/// <summary>The header of an encrypted backup file: which file of which gateway's backup it is. The header is in clear
/// and signed. The key in it is encrypted to the recovery key.</summary>
/// <param name="Kind"><c>base</c>, <c>keys</c>, <c>manifest</c> or <c>journal</c>.</param>
/// <param name="System">PostgreSQL's identifier of the cluster, so that files of two clusters are never mixed.</param>
/// <param name="Position">The first position in the write-ahead log; 0 for a file without positions in it.</param>
/// <param name="Key">CMS AuthEnvelopedData to the recovery certificate, with the 32 bytes of the key of the
/// records.</param>
internal sealed record EncryptedBackupHeader(
    int V, string Kind, string Gateway, DateTimeOffset Made, string System, long Timeline, long Position, byte[] Key)
{
    /// <summary>The longest header that is read, in bytes.</summary>
    public const int MaxLength = 64 * 1024;

    private const int KeySize = 32;

    /// <summary>Makes the header of a file with a new key. Returns the header as it is in the file, which is CMS
    /// SignedData by the gateway's TLS key, and the key of the records.</summary>
    public static async Task<(byte[] Header, byte[] Key)> MakeAsync(
        BackupKeys keys, string kind, WalPlace place, CancellationToken cancellationToken)
    {
        var key = RandomNumberGenerator.GetBytes(KeySize);
        using var envelope = new MemoryStream();
        await CmsEnveloper.EncryptAsync(
            new MemoryStream(key), envelope, [keys.Recovery], ContentCipher.Aes256Gcm, cancellationToken);
        var header = new EncryptedBackupHeader(
            1, kind, keys.Gateway, keys.Time.GetUtcNow(), place.System, place.Timeline, (long)place.Position,
            envelope.ToArray());
        using var signed = new MemoryStream();
        var signer = keys.Signer;
        var rsa = signer.GetRSAPrivateKey();
        using AsymmetricAlgorithm signerKey = (AsymmetricAlgorithm?)rsa
            ?? signer.GetECDsaPrivateKey()
            ?? throw new InvalidDataException("The gateway's TLS key is neither RSA nor ECDSA.");
        await CmsSigner.SignAttachedAsync(
            new MemoryStream(JsonSerializer.SerializeToUtf8Bytes(header, WireJson.Options)),
            signed,
            new SigningRequest(
                signer, [], HashAlgorithmName.SHA256, rsa is null ? SignatureScheme.Ecdsa : SignatureScheme.RsaPkcs1,
                header.Made),
            signerKey,
            cancellationToken);
        return (signed.ToArray(), key);
    }

    /// <summary>Reads a header and verifies that its signature is intact. The caller compares the signer.</summary>
    /// <exception cref="BackupException">The header is damaged, or is not signed.</exception>
    public static async Task<(EncryptedBackupHeader Header, X509Certificate2 Signer)> ReadAsync(
        string file, byte[] bytes, CancellationToken cancellationToken)
    {
        try
        {
            using var data = await CmsSignedData.ReadAsync(
                new MemoryStream(bytes), cancellationToken: cancellationToken);
            if (
                !data.HasContent
                || data.ContentLength > MaxLength
                || await data.VerifyAsync(null, cancellationToken: cancellationToken)
                    is not [{ Intact: true, Certificate: { } signer }])
            {
                throw BackupException.Damaged(file, BackupFault.HeaderSignature);
            }

            await using var inside = data.OpenContent();
            using var json = new MemoryStream();
            await inside.CopyToAsync(json, cancellationToken);
            return (WireJson.Read<EncryptedBackupHeader>(json.ToArray(), MaxLength, "backup header"), signer);
        }
        catch (Exception e)
            when (e is CmsException or WireFormatException or CryptographicException or EndOfStreamException)
        {
            throw BackupException.Damaged(file, BackupFault.HeaderDamaged, e);
        }
    }

    /// <summary>Decrypts the key of the records with the recovery key.</summary>
    /// <exception cref="BackupException">The recovery key is another one, or the envelope was changed.</exception>
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

/// <summary>A position in a cluster's write-ahead log.</summary>
internal readonly record struct WalPlace(string System, long Timeline, ulong Position);

/// <summary>The keys of an encrypted backup file.</summary>
/// <param name="Recovery">The RSA certificate that the file is encrypted to. Its private key is not kept on the
/// gateway.</param>
/// <param name="Signer">The gateway's TLS certificate with its key. Peers pin this certificate, so the gateway restored
/// from a forged backup could not connect to them.</param>
internal sealed record BackupKeys(
    X509Certificate2 Recovery, X509Certificate2 Signer, string Gateway, TimeProvider Time);
