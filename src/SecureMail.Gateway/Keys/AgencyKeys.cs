using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using SecureMail.Cms;
using SecureMail.Exchange;
using SecureMail.Pkcs11;
using SecureMail.Storage;

namespace SecureMail.Gateway.Keys;

/// <summary>
/// The agencies' keys on the configured tokens. The directory says whose a key is: a certificate that the directory
/// lists for an agency and that lies on a token leads to the key beside it. A token is opened when it is first needed
/// and kept open. A token that was pulled out is looked for again.
/// </summary>
/// <remarks>A refused PIN blocks its token until <see cref="PersonActed"/>. No PIN is tried twice, because tokens lock
/// themselves after a few attempts.</remarks>
internal sealed class AgencyKeys(KeyOptions options, CertificateChoice certificates) : IDisposable
{
    private readonly Dictionary<TokenOptions, OpenToken> _open = [];
    private readonly Lock _lock = new();
    private DateTime _lastAct = DateTime.MinValue;

    /// <summary>The best valid certificate of an agency for a use whose key is at hand, with that key.</summary>
    /// <param name="use">One of <see cref="CertificateUse"/>.</param>
    /// <exception cref="KeyUnavailableException">No certificate is valid now, or no token at hand has its
    /// key.</exception>
    public AgencySigner SignerOf(Agency agency, string use)
    {
        var valid = certificates.ForSigning(agency, use);
        if (valid.Count == 0)
        {
            throw new KeyUnavailableException(ReasonCode.SigningCertificateExpired, needsPerson: true);
        }

        KeyUnavailableException? missing = null;
        foreach (var path in valid.Select(v => v.Path))
        {
            try
            {
                if (Find(path[0], Pkcs11KeyUse.Signing, out missing) is { } key)
                {
                    // The anchor is left out, because whoever trusts it has it.
                    return new AgencySigner(path[0], [.. path.Skip(1).SkipLast(1)], key);
                }
            }
            catch (Pkcs11Exception e)
            {
                throw KeyUnavailableException.Of(e);
            }
        }

        throw missing ?? new KeyUnavailableException(ReasonCode.KeyAbsent, needsPerson: false);
    }

    /// <summary>Every key at hand that mail to this agency may have been encrypted to, old ones among them.</summary>
    /// <exception cref="KeyUnavailableException">There is none, and a token that may hold one is not at
    /// hand.</exception>
    public IReadOnlyList<RecipientKey> DecryptersOf(Agency agency)
    {
        List<RecipientKey> keys = [];
        KeyUnavailableException? missing = null;
        foreach (var certificate in agency.CertificatesFor(CertificateUse.Encrypt).Select(c => c.Certificate))
        {
            try
            {
                if (Find(certificate, Pkcs11KeyUse.Decryption, out var absent) is { } key)
                {
                    keys.Add(
                        new RecipientKey(certificate, key)
                        {
                            DecryptOaep = key is RSA rsa
                                ? (p, data) =>
                                    Pkcs11Token.DecryptOaep(rsa, p.Hash, p.MaskHash, p.Label.ToArray(), data)
                                : null,
                        });
                }

                missing ??= absent;
            }
            catch (Pkcs11Exception e)
            {
                missing = KeyUnavailableException.Of(e);
            }
        }

        return keys.Count == 0 && missing is not null ? throw missing : keys;
    }

    /// <summary>
    /// Notes that a person has seen to the tokens, so that a refused PIN may be tried once more. The PIN is tried once
    /// for each act, however many pieces of work the act freed, because many attempts with a PIN that is still wrong
    /// would lock the token.
    /// </summary>
    /// <param name="at">When it was, by the database's clock.</param>
    public void PersonActed(DateTime at)
    {
        lock (_lock)
        {
            if (at <= _lastAct)
            {
                return;
            }

            _lastAct = at;
            foreach (var token in _open.Values)
            {
                token.Token.AllowNextLogin();
            }
        }
    }

    public void Dispose()
    {
        lock (_lock)
        {
            foreach (var token in _open.Values)
            {
                token.Dispose();
            }

            _open.Clear();
        }
    }

