using System.Buffers;
using System.Globalization;
using System.Text;

namespace SecureMail.Ledger;

/// <summary>
/// One entry of the ledger: who did what to which object, and when. Its bytes are canonical JSON (RFC 8785) of one
/// fixed shape, so that an entry can be written in exactly one way and a reader in any language can hash it:
/// <code>{"actor":null,"agency":"…","commitments":{"name":"sha256:…"},"grant":null,"kind":"…","object":"…",
///  "prior":null,"time":"…","v":2}</code>
/// Version 1, which earlier builds wrote, has neither <c>actor</c> nor <c>grant</c>. The index is not inside, because
/// the sequencer gives it later. The bytes are frozen by tests/vectors/ledger.
/// </summary>
/// <remarks>
/// Every string is limited to an ASCII alphabet without quotation mark and backslash. Then RFC 8785's escapes and its
/// sorting by UTF-16 units never apply, and the parser can compare the bytes literally instead of serialising again.
/// </remarks>
public sealed record LedgerEntry
{
    /// <summary>The version that is written.</summary>
    public const int Newest = 2;

    /// <summary>The longest entry in bytes. 64 commitments with the longest names stay below it.</summary>
    public const int MaxBytes = 16 * 1024;

    public const int MaxCommitments = 64;
    private const int MaxObject = 200;
    private const int MaxName = 64;
    private const string TimeFormat = "yyyy-MM-dd'T'HH:mm:ss.fff'Z'";

