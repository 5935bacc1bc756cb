using System.CommandLine;
using System.Globalization;
using SecureMail.Exchange;
using SecureMail.Gateway;
using SecureMail.Gateway.Outbound;
using SecureMail.Gateway.Policy;
using SecureMail.Host.Settings;
using SecureMail.Host.Words;
using SecureMail.Shared;
using SecureMail.Storage;

namespace SecureMail.Host.Commands;

/// <summary>Gives documents to the gateway for agencies; when it answers, the dispatch is durable and the gateway does
/// the rest.</summary>
internal static class SendCommand
{
    private const int MostAttempts = 3;

    private static readonly Dictionary<string, string> MediaTypes = new(StringComparer.OrdinalIgnoreCase)
    {
        [".pdf"] = "application/pdf",
        [".docx"] = "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        [".xlsx"] = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        [".pptx"] = "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        [".doc"] = "application/msword",
        [".xls"] = "application/vnd.ms-excel",
        [".odt"] = "application/vnd.oasis.opendocument.text",
        [".txt"] = "text/plain",
        [".xml"] = "application/xml",
        [".zip"] = "application/zip",
        [".png"] = "image/png",
        [".jpg"] = "image/jpeg",
    };

    public static Command Create()
    {
        var from = new Option<string>("--from")
        {
            Description = Phrase.Of("send.from"),
            Required = true,
        };
        var to = new Option<string[]>("--to")
        {
            Description = Phrase.Of("send.to"),
            Required = true,
        };
        var subject = new Option<string>("--subject") { Description = Phrase.Of("send.subject"), Required = true };
        var number = new Option<string?>("--number")
        {
            Description = Phrase.Of("send.number"),
        };
        var notation = new Option<string?>("--notation")
        {
            Description = Phrase.Of("send.notation"),
        };
        var type = new Option<string?>("--type") { Description = Phrase.Of("send.type") };
        var date = new Option<string?>("--date")
        {
            Description = Phrase.Of("send.date"),
        };
        var signer = new Option<string?>("--signer")
        {
            Description = Phrase.Of("send.signer"),
        };
        var priority = new Option<int>("--priority") { Description = Phrase.Of("send.priority") };
        var secrecy = new Option<string?>("--secrecy")
        {
            Description = Phrase.Of("send.secrecy"),
        };
        var id = new Option<Guid?>("--id")
        {
            Description = Phrase.Of("send.id"),
        };
        var json = CommandLine.JsonLines();
        var files = new Argument<FileInfo[]>("FILE")
        {
            Description = Phrase.Of("send.argument-file"),
            Arity = ArgumentArity.OneOrMore,
        };
        return GatewayCommand.CreateUnopened(
            "send",
            Phrase.Help(
                "send.help",
                "securemail send --from H90.SL.001 --to H90.SL.101 --to H90.SL.102 --notation CV/TU --subject \"V/v triệu tập họp\" congvan.pdf"),
            [from, to, subject, number, notation, type, date, signer, priority, secrecy, id, json, files],
            async (settings, parsed, cancellationToken) =>
            {
                var documents = parsed.GetValue(files)!;
                if (documents.FirstOrDefault(f => !f.Exists) is { } missing)
                {
                    throw new FileNotFoundException(Phrase.Of("send.no-file", missing.Name));
                }

                if (
                    parsed.GetValue(date) is { } text
                    && !DateOnly.TryParseExact(
                        text, "yyyy-MM-dd", CultureInfo.InvariantCulture, DateTimeStyles.None, out _))
                {
                    throw new UsageException(Phrase.Of("send.date-form"));
                }

                var answer = await SubmitAsync(
                    settings,
                    new Submission
                    {
                        DispatchId = parsed.GetValue(id) ?? Guid.CreateVersion7(),
                        Sender = parsed.GetValue(from)!,
                        Recipients = parsed.GetValue(to)!,
                        Number = parsed.GetValue(number),
                        Notation = parsed.GetValue(notation),
                        Fields = new DispatchFields
                        {
                            Number = "",
                            Subject = parsed.GetValue(subject)!,
                            TypeName = parsed.GetValue(type),
                            IssuedDate = parsed.GetValue(date) is { } d
                                ? DateOnly.ParseExact(d, "yyyy-MM-dd", CultureInfo.InvariantCulture)
                                : null,
                            SignerInfo = SignatoryOf(parsed.GetValue(signer)),
                            Priority = parsed.GetValue(priority),
                            Secrecy = parsed.GetValue(secrecy),
                        },
                        Documents = documents
                            .Select(f => new SubmittedDocument(
                                f.Name, MediaTypes.GetValueOrDefault(f.Extension, "application/octet-stream"),
                                () => new DocumentStream(f)))
                            .ToAsyncEnumerable(),
                    },
                    cancellationToken);
                if (parsed.GetValue(json))
                {
                    CommandLine.WriteJson(answer);
                }
                else
                {
                    Console.Out.WriteLine(Phrase.Of("send.accepted", answer.Number, answer.DispatchId));
                    foreach (var recipient in answer.Recipients)
                    {
                        Console.Out.WriteLine(
                            recipient.Refusal is { } refusal
                                ? $"  ✗ {recipient.Code} {recipient.Name}: {refusal.Vi} / {refusal.En}"
                                : $"  ✓ {recipient.Code} {recipient.Name}");
                    }
                }

                return answer.Recipients.Any(r => r.Refusal is not null) ? ExitCode.Wanting : ExitCode.Done;
            });
    }