    private AsymmetricAlgorithm? Find(
        X509Certificate2 certificate, Pkcs11KeyUse use, out KeyUnavailableException? missing)
    {
        missing = null;
        lock (_lock)
        {
            foreach (var configured in options.Tokens)
            {
                try
                {
                    if (!_open.TryGetValue(configured, out var token))
                    {
                        _open[configured] = token = new OpenToken(
                            Pkcs11Token.Open(Pkcs11Uri.Parse(configured.Uri), () => ReadPin(configured)));
                    }

                    if (token.KeyOf(certificate, use) is { } key)
                    {
                        return key;
                    }
                }
                catch (Pkcs11Exception e)
                    when (e.Fault
                            is Pkcs11Fault.TokenAbsent
                                or Pkcs11Fault.ModuleMissing
                                or Pkcs11Fault.SessionLost
                                or Pkcs11Fault.DeviceError
                                or Pkcs11Fault.Busy)
                {
                    if (_open.Remove(configured, out var gone))
                    {
                        gone.Dispose();
                    }

                    missing = KeyUnavailableException.Of(e);
                }
            }
        }

        return null;
    }

    private static byte[]? ReadPin(TokenOptions token)
    {
        if (token.PinFile is { } file)
        {
            return File.Exists(file) ? SecretFile.ReadPin(file) : null;
        }

        return token.PinEnv is { } name && Environment.GetEnvironmentVariable(name) is { } value
            ? Encoding.UTF8.GetBytes(value)
            : null;
    }

    /// <summary>A token and the keys already opened on it, by the certificate beside them.</summary>
    private sealed class OpenToken(Pkcs11Token token) : IDisposable
    {
        private readonly Dictionary<(string Thumbprint, Pkcs11KeyUse Use), AsymmetricAlgorithm> _keys = [];

        public Pkcs11Token Token => token;

        public AsymmetricAlgorithm? KeyOf(X509Certificate2 certificate, Pkcs11KeyUse use)
        {
            // A key that is not on the token is looked for again each time, because it may be put there while the
            // process runs.
            if (!_keys.TryGetValue((certificate.Thumbprint, use), out var key)
                && token.OpenKeyOf(certificate, use) is { } found)
            {
                _keys[(certificate.Thumbprint, use)] = key = found;
            }

            return key;
        }

        public void Dispose()
        {
            foreach (var key in _keys.Values)
            {
                key.Dispose();
            }

            token.Dispose();
        }
    }
}

/// <summary>A certificate with its key on a token, ready to sign.</summary>
internal sealed record AgencySigner(
    X509Certificate2 Certificate, IReadOnlyList<X509Certificate2> Chain, AsymmetricAlgorithm Key)
{
    /// <summary>The request for the signature of a message. It says what we can read (RFC 8551 §2.5.2), so that the
    /// answer is encrypted with the best cipher that we open.</summary>
    public SigningRequest Request(DateTimeOffset now) =>
        new(
            Certificate, Chain, HashAlgorithmName.SHA256, Key is RSA ? SignatureScheme.RsaPkcs1 : SignatureScheme.Ecdsa,
            now)
        {
            Attributes = [SmimeCapabilities.Ours.Attribute],
        };

    /// <summary>The detached signature, DER.</summary>
    /// <exception cref="KeyUnavailableException">The token went, or refused.</exception>
    public byte[] Sign(PreparedSignature prepared)
    {
        try
        {
            return prepared.SignWith(Key);
        }
        catch (Pkcs11Exception e)
        {
            throw KeyUnavailableException.Of(e);
        }
    }
}

/// <summary>A key is not at hand. The code is one of <see cref="ReasonCode"/>; with <paramref name="needsPerson"/>
/// nothing is tried again until a person acts.</summary>
internal sealed class KeyUnavailableException(string code, bool needsPerson, Exception? inner = null)
    : Exception(code, inner)
{
    public string Code => Message;

    public bool NeedsPerson => needsPerson;

    public static KeyUnavailableException Of(Pkcs11Exception e) =>
        e.Fault switch
        {
            Pkcs11Fault.PinIncorrect or Pkcs11Fault.PinRefused or Pkcs11Fault.PinExpired or Pkcs11Fault.PinRequired =>
                new(ReasonCode.PinRefused, true, e),
            Pkcs11Fault.PinLocked => new(ReasonCode.PinLocked, true, e),
            Pkcs11Fault.KeyAbsent
            or Pkcs11Fault.KeyUnusable
            or Pkcs11Fault.Ambiguous
            or Pkcs11Fault.MechanismUnsupported => new(ReasonCode.KeyAbsent, false, e),
            _ => new(ReasonCode.TokenAbsent, false, e),
        };
}
