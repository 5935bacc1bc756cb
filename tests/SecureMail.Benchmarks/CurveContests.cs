using System.Security.Cryptography;
using SecureMail.Libcrypto;

namespace SecureMail.Benchmarks;

/// <summary>
/// Ed25519 and X25519, which BouncyCastle computes for us, against the host's libcrypto by EVP_PKEY_*. Both sides load
/// a private key for each use, as the ledger and the envelope do, and keep a public key that verifies.
/// </summary>
internal sealed class CurveContests : IDisposable
{
    private const string OpenSsl = "openssl libcrypto EVP_PKEY_*";
    private const string SignName = "curve.ed25519.sign";
    private const string VerifyName = "curve.ed25519.verify";
    private const string AgreeName = "curve.x25519.agree";

    private readonly byte[] _seed = Ed25519.GenerateSeed();
    private readonly byte[] _message = RandomNumberGenerator.GetBytes(300);
    private readonly byte[] _private = RandomNumberGenerator.GetBytes(X25519Key.Size);
    private readonly List<IDisposable> _keys = [];

    public IReadOnlyList<(string Name, Func<Contest> Make)> All =>
        [(SignName, Sign), (VerifyName, Verify), (AgreeName, Agree)];

    public void Dispose() => _keys.ForEach(k => k.Dispose());

    private Contest Sign() =>
        Row(
            SignName, 0.5, () => Ed25519.Sign(_seed, _message), () => OpenSslCurves.Sign(_seed, _message));

    private Contest Verify()
    {
        var publicKey = Ed25519.PublicKeyOf(_seed);
        var signature = Ed25519.Sign(_seed, _message);
        var ours = Keep(VerificationKey.TryEd25519(publicKey)!);
        var theirs = Keep(new OpenSslCurves.PublicKey(publicKey));
        return Row(
            VerifyName, 0.7, () => [Convert.ToByte(ours.VerifyEd25519(_message, signature))],
            () => [Convert.ToByte(theirs.Verify(_message, signature))]);
    }

    private Contest Agree()
    {
        using var other = X25519Key.Generate();
        var peer = other.PublicKey.ToArray();
        return Row(
            AgreeName, 0.5,
            () =>
            {
                using var own = X25519Key.FromRaw(_private);
                var secret = new byte[X25519Key.Size];
                return own.TryDerive(peer, secret) ? secret : [];
            },
            () => OpenSslCurves.Agree(_private, peer));
    }

    private T Keep<T>(T key) where T : IDisposable
    {
        _keys.Add(key);
        return key;
    }

    private static Contest Row(string name, double goal, Func<byte[]> ours, Func<byte[]> theirs) =>
        new(
            name,
            goal,
            OpenSsl,
            1,
            "call",
            () =>
            {
                ours();
                return Task.CompletedTask;
            },
            () => theirs(),
            () => ours() is var result && result.Any(b => b != 0) && result.SequenceEqual(theirs())
                ? Task.CompletedTask
                : throw new InvalidOperationException("The two sides do not agree."));
}