    private static readonly SearchValues<char> KindAlphabet = SearchValues.Create(
        "abcdefghijklmnopqrstuvwxyz0123456789.-");
    private static readonly SearchValues<char> NameAlphabet = SearchValues.Create(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");
    private static readonly SearchValues<char> ObjectAlphabet = SearchValues.Create(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-:/@+<>=");
    private static readonly SearchValues<char> LowerHex = SearchValues.Create("0123456789abcdef");

    private readonly DateTimeOffset _time;

    /// <summary>1 or 2. An entry that was read is written again in its own version.</summary>
    public int Version { get; init; } = Newest;

    /// <summary>The random UUID of the person who acted. Null: the gateway itself. Version 1 has none.</summary>
    public Guid? Actor { get; init; }

    /// <summary>The id of the grant or approval by which it was done: 1 to 200 of the alphabet of
    /// <see cref="Object"/>; or null. Version 1 has none.</summary>
    public string? Grant { get; init; }

    /// <summary>When the event happened, in UTC. The time is truncated to the millisecond.</summary>
    public required DateTimeOffset Time
    {
        get => _time;
        init =>
            _time = new DateTimeOffset(value.UtcTicks - (value.UtcTicks % TimeSpan.TicksPerMillisecond), TimeSpan.Zero);
    }

    public required Guid Agency { get; init; }

    /// <summary>The kind of the event, such as <c>dispatch.accepted</c>: 1 to 64 of <c>a-z 0-9 . -</c>.</summary>
    public required string Kind { get; init; }

    /// <summary>The id of the object: 1 to 200 of <c>A-Z a-z 0-9 . _ - : / @ + &lt; &gt; =</c>.</summary>
    public required string Object { get; init; }

    /// <summary>At most 64 commitments: from a name (1 to 64 of <c>A-Z a-z 0-9 . _ -</c>) to the text that
    /// <see cref="Commitment.Of"/> made.</summary>
    public IReadOnlyDictionary<string, string> Commitments { get; init; } = new Dictionary<string, string>();

    /// <summary>The leaf hash of the object's previous entry, 64 lower-case hexadecimal digits. Null for the first
    /// entry of an object.</summary>
    public string? Prior { get; init; }

    /// <summary>The canonical bytes.</summary>
    /// <exception cref="ArgumentException">A field is outside the alphabet or length given above.</exception>
    public byte[] ToBytes()
    {
        if (Validate() is { } fault)
        {
            throw new ArgumentException(fault);
        }

        var text = new StringBuilder(512).Append('{');
        if (Version > 1)
        {
            AppendMember(text, "actor", Actor?.ToString("D")).Append(',');
        }

        AppendMember(text, "agency", Agency.ToString("D")).Append(",\"commitments\":{");
        var first = true;
        foreach (var (name, value) in Commitments.OrderBy(pair => pair.Key, StringComparer.Ordinal))
        {
            text.Append(first ? "\"" : ",\"").Append(name).Append("\":\"").Append(value).Append('"');
            first = false;
        }
        text.Append("},");
        if (Version > 1)
        {
            AppendMember(text, "grant", Grant).Append(',');
        }

        AppendMember(text, "kind", Kind).Append(',');
        AppendMember(text, "object", Object).Append(',');
        AppendMember(text, "prior", Prior).Append(',');
        AppendMember(text, "time", Time.ToString(TimeFormat, CultureInfo.InvariantCulture));
        text.Append(CultureInfo.InvariantCulture, $",\"v\":{Version}}}");
        return Encoding.ASCII.GetBytes(text.ToString());
    }

    /// <summary>Reads the canonical bytes. Any other spelling of the same values is refused.</summary>
    /// <exception cref="LedgerException">Malformed or TooLarge.</exception>
    public static LedgerEntry Parse(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length > MaxBytes)
        {
            throw new LedgerException(LedgerFault.TooLarge, $"A ledger entry is at most {MaxBytes} bytes.");
        }

        var at = new Cursor(bytes);
        at.Expect("{"u8);
        var (version, actor) = (1, (Guid?)null);
        if (at.Skip("\"actor\":"u8))
        {
            version = 2;
            actor = at.OrNull(36) is { } person ? ReadId(person, "actor") : null;
            at.Expect(","u8);
        }

        at.Expect("\"agency\":\""u8);
        var agency = ReadId(at.UntilQuote(36), "agency");
        at.Expect(",\"commitments\":{"u8);
        var commitments = ReadCommitments(ref at);
        string? grant = null;
        if (version > 1)
        {
            at.Expect(",\"grant\":"u8);
            grant = at.OrNull(MaxObject);
        }

        at.Expect(",\"kind\":\""u8);
        var kind = at.UntilQuote(MaxName);
        at.Expect(",\"object\":\""u8);
        var objectId = at.UntilQuote(MaxObject);
        at.Expect(",\"prior\":"u8);
        var prior = at.OrNull(64);
        at.Expect(",\"time\":\""u8);
        if (
            !DateTimeOffset.TryParseExact(
                at.UntilQuote(24), TimeFormat, CultureInfo.InvariantCulture,
                DateTimeStyles.AssumeUniversal | DateTimeStyles.AdjustToUniversal, out var time))
        {
            throw LedgerException.Malformed("time is not yyyy-MM-ddTHH:mm:ss.fffZ.");
        }

        at.Expect(version == 1 ? ",\"v\":1}"u8 : ",\"v\":2}"u8);
        at.ExpectEnd();
        var entry = new LedgerEntry
        {
            Version = version,
            Actor = actor,
            Grant = grant,
            Agency = agency,
            Commitments = commitments,
            Kind = kind,
            Object = objectId,
            Prior = prior,
            Time = time,
        };
        if (entry.Validate() is { } fault)
        {
            throw LedgerException.Malformed(fault);
        }

        return entry;
    }

    /// <summary>Guid.TryParseExact accepts upper-case digits as well. The canonical text has none.</summary>
    private static Guid ReadId(string text, string member) =>
        Guid.TryParseExact(text, "D", out var id) && id.ToString("D") == text
            ? id
            : throw LedgerException.Malformed($"{member} is not a UUID in lower case.");

    private static StringBuilder AppendMember(StringBuilder text, string name, string? value) =>
        value is null
            ? text.Append('"').Append(name).Append("\":null")
            : text.Append('"').Append(name).Append("\":\"").Append(value).Append('"');

    private static Dictionary<string, string> ReadCommitments(ref Cursor at)
    {
        var commitments = new Dictionary<string, string>();
        string? previous = null;
        while (!at.Skip("}"u8))
        {
            if (previous is not null)
            {
                at.Expect(","u8);
            }

            at.Expect("\""u8);
            var name = at.UntilQuote(MaxName);
            // RFC 8785 §3.2.3: members are sorted. A member that comes twice breaks the order too.
            if (previous is not null && string.CompareOrdinal(previous, name) >= 0)
            {
                throw LedgerException.Malformed("commitments are not sorted by name.");
            }

            at.Expect(":\""u8);
            commitments[name] = at.UntilQuote(71);
            if (commitments.Count > MaxCommitments)
            {
                throw new LedgerException(LedgerFault.TooLarge, $"An entry has at most {MaxCommitments} commitments.");
            }

            previous = name;
        }
        return commitments;
    }

    /// <summary>What is wrong with the first field outside its alphabet or length, or null.</summary>
    private string? Validate()
    {
        if (!Within(Kind, KindAlphabet, MaxName))
        {
            return "kind is 1 to 64 of a-z 0-9 . -";
        }

        if (!Within(Object, ObjectAlphabet, MaxObject))
        {
            return "object is 1 to 200 of A-Z a-z 0-9 . _ - : / @ + < > =";
        }

        if (Version is < 1 or > Newest)
        {
            return "v is 1 or 2";
        }

        if (Version == 1 && (Actor is not null || Grant is not null))
        {
            return "version 1 has no actor and no grant";
        }

        if (Grant is not null && !Within(Grant, ObjectAlphabet, MaxObject))
        {
            return "grant is null or 1 to 200 of A-Z a-z 0-9 . _ - : / @ + < > =";
        }

        if (Prior is not null && (Prior.Length != 64 || !IsLowerHex(Prior)))
        {
            return "prior is null or 64 lower-case hexadecimal digits";
        }

        if (Commitments.Count > MaxCommitments)
        {
            return "an entry has at most 64 commitments";
        }

        foreach (var (name, value) in Commitments)
        {
            if (!Within(name, NameAlphabet, MaxName))
            {
                return "the name of a commitment is 1 to 64 of A-Z a-z 0-9 . _ -";
            }

            if (!Commitment.IsWellFormed(value))
            {
                return "a commitment is sha256: and 64 lower-case hexadecimal digits";
            }
        }
        return null;
    }

    internal static bool IsLowerHex(ReadOnlySpan<char> text) => !text.ContainsAnyExcept(LowerHex);

    private static bool Within(string text, SearchValues<char> alphabet, int max) =>
        text.Length is > 0 && text.Length <= max && !text.AsSpan().ContainsAnyExcept(alphabet);

    private ref struct Cursor(ReadOnlySpan<byte> bytes)
    {
        private ReadOnlySpan<byte> _rest = bytes;

        public bool Skip(ReadOnlySpan<byte> literal)
        {
            if (!_rest.StartsWith(literal))
            {
                return false;
            }

            _rest = _rest[literal.Length..];
            return true;
        }

        public void Expect(ReadOnlySpan<byte> literal)
        {
            if (!Skip(literal))
            {
                throw LedgerException.Malformed("The entry is not canonical JSON of the fixed shape.");
            }
        }

        /// <summary>Reads up to the next quotation mark, and skips the mark.</summary>
        public string UntilQuote(int max)
        {
            var length = _rest[..Math.Min(_rest.Length, max + 1)].IndexOf((byte)'"');
            if (length < 0)
            {
                throw LedgerException.Malformed("A string of the entry is too long or does not end.");
            }

            // Validate refuses letters beyond ASCII afterwards.
            var text = Encoding.Latin1.GetString(_rest[..length]);
            _rest = _rest[(length + 1)..];
            return text;
        }

        /// <summary>Reads a string, or null.</summary>
        public string? OrNull(int max)
        {
            if (Skip("null"u8))
            {
                return null;
            }

            Expect("\""u8);
            return UntilQuote(max);
        }

        public readonly void ExpectEnd()
        {
            if (!_rest.IsEmpty)
            {
                throw LedgerException.Malformed("Bytes follow the entry.");
            }
        }
    }
}
