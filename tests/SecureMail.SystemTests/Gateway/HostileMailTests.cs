using System.Security.Cryptography;
using System.Text;
using SecureMail.Exchange;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Ledger;

namespace SecureMail.SystemTests.Gateway;

/// <summary>Mail that must not be believed: each is kept octet for octet, set aside under its verdict and reason,
/// answered to nobody, and the next good one goes through.</summary>
public sealed class HostileMailTests(SharedPair shared) : IClassFixture<SharedPair>
{
    private const string ProvinceAddress = "vanthu@tinhuy.songlam.test";

    private static readonly Dictionary<string, Func<TwoGateways, Task<byte[]>>> Mails = new()
    {
        ["truncated"] = async pair => Cut(await new TestDispatch(pair).MakeAsync()),
        ["nested 100 deep"] = _ => Task.FromResult(Nested(100)),
        ["a header of 10 MB"] = _ => Task.FromResult(LongHeader(10 * 1024 * 1024)),
        ["garbage"] = _ => Task.FromResult(Garbage()),
        ["unsigned"] = _ =>
            Task.FromResult(
                Text(
                    $"From: {ProvinceAddress}\r\nTo: x@y.test\r\nSubject: hi\r\nDate: Sat, 21 Nov 2026 "
                        + "10:00:00 +0700\r\n\r\nBody\r\n"
                )),
        ["signed under a stranger's CA"] = pair =>
            new TestDispatch(pair) { Signer = TestSigners.Stranger(ProvinceAddress) }.MakeAsync(),
        ["signed by a certificate that is in no directory"] = pair =>
            new TestDispatch(pair) { Signer = TestSigners.Unlisted(ProvinceAddress) }.MakeAsync(),
        ["signed by another agency than named"] = pair =>
            new TestDispatch(pair)
            {
                Sender = ThanhBinh,
                Change = m => m with { Sender = new Party(ProvinceId, TwoGateways.Province, "Tỉnh ủy") },
            }.MakeAsync(),
        ["named sender is in no directory"] = pair =>
            new TestDispatch(pair)
            {
                Change = m => m with { Sender = new Party(Guid.CreateVersion7(), "H99", "Không có") },
            }.MakeAsync(),
        ["two From"] = pair =>
            new TestDispatch(pair) { Inner = i => [.. Text("From: khac@tinhuy.songlam.test\r\n"), .. i] }.MakeAsync(),
        ["From of another agency"] = pair => new TestDispatch(pair) { From = SharedPair.BinhMinhAddress }.MakeAsync(),
        ["ciphertext with a bit changed"] = async pair => FlipInBody(await new TestDispatch(pair).MakeAsync()),
        ["inner octets changed after signing"] = pair =>
            new TestDispatch(pair) { AfterSigning = FlipInBody }.MakeAsync(),
        ["unknown version of the manifest"] = pair =>
            new TestDispatch(pair) { Change = m => m with { V = 2 } }.MakeAsync(),
        ["no manifest"] = pair =>
            new TestDispatch(pair)
            {
                Inner = i => Replace(i, Manifest.MediaType, "application/vnd.somebody.dispatch+json"),
            }.MakeAsync(),
        ["no evidence"] = async pair => (await new TestDispatch(pair).ComposeAsync()).Mail.Message,
        ["evidence that is no evidence"] = async pair =>
            [.. Text("SecureMail-Ledger: QUJD\r\n"), .. (await new TestDispatch(pair).ComposeAsync()).Mail.Message],
        ["evidence with a bit changed"] = DamagedEvidence,
        ["evidence twice"] = async pair =>
            await new TestDispatch(pair).MakeAsync() is var m ? [.. m.AsSpan(0, EndOfField(m)), .. m] : [],
        ["evidence of another ledger"] = ForeignEvidence,
        ["evidence for another entry"] = OtherEvidence,
    };

    [Theory]
    [InlineData("truncated", "unreadable", "UNREADABLE")]
    [InlineData("nested 100 deep", "unreadable", "UNREADABLE")]
    [InlineData("a header of 10 MB", "unreadable", "UNREADABLE")]
    [InlineData("garbage", "unreadable", "UNREADABLE")]
    [InlineData("unsigned", "unsigned", "UNSIGNED")]
    [InlineData("signed under a stranger's CA", "untrusted", "UNTRUSTED")]
    [InlineData("signed by a certificate that is in no directory", "valid", "SENDER_NOT_IN_DIRECTORY")]
    [InlineData("signed by another agency than named", "valid", "SENDER_BINDING")]
    [InlineData("named sender is in no directory", "valid", "SENDER_NOT_IN_DIRECTORY")]
    [InlineData("two From", "wrong-sender", "WRONG_SENDER")]
    [InlineData("From of another agency", "wrong-sender", "WRONG_SENDER")]
    [InlineData("ciphertext with a bit changed", "unreadable", "UNREADABLE")]
    [InlineData("inner octets changed after signing", "invalid", "INVALID")]
    [InlineData("unknown version of the manifest", "valid", "FORMAT_VERSION_UNKNOWN")]
    [InlineData("no manifest", "valid", "NOT_A_DISPATCH")]
    [InlineData("no evidence", "valid", "LEDGER_EVIDENCE")]
    [InlineData("evidence that is no evidence", "valid", "LEDGER_EVIDENCE")]
    [InlineData("evidence with a bit changed", "valid", "LEDGER_EVIDENCE")]
    [InlineData("evidence twice", "valid", "LEDGER_EVIDENCE")]
    [InlineData("evidence of another ledger", "valid", "LEDGER_EVIDENCE")]
    [InlineData("evidence for another entry", "valid", "LEDGER_EVIDENCE")]
    public async Task It_is_quarantined_and_the_next_good_one_goes_through(string mail, string verdict, string reason)
    {
        var pair = shared.Pair;
        var octets = await Mails[mail](pair);
        var message = await shared.DeliverAsync(octets);
        (message.Verdict, message.Reason, message.Disposition).ShouldBe((verdict, reason, "quarantine"));
        message.ArrivalNumber.ShouldBeNull();
        await using (var kept = await pair.B.Node.Incoming.OpenReceivedAsync(message.Id, CancellationToken.None))
        {
            (await SHA256.HashDataAsync(kept)).ShouldBe(SHA256.HashData(octets));
        }

        (await pair.B.Probe.Queue.CountAsync(WorkKind.SendReceipt, subject: message.Id)).ShouldBe(0);
        (await pair.B.Probe.Incoming.DocumentsAsync(message.Id)).ShouldBe(0);
        if (message.DispatchId is { } dispatch)
        {
            (await pair.B.Probe.Outgoing.TransmissionsAsync(dispatch: dispatch)).ShouldBe(0);
        }

        var good = await shared.DeliverAsync(await new TestDispatch(pair).MakeAsync());
        (good.Verdict, good.Reason, good.Disposition).ShouldBe(("valid", null, "inbox"));
    }

