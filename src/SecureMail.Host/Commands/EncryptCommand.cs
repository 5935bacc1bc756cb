using System.CommandLine;
using System.IO.Pipelines;
using SecureMail.Cms;
using SecureMail.Host.Words;
using SecureMail.Mail.Mime;
using SecureMail.Trust;
using SecureMail.Verification;

namespace SecureMail.Host.Commands;

/// <summary>Encrypts a file to certificates, as CMS or as a MIME message that mail programs open. It is not signed:
/// sign it first.</summary>
internal static class EncryptCommand
{
    public static Command Create()
    {
        var file = new Argument<string>("FILE") { Description = Phrase.Of("encrypt.argument-file") };
        file.RefuseOptions();
        var to = new Option<string[]>("--to")
        {
            Description = Phrase.Of("encrypt.to"),
            HelpName = "CERT",
            Required = true,
        };
        var cbc = new Option<bool>("--cbc")
        {
            Description = Phrase.Of("encrypt.cbc"),
        };
        var smime = new Option<bool>("--smime")
        {
            Description = Phrase.Of("encrypt.smime"),
        };
        var output = new Option<string?>("--out")
        {
            Description = Phrase.Of("encrypt.out"),
            HelpName = "FILE",
        };
        var force = CommandLine.Force();
        var json = CommandLine.JsonLines();
        var command = new Command(
            "encrypt",
            Phrase.Help("encrypt.help", "securemail encrypt --to an-hoa.pem --to binh-minh.pem van-ban.docx"))
        {
            file,
            to,
            cbc,
            smime,
            output,
            force,
            json,
        };
        command.SetAction(
            async (parsed, cancellationToken) =>
            {
                var path = parsed.GetValue(file)!;
                var asMail = parsed.GetValue(smime);
                var target = parsed.GetValue(output) ?? path + (asMail ? ".eml" : ".p7m");
                await using var content = InputFile.Open(path);
                OutputFile.RequireFree(target, parsed.GetValue(force));
                var recipients = TrustMaterial.LoadCertificates(parsed.GetValue(to)!);
                foreach (var recipient in recipients)
                {
                    CertificateUse.RequireEncryption(recipient, TimeProvider.System.GetUtcNow());
                }

                CipherChoice cipher = parsed.GetValue(cbc) ? ContentCipher.Aes256Cbc : ContentCipher.Aes256Gcm;
                var isEntity = await FileFormats.DetectAsync(content, cancellationToken) == FileFormat.Mime;
                Task EncryptAsync(Stream inner, Stream cms, CancellationToken token) =>
                    CmsEnveloper.EncryptAsync(inner, cms, recipients, cipher, token);
                await OutputFile.WriteAsync(target, parsed.GetValue(force), stream =>
                    !asMail
                        ? EncryptAsync(content, stream, cancellationToken)
                        : MailOf(cipher, (cms, token) =>
                                isEntity
                                    ? EncryptAsync(content, cms, token)
                                    : EncryptWrappedAsync(content, Path.GetFileName(path), cms, EncryptAsync, token))
                            .WriteAsync(stream, cancellationToken));
                CommandLine.Say(
                    parsed.GetValue(json),
                    target,
                    new
                    {
                        File = path,
                        Output = target,
                        Recipients = recipients.Select(r => r.Subject).ToArray(),
                    },
                    Phrase.Of("encrypt.done", target));
                return ExitCode.Done;
            });
        return command;
    }

    private static MimeEntity MailOf(CipherChoice cipher, Func<Stream, CancellationToken, Task> produce) =>
        // RFC 8551 §3.2.2
        MimeEntity
            .Produced(
                MimeContentType.Of("application/pkcs7-mime", ("smime-type", cipher.SmimeType)), produce, "smime.p7m")
            .Prepend(MimeEntity.Fields().AddRaw("MIME-Version", "1.0"));

    /// <summary>RFC 8551 §3.1: what is encrypted into a message is a MIME entity, so a file of another kind becomes an
    /// attachment first.</summary>
    private static async Task EncryptWrappedAsync(
        Stream content, string name, Stream cms, Func<Stream, Stream, CancellationToken, Task> encrypt,
        CancellationToken cancellationToken)
    {
        var pipe = new Pipe();
        var writing = WriteAsync();
        try
        {
            await encrypt(pipe.Reader.AsStream(), cms, cancellationToken);
        }
        finally
        {
            await pipe.Reader.CompleteAsync();
            await writing;
        }

        async Task WriteAsync()
        {
            Exception? fault = null;
            try
            {
                await MimeEntity
                    .Leaf(MimeContentType.Of("application/octet-stream"), () => content, LeafEncoding.Base64, name)
                    .WriteAsync(pipe.Writer.AsStream(), cancellationToken);
            }
            catch (Exception e)
            {
                fault = e; // the reader's side throws it
            }

            await pipe.Writer.CompleteAsync(fault);
        }
    }
}