    /// <summary>The running gateway is asked. Where none runs for this folder, the command opens the database
    /// itself.</summary>
    private static async Task<SubmissionAnswer> SubmitAsync(
        GatewaySettings settings, Submission submission, CancellationToken cancellationToken)
    {
        for (var attempt = 1; ; attempt++)
        {
            using var gateway = await GatewayClient.FindAsync(settings.Database.DataFolder, cancellationToken);
            if (gateway is null)
            {
                break;
            }

            try
            {
                return await gateway.SubmitAsync(submission, cancellationToken);
            }
            // It ended meanwhile. The same id is accepted once, so it is asked again.
            catch (HttpRequestException e)
            {
                if (attempt == MostAttempts)
                {
                    throw new StorageUnavailableException(
                        StorageFault.AcceptanceUnknown, [$"{submission.DispatchId}"],
                        "The connection to the gateway was lost.", e);
                }
            }
        }

        SubmissionAnswer? answer = null;
        await GatewayCommand.RunAsync<OutboundFlow, OperatorAccount>(
            settings,
            async (outbound, person) =>
            {
                answer = await outbound.SubmitAsync(
                    submission with { By = await person.AuthorityAsync(cancellationToken) }, cancellationToken);
                return ExitCode.Done;
            },
            cancellationToken);
        return answer!;
    }

    /// <summary>One of the files, read once. A file that became shorter meanwhile ends where it ends.</summary>
    /// <exception cref="InvalidDataException">It cannot be read to its end. An IOException would pass for a fault of
    /// the connection on which the file is sent.</exception>
    private sealed class DocumentStream(FileInfo file) : ReadStream
    {
        private readonly FileStream _file = file.OpenRead();

        public override async ValueTask<int> ReadAsync(
            Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            try
            {
                return await _file.ReadAsync(buffer, cancellationToken);
            }
            catch (IOException e)
            {
                throw new InvalidDataException(Phrase.Of("send.cannot-read", file.Name), e);
            }
        }

        protected override void Dispose(bool disposing)
        {
            _file.Dispose();
            base.Dispose(disposing);
        }
    }

    private static Signatory? SignatoryOf(string? text)
    {
        if (text is null)
        {
            return null;
        }

        var parts = text.Split(';', 2, StringSplitOptions.TrimEntries);
        return parts is [{ Length: > 0 } name, { Length: > 0 } position]
            ? new Signatory(position, name)
            : throw new UsageException(Phrase.Of("send.signer-form"));
    }
}