    private const string ThanhBinh = "H91.TB.001";
    private static readonly Guid ProvinceId = Guid.Parse("0192f000-0000-7000-8000-000000000001");

    private static async Task<byte[]> DamagedEvidence(TwoGateways pair)
    {
        var dispatch = new TestDispatch(pair);
        var (mail, manifest) = await dispatch.ComposeAsync();
        var evidence = await dispatch.EvidenceAsync(mail, manifest);
        evidence.Inclusion[0][5] ^= 4;
        return TestMail.WithField(evidence, mail.Message);
    }

    private static async Task<byte[]> ForeignEvidence(TwoGateways pair)
    {
        var (mail, manifest) = await new TestDispatch(pair).ComposeAsync();
        var entry = await TestMail.AppendAsync(
            pair.B, manifest.Sender.Id, "dispatch.signed", manifest.DispatchId,
            Commitment.Of(manifest.Salt, mail.Digest));
        return TestMail.WithField(await TestMail.EvidenceAsync(pair.B, entry, null), mail.Message);
    }

    private static async Task<byte[]> OtherEvidence(TwoGateways pair)
    {
        var (other, one) = (new TestDispatch(pair), await new TestDispatch(pair).ComposeAsync());
        var (mail, manifest) = await other.ComposeAsync();
        return TestMail.WithField(await other.EvidenceAsync(mail, manifest), one.Mail.Message);
    }

    private static byte[] Text(string text) => Encoding.UTF8.GetBytes(text);

    private static byte[] Cut(byte[] message) => [.. message.AsSpan(0, message.Length * 2 / 3), (byte)'\r', (byte)'\n'];

    private static byte[] Replace(byte[] octets, string what, string with) =>
        Encoding.Latin1.GetBytes(Encoding.Latin1.GetString(octets).Replace(what, with, StringComparison.Ordinal));

    /// <summary>Where the first header field and its folded lines end.</summary>
    private static int EndOfField(byte[] message)
    {
        var at = 0;
        do
        {
            at += message.AsSpan(at).IndexOf("\r\n"u8) + 2;
        } while (message[at] == ' ');
        return at;
    }

    /// <summary>Changes one letter of base64 in the middle of the longest run of them.</summary>
    private static byte[] FlipInBody(byte[] message)
    {
        var changed = (byte[])message.Clone();
        var body = message.AsSpan().IndexOf("\r\n\r\n"u8) + 4;
        var at = body + ((message.Length - body) / 2);
        while (!char.IsAsciiLetterLower((char)changed[at]))
        {
            at++;
        }

        changed[at] = changed[at] == 'a' ? (byte)'b' : (byte)'a';
        return changed;
    }

    private static byte[] Nested(int depth)
    {
        var text = new StringBuilder("From: a@b.test\r\nMIME-Version: 1.0\r\n");
        for (var n = 0; n < depth; n++)
        {
            text.Append($"Content-Type: multipart/mixed; boundary=\"b{n}\"\r\n\r\n--b{n}\r\n");
        }

        text.Append("Content-Type: text/plain\r\n\r\nDeep\r\n");
        for (var n = depth; --n >= 0;)
        {
            text.Append($"--b{n}--\r\n");
        }

        return Text(text.ToString());
    }

    private static byte[] LongHeader(int length)
    {
        var text = new StringBuilder("From: a@b.test\r\nSubject: x\r\n", length + 1000);
        while (text.Length < length)
        {
            text.Append(' ').Append('x', 900).Append("\r\n");
        }

        return Text(text.Append("\r\nBody\r\n").ToString());
    }

    private static byte[] Garbage()
    {
        var random = new Random(7);
        var octets = new byte[20_000];
        random.NextBytes(octets);
        for (var n = 0; n < octets.Length; n++)
        {
            octets[n] = octets[n] is 0 or 10 or 13 ? (byte)'x' : octets[n];
            if (n % 80 == 79)
            {
                (octets[n - 1], octets[n]) = (13, 10);
            }
        }

        return octets;
    }
}
