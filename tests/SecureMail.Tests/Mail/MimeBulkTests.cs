using System.Security.Cryptography;
using System.Text;
using SecureMail.Mail.Mime;

namespace SecureMail.Tests.Mail;

/// <summary>The fast ways through large bodies find what the slow ones find, wherever a buffer ends.</summary>
public class MimeBulkTests
{
    [Theory]
    [InlineData("\r\n")]
    [InlineData("\n")]
    public void A_delimiter_is_found_wherever_the_buffer_ends(string lineEnd)
    {
        for (var pad = 65_536 - 220; pad < 65_536 + 4; pad++)
        {
            var text = Multipart(pad, lineEnd, "-dash --dash\n--other\n--b2"u8.ToArray());
            var fast = MailMessage.Parse(text, MimeReaderOptions.Stored).Root;
            fast.Children.Count.ShouldBe(2);
            Body(fast.Children[0]).Length.ShouldBe(pad + 25);
            Body(fast.Children[1]).ShouldBe("two"u8.ToArray());
        }
    }

    [Fact]
    public void Searching_for_delimiters_splits_as_reading_every_line_does()
    {
        var random = new Random(1);
        string[] words =
        [
            "--b",
            "--b--",
            "--b \t",
            "-",
            "--",
            "---b",
            "\r\n",
            "\r\n",
            "\r\n",
            "text",
            "--bc",
            "--b--x",
            new('x', 100),
            new('y', 70_000),
        ];
        for (var round = 0; round < 400; round++)
        {
            var text = new StringBuilder("Content-Type: multipart/mixed; boundary=b\r\n\r\n");
            for (var i = random.Next(60); i > 0; i--)
            {
                text.Append(words[random.Next(words.Length)]);
            }

            text.Append("\r\n--b--\r\n");
            var octets = Encoding.ASCII.GetBytes(text.ToString());
            Shape(octets, MimeReaderOptions.Stored)
                .ShouldBe(
                    Shape(
                        octets,
                        MimeReaderOptions.Stored with
                        {
                            Leniency = MimeReaderOptions.Stored.Leniency & ~MimeLeniency.BinaryBodies,
                        }));
        }
    }

    [Fact]
    public void Base64_in_lines_of_any_shape_decodes_as_the_platform_decodes_it()
    {
        var random = new Random(2);
        for (var round = 0; round < 300; round++)
        {
            var data = RandomNumberGenerator.GetBytes(random.Next(round % 3 == 0 ? 200_000 : 300));
            var whole = Convert.ToBase64String(data);
            var lines = new StringBuilder();
            var usual = random.Next(1, 90);
            for (var at = 0; at < whole.Length;)
            {
                var count = Math.Min(whole.Length - at, random.Next(50) == 0 ? random.Next(1, 90) : usual);
                lines
                    .Append(whole, at, count)
                    .Append(
                        random.Next(40) switch
                        {
                            0 => "\n",
                            1 => " \r\n",
                            2 => "\t",
                            3 => "\r\n\r\n",
                            _ => "\r\n",
                        });
                at += count;
            }

            Decoded(lines.ToString()).AsSpan().SequenceEqual(data).ShouldBeTrue($"round {round}");
        }
    }

    [Theory]
    [InlineData("QUJD\r\nQU!D\r\n")]
    [InlineData("QUJD\r\nQ\r\n")]
    [InlineData("QUI=\r\nQUJD\r\n")]
    [InlineData("QUJD\r\nQ=JD\r\nQUJD\r\n")]
    [InlineData("QUJD\r\nQUJD\r\n-- \r\nfooter\r\n")]
    public void Base64_that_is_none_is_refused_at_the_start_and_behind_many_lines(string text)
    {
        foreach (var before in new[] { 0, 1, 1000, 3000 })
        {
            var lines = string.Concat(Enumerable.Repeat(new string('A', 76) + "\r\n", before));
            Should.Throw<MimeException>(() => Decoded(lines + text)).Reason.ShouldBe(MimeReason.BadEncoding);
        }
    }

    [Fact]
    public async Task Base64_is_the_same_in_whatever_pieces_it_is_written()
    {
        var random = new Random(3);
        foreach (var size in new[] { 0, 1, 56, 57, 58, 57 * 512 - 1, 57 * 512, 57 * 512 + 1, 100_000 })
        {
            var data = RandomNumberGenerator.GetBytes(size);
            var expected = string.Concat(
                Convert.ToBase64String(data).Chunk(76).Select(line => new string(line) + "\r\n"));
            var output = new MemoryStream();
            var writer = new Base64Writer(output);
            for (var at = 0; at < size;)
            {
                var count = Math.Min(size - at, random.Next(1, 70_000));
                if (random.Next(2) == 0)
                {
                    await writer.WriteAsync(data.AsMemory(at, count));
                }
                else
                {
                    writer.Write(data.AsSpan(at, count));
                }

                at += count;
            }

            await writer.FinishAsync(default);
            Encoding.ASCII.GetString(output.ToArray()).ShouldBe(expected);
        }
    }

    private static byte[] Multipart(int pad, string lineEnd, byte[] more)
    {
        var filler = string.Concat(Enumerable.Repeat(new string('a', 60) + lineEnd, (pad / (60 + lineEnd.Length)) + 1))[
            ..pad
        ];
        return Encoding.ASCII.GetBytes(
            string.Join(
                lineEnd, "Content-Type: multipart/mixed; boundary=b", "", "--b", "",
                filler + Encoding.ASCII.GetString(more), "--b", "", "two", "--b--", ""));
    }

    private static string Shape(byte[] octets, MimeReaderOptions options)
    {
        try
        {
            return string.Join(
                ' ',
                MailMessage
                    .Parse(octets, options)
                    .Root.DescendantsAndSelf()
                    .Select(p => $"{p.Offset}+{p.BodyOffset}+{p.Length}"));
        }
        catch (MimeException e)
        {
            return e.Reason.ToString();
        }
    }

    private static byte[] Decoded(string base64) =>
        Body(
            MailMessage
                .Parse(
                    Encoding.ASCII.GetBytes("Content-Transfer-Encoding: base64\r\n\r\n" + base64),
                    MimeReaderOptions.Stored)
                .Root);

    private static byte[] Body(MimePart part)
    {
        using var stream = part.OpenDecoded();
        var output = new MemoryStream();
        stream.CopyTo(output, 1 + (int)(part.BodyLength % 100_000));
        return output.ToArray();
    }
}
