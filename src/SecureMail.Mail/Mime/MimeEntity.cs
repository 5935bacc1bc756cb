using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;

namespace SecureMail.Mail.Mime;

/// <summary>
/// How the body of a leaf is encoded. 7bit and 8bit are left out, because signed parts must pass relays unchanged (RFC
/// 8551 §3.1.2).
/// </summary>
public enum LeafEncoding
{
    /// <summary>For any bytes.</summary>
    Base64,

    /// <summary>For text. LF and CRLF are written as CRLF.</summary>
    QuotedPrintable,
}

/// <summary>
/// An entity to write: a tree of entities that is written in one pass from streams. Every line is US-ASCII, has at most
/// 76 characters, ends with CRLF and has no trailing blanks, and no line begins with "From " or ".", so that relays
/// have no reason to change a signed part. Header values that hold CR, LF or NUL are refused
/// (<see cref="MimeException"/>, UnsafeHeader or InvalidAddress). This class leaves out signing. The caller decides the
/// order of fields.
/// </summary>
public sealed class MimeEntity
{
    private readonly List<(string Name, List<string> Tokens)> _fields = [];
    private readonly Func<Stream>? _open;
    private readonly Func<Stream, CancellationToken, Task>? _produce;
    private readonly LeafEncoding? _encoding;
    private readonly IReadOnlyList<MimeEntity> _children = [];
    private readonly string? _boundary;
    private readonly MimeEntity? _embedded;

    private MimeEntity(
        Func<Stream>? open, LeafEncoding? encoding, IReadOnlyList<MimeEntity> children, string? boundary,
        MimeEntity? embedded, Func<Stream, CancellationToken, Task>? produce = null)
    {
        _open = open;
        _produce = produce;
        _encoding = encoding;
        _children = children;
        _boundary = boundary;
        _embedded = embedded;
    }

    /// <summary>
    /// A leaf whose body comes from a stream, which is opened and closed each time the entity is written. The file name
    /// is written in two forms: RFC 2231 in filename=, and RFC 2047 words in name=.
    /// </summary>
    public static MimeEntity Leaf(
        MimeContentType type, Func<Stream> open, LeafEncoding encoding = LeafEncoding.Base64, string? fileName = null,
        string? disposition = null)
    {
        var entity = new MimeEntity(open, encoding, [], null, null);
        entity.AddLeafFields(type, encoding, fileName, disposition);
        return entity;
    }

    /// <summary>
    /// A leaf with a base64 body that <paramref name="produce"/> makes while the entity is written, such as a
    /// ciphertext.
    /// </summary>
    public static MimeEntity Produced(
        MimeContentType type, Func<Stream, CancellationToken, Task> produce, string? fileName = null)
    {
        var entity = new MimeEntity(null, LeafEncoding.Base64, [], null, null, produce);
        entity.AddLeafFields(type, LeafEncoding.Base64, fileName, null);
        return entity;
    }

    /// <summary>UTF-8 text as quoted-printable.</summary>
    public static MimeEntity Text(string text, string mediaType = "text/plain") =>
        Leaf(
            MimeContentType.Of(mediaType, ("charset", "utf-8")), () => new MemoryStream(Encoding.UTF8.GetBytes(text)),
            LeafEncoding.QuotedPrintable);

    /// <summary>
    /// A multipart with a fresh random boundary. Its Content-Type has <paramref name="parameters"/> and the boundary.
    /// </summary>
    public static MimeEntity Multipart(
        string subtype, IReadOnlyList<MimeEntity> children, params ReadOnlySpan<(string Name, string Value)> parameters)
    {
        if (children.Count == 0)
        {
            throw new ArgumentException("A multipart has at least one part.", nameof(children));
        }
        // RFC 2045 §6.7 (note): "=_" occurs in no quoted-printable and no base64 text, so the boundary cannot occur in
        // a body.
        var boundary = $"=_{Base64Url.EncodeToString(RandomNumberGenerator.GetBytes(18))}";
        var entity = new MimeEntity(null, null, children, boundary, null);
        entity.AddContentType(MimeContentType.Of($"multipart/{subtype}", [.. parameters, ("boundary", boundary)]));
        return entity;
    }

    /// <summary>A message/rfc822 part.</summary>
    public static MimeEntity Embedded(MimeEntity message)
    {
        var entity = new MimeEntity(null, null, [], null, message);
        entity.AddContentType(MimeContentType.Of("message/rfc822"));
        return entity;
    }

    /// <summary>An entity whose header and body are already written: its bytes are copied unchanged.</summary>
    public static MimeEntity Written(Func<Stream> open) => new(open, null, [], null, null);

    /// <summary>
    /// Adds a field of free text such as Subject. Text beyond US-ASCII is written as encoded words (RFC 2047).
    /// </summary>
    public MimeEntity AddText(string name, string text) => Add(name, HeaderText.TokensOf(text));

    /// <summary>
    /// Adds a field of addresses such as From or To. An empty list is written as an empty group (RFC 5322 §3.4).
    /// </summary>
    public MimeEntity AddMailboxes(string name, IReadOnlyList<Mailbox> mailboxes)
    {
        List<string> tokens = mailboxes.Count == 0 ? ["undisclosed-recipients:;"] : [];
        foreach (var mailbox in mailboxes)
        {
            if (tokens.Count > 0)
            {
                tokens[^1] += ",";
            }

            tokens.AddRange(mailbox.ToTokens());
        }

        return Add(name, tokens);
    }

