using System.CommandLine;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using SecureMail.Cms;
using SecureMail.Host.Words;
using SecureMail.Trust;
using SecureMail.Verification;

namespace SecureMail.Host.Commands;

/// <summary>
/// Signs a file of any kind as detached CMS (RFC 5652): the signature stands beside the file, which stays as it is. The
/// certificates between the signer's and the anchor go along.
/// </summary>
internal static class SignCommand
{
    private const int MaxChain = 8;

    public static Command Create()
    {
        var file = new Argument<string>("FILE") { Description = Phrase.Of("sign.argument-file") };
        file.RefuseOptions();
        var output = new Option<string?>("--out")
        {
            Description = Phrase.Of("sign.out"),
            HelpName = "FILE",
        };
        var chain = new Option<string[]>("--chain")
        {
            Description = Phrase.Of("sign.chain"),
            HelpName = "PATH",
        };
        var pss = new Option<bool>("--pss")
        {
            Description = Phrase.Of("sign.pss"),
        };
        var force = CommandLine.Force();
        var keys = new KeySource();
        var json = CommandLine.JsonLines();
        var command = new Command(
            "sign",
            Phrase.Help(
                "sign.help",
                "securemail sign --key \"pkcs11:token=VanThu;object=sign?module-path=/usr/lib/softhsm/libsofthsm2.so\" --pin-file pin.txt --chain ca.pem van-ban.docx",
                "securemail sign --p12 khoa.p12 --p12-password-file mk.txt --out van-ban.p7s van-ban.docx"))
        {
            file,
            output,
            chain,
            pss,
            force,
            json,
        };
        foreach (var option in keys.Options)
        {
            command.Options.Add(option);
        }

        command.SetAction(
            async (parsed, cancellationToken) =>
            {
                var path = parsed.GetValue(file)!;
                var target = parsed.GetValue(output) ?? path + ".p7s";
                await using var content = InputFile.Open(path);
                OutputFile.RequireFree(target, parsed.GetValue(force));
                var given = parsed.GetValue(chain) is { Length: > 0 } paths
                    ? TrustMaterial.LoadCertificates(paths)
                    : [];
                using var opened = keys.OpenSigner(parsed);
                var now = TimeProvider.System.GetUtcNow();
                CertificateUse.RequireValid(opened.Certificate, now);
                var request = new SigningRequest(
                    opened.Certificate, Chain(opened.Certificate, given, opened.Others), DigestFor(opened.Key),
                    SchemeFor(opened.Key, parsed.GetValue(pss)), now);
                // The value is verified with the certificate before it is let out: a key of another certificate is an
                // error, not a bad signature.
                var signature = await CmsSigner.SignDetachedAsync(content, request, opened.Key, cancellationToken);
                await OutputFile.WriteAsync(target, parsed.GetValue(force), to =>
                    to.WriteAsync(signature, cancellationToken).AsTask());
                if (await FileFormats.DetectAsync(content, cancellationToken) == FileFormat.Pdf)
                {
                    Console.Error.WriteLine(Phrase.Of("sign.beside-pdf"));
                }

                CommandLine.Say(
                    parsed.GetValue(json),
                    target,
                    new
                    {
                        File = path,
                        Output = target,
                        Signer = opened.Certificate.Subject,
                    },
                    Phrase.Of("sign.done", target, opened.Certificate.Subject));
                return ExitCode.Done;
            });
        return command;
    }

    /// <summary>Everything given, and of what merely lies beside the key the issuers that lead up; no anchors: who
    /// trusts them has them.</summary>
    private static List<X509Certificate2> Chain(
        X509Certificate2 signer, IReadOnlyList<X509Certificate2> given, IReadOnlyList<X509Certificate2> beside)
    {
        List<X509Certificate2> chain =
        [
            .. given.Where(c => !IsSelfIssued(c) && !c.RawData.AsSpan().SequenceEqual(signer.RawData)),
        ];
        var at = signer;
        // Two authorities that name each other would lead round for ever.
        for (
            var steps = 0;
            steps < MaxChain
                && chain.Concat(beside).FirstOrDefault(c => IsIssuer(c, at)) is { } issuer
                && !IsSelfIssued(issuer);
            steps++)
        {
            if (!chain.Contains(issuer))
            {
                chain.Add(issuer);
            }

            at = issuer;
        }

        return chain;
    }

    private static bool IsIssuer(X509Certificate2 issuer, X509Certificate2 of) =>
        issuer.SubjectName.RawData.AsSpan().SequenceEqual(of.IssuerName.RawData);

    private static bool IsSelfIssued(X509Certificate2 certificate) => IsIssuer(certificate, certificate);

    private static SignatureScheme SchemeFor(AsymmetricAlgorithm key, bool pss) =>
        key switch
        {
            RSA => pss ? SignatureScheme.RsaPss : SignatureScheme.RsaPkcs1,
            _ when pss => throw new UsageException(Phrase.Of("sign.pss-rsa-only")),
            _ => SignatureScheme.Ecdsa,
        };

    // A hash as strong as the curve (RFC 5753 §7).
    private static HashAlgorithmName DigestFor(AsymmetricAlgorithm key) =>
        key switch
        {
            ECDsa { KeySize: > 384 } => HashAlgorithmName.SHA512,
            ECDsa { KeySize: > 256 } => HashAlgorithmName.SHA384,
            _ => HashAlgorithmName.SHA256,
        };
}