    /// <summary>
    /// Writes only the lines of a base64 body. They may follow lines already written if the bytes of those were a
    /// multiple of three, because such lines end without padding.
    /// </summary>
    public static Task WriteBase64Async(Stream bytes, Stream output, CancellationToken cancellationToken = default) =>
        TransferEncoding.WriteBase64Async(bytes, output, cancellationToken);

    /// <summary>Adds a field that holds a date, such as Date (RFC 5322 §3.3).</summary>
    public MimeEntity AddDate(string name, DateTimeOffset date) => AddRaw(name, MailDate.Format(date));

    /// <summary>
    /// Adds a field whose value already follows the field's grammar and is US-ASCII. The value is folded at its spaces.
    /// </summary>
    public MimeEntity AddRaw(string name, string value) => Add(name, [.. value.Split(' ')]);

    /// <summary>Adds a Content-Type or another field of the same grammar.</summary>
    public MimeEntity AddContentType(MimeContentType type, string name = "Content-Type") => Add(name, type.ToTokens());

    /// <summary>Adds a parameter to the Content-Type that the entity has.</summary>
    public MimeEntity AddTypeParameter(string name, string value)
    {
        var field = _fields.First(f => f.Name == "Content-Type");
        MimeContentType.Append(field.Tokens, name, value, wordsForOlderClients: false);
        HeaderText.RequireField(field.Name, field.Tokens);
        return this;
    }

    /// <summary>
    /// Inserts fields before those that the entity has: the fields of a message before those of its body.
    /// </summary>
    public MimeEntity Prepend(MimeEntity fields)
    {
        _fields.InsertRange(0, fields._fields);
        return this;
    }

    /// <summary>
    /// Adds a field of that name for each field of <paramref name="fields"/>. The value is that whole field, name
    /// included (RFC 9788 §2.2).
    /// </summary>
    public MimeEntity AddFieldsAs(string name, MimeEntity fields)
    {
        foreach (var (inner, tokens) in fields._fields)
        {
            Add(name, [$"{inner}:", .. tokens]);
        }

        return this;
    }

    /// <summary>An entity that has fields only, for <see cref="Prepend"/>.</summary>
    public static MimeEntity Fields() => new(null, null, [], null, null);

    /// <summary>
    /// Writes header and body. The last line ends with CRLF, unless the bytes of a <see cref="Written"/> entity do not
    /// end with CRLF.
    /// </summary>
    public async Task WriteAsync(Stream output, CancellationToken cancellationToken = default)
    {
        if (_open is not null && _encoding is null)
        {
            await using var written = _open();
            await written.CopyToAsync(output, cancellationToken);
            return;
        }

        var header = string.Concat(_fields.Select(f => HeaderText.Fold(f.Name, f.Tokens)));
        await output.WriteAsync(Encoding.ASCII.GetBytes(header + "\r\n"), cancellationToken);
        if (_embedded is not null)
        {
            await _embedded.WriteAsync(output, cancellationToken);
        }
        else if (_produce is not null)
        {
            var encoder = new Base64Writer(output);
            await _produce(encoder, cancellationToken);
            await encoder.FinishAsync(cancellationToken);
        }
        else if (_encoding is { } encoding)
        {
            await using var source = _open!();
            if (encoding == LeafEncoding.Base64)
            {
                await TransferEncoding.WriteBase64Async(source, output, cancellationToken);
            }
            else
            {
                await TransferEncoding.WriteQuotedPrintableAsync(source, output, cancellationToken);
            }
        }
        else if (_boundary is not null)
        {
            // RFC 2046 §5.1.1: the CRLF before a delimiter belongs to the delimiter, so each part keeps its own last
            // CRLF as well.
            foreach (var child in _children)
            {
                await output.WriteAsync(Encoding.ASCII.GetBytes($"\r\n--{_boundary}\r\n"), cancellationToken);
                await child.WriteAsync(output, cancellationToken);
            }

            await output.WriteAsync(Encoding.ASCII.GetBytes($"\r\n--{_boundary}--\r\n"), cancellationToken);
        }
    }

    private static MimeContentType WithName(MimeContentType type, string fileName) =>
        MimeContentType.Of(type.MediaType, [.. type.Parameters.Select(p => (p.Key, p.Value)), ("name", fileName)]);

    private MimeEntity Add(string name, List<string> tokens)
    {
        HeaderText.RequireField(name, tokens);
        _fields.Add((name, tokens));
        return this;
    }

    private void AddLeafFields(MimeContentType type, LeafEncoding encoding, string? fileName, string? disposition)
    {
        AddContentType(fileName is null ? type : WithName(type, fileName));
        if (fileName is not null || disposition is not null)
        {
            List<string> tokens = [disposition ?? "attachment"];
            if (fileName is not null)
            {
                MimeContentType.Append(tokens, "filename", fileName, wordsForOlderClients: false);
            }

            Add("Content-Disposition", tokens);
        }

        AddRaw("Content-Transfer-Encoding", encoding == LeafEncoding.Base64 ? "base64" : "quoted-printable");
    }
}
