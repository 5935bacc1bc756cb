using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using SecureMail.Exchange;
using SecureMail.Ledger;
using SecureMail.Mail.Mime;

namespace SecureMail.Tests.Exchange;

/// <summary>Manifest, receipt, directory and evidence field: what is written is read again, what breaks a bound is
/// refused by its type of error, whatever comes.</summary>
public sealed class WireFormatTests : IDisposable
{
    private readonly WireSamples _samples = new();

    public void Dispose() => _samples.Dispose();

    [Fact]
    public void A_manifest_is_read_as_it_was_written()
    {
        var manifest = WireSamples.Manifest();
        var read = Manifest.Parse(manifest.ToBytes());
        read.ToBytes().ShouldBe(manifest.ToBytes());
        read.Fields.ShouldBe(manifest.Fields);
        read.Documents[0].Name.ShouldBe("Công văn số 1.pdf");
        Encoding.UTF8.GetString(manifest.ToBytes()).ShouldContain("triệu tập");
        Manifest.Parse((byte[])[.. "\uFEFF"u8, .. manifest.ToBytes()]).Fields.ShouldBe(manifest.Fields);
    }

    [Theory]
    [InlineData("/v", "2", "FORMAT_VERSION_UNKNOWN")]
    [InlineData("/v", "\"1\"", "FORMAT_NO_VERSION")]
    [InlineData("/salt", "\"AAAA\"", "MANIFEST_FIELD")]
    [InlineData("/salt", "\"*\"", "FORMAT_DAMAGED")]
    [InlineData("/salt", "null", "FORMAT_DAMAGED")]
    [InlineData("/dispatchId", "\"x\"", "FORMAT_DAMAGED")]
    [InlineData("/issued", "\"hôm qua\"", "FORMAT_DAMAGED")]
    [InlineData("/sender", "null", "FORMAT_DAMAGED")]
    [InlineData("/sender/code", "\"\"", "MANIFEST_FIELD")]
    [InlineData("/sender/id", "\"00000000-0000-0000-0000-000000000000\"", "MANIFEST_FIELD")]
    [InlineData("/recipients", "[]", "MANIFEST_FIELD")]
    [InlineData("/recipients", "[null]", "MANIFEST_FIELD")]
    [InlineData("/recipients/1/id", "\"0192f000-0000-7000-8000-000000000101\"", "MANIFEST_FIELD")]
    [InlineData("/documents", "[]", "MANIFEST_FIELD")]
    [InlineData("/documents", "[null]", "MANIFEST_FIELD")]
    [InlineData("/documents/0/name", "\"../../etc/passwd\"", "MANIFEST_FIELD")]
    [InlineData("/documents/0/name", "\"a\\\\b\"", "MANIFEST_FIELD")]
    [InlineData("/documents/0/name", "\"..\"", "MANIFEST_FIELD")]
    [InlineData("/documents/0/name", "\"a\\u0000b\"", "MANIFEST_FIELD")]
    [InlineData("/documents/0/name", "\"a\\r\\nb\"", "MANIFEST_FIELD")]
    [InlineData("/documents/0/mediaType", "\"pdf\"", "MANIFEST_FIELD")]
    [InlineData("/documents/0/length", "-1", "MANIFEST_FIELD")]
    [InlineData("/documents/0/length", "1.5", "FORMAT_DAMAGED")]
    [InlineData("/documents/0/sha256", "\"AAAA\"", "MANIFEST_FIELD")]
    [InlineData("/fields/number", "\"một\"", "MANIFEST_FIELD")]
    [InlineData("/fields/number", "null", "FORMAT_DAMAGED")]
    [InlineData("/fields/subject", "\"\"", "MANIFEST_FIELD")]
    [InlineData("/fields/subject", "\"a\\nb\"", "MANIFEST_FIELD")]
    [InlineData("/fields/subject", "\"\\ud800\"", "FORMAT_DAMAGED")]
    [InlineData("/fields/priority", "5", "MANIFEST_FIELD")]
    [InlineData("/fields/priority", "-1", "MANIFEST_FIELD")]
    [InlineData("/fields/pageAmount", "1000", "MANIFEST_FIELD")]
    [InlineData("/fields/issuedAmount", "-1", "MANIFEST_FIELD")]
    [InlineData("/fields/secrecy", "\"HƠI MẬT\"", "MANIFEST_FIELD")]
    [InlineData("/fields/issuedDate", "\"2026-02-30\"", "FORMAT_DAMAGED")]
    [InlineData("/action", "\"burn\"", "MANIFEST_ACTION")]
    [InlineData("/action", "null", "FORMAT_DAMAGED")]
    [InlineData("/action", "\"recall\"", "MANIFEST_FIELD")]
    [InlineData("/relatesTo", "[]", "MANIFEST_FIELD")]
    [InlineData("/relatesTo", "[null]", "MANIFEST_FIELD")]
    [InlineData(
        "/relatesTo", "[{\"dispatchId\":\"00000000-0000-0000-0000-000000000000\",\"number\":null}]", "MANIFEST_FIELD")]
    [InlineData(
        "/relatesTo", "[{\"dispatchId\":\"0192f000-0000-7000-8000-00000000bbbb\",\"number\":\"?\"}]", "MANIFEST_FIELD")]
    [InlineData("/series", "{\"body\":\"TU\",\"type\":\"HD\",\"period\":\"2026\"}", "MANIFEST_FIELD")]
    [InlineData("/series", "{\"body\":\"VPTW\",\"type\":\"QĐ\",\"period\":\"2026\"}", "MANIFEST_FIELD")]
    [InlineData("/series", "{\"body\":\"VPTW\",\"type\":\"HD\",\"period\":\"26\"}", "MANIFEST_FIELD")]
    [InlineData("/deliverAt", "\"2026-11-22T08:00:00+07:00\"", "MANIFEST_FIELD")]
    [InlineData("/approvals", "[]", "MANIFEST_FIELD")]
    [InlineData("/approvals", "[null]", "MANIFEST_FIELD")]
    [InlineData(
        "/approvals",
        "[{\"certificate\":\"AAAA\",\"capacity\":\"K/T\",\"digest\":\"AAAA\",\"time\":\"2026-11-22T08:00:00Z\"}]",
        "MANIFEST_FIELD")]
    [InlineData("/documents/0/role", "\"cover\"", "MANIFEST_FIELD")]
    [InlineData("/documents/0/copy", "\"photo\"", "MANIFEST_FIELD")]
    [InlineData("/recipients/0/attention", "\"\"", "MANIFEST_FIELD")]
    [InlineData("/recipients/0/attention", "\"a\\nb\"", "MANIFEST_FIELD")]
    [InlineData("/crit", "[\"tomorrow\"]", "FORMAT_CRITICAL_UNKNOWN")]
    [InlineData("/crit", "[]", "FORMAT_DAMAGED")]
    [InlineData("/crit", "\"action\"", "FORMAT_DAMAGED")]
    public void A_manifest_out_of_bounds_is_refused(string path, string value, string code)
    {
        var json = Encoding.UTF8.GetString(WireSamples.Manifest().ToBytes());
        Should.Throw<WireFormatException>(() => Manifest.Parse(Set(json, path, value))).Code.ShouldBe(code);
    }

    [Fact]
    public void A_manifest_says_what_it_does_with_those_before_it()
    {
        var before = Guid.Parse("0192f000-0000-7000-8000-00000000bbbb");
        var certificate = _samples.Directory().Agencies[0].Certificates[0].Der;
        var manifest = WireSamples.Manifest();
        var full = manifest with
        {
            Action = DispatchAction.Replace,
            RelatesTo = [new RelatedDispatch(before, "035-HD/VPTW"), new RelatedDispatch(Guid.CreateVersion7())],
            Series = new SeriesName("VPTW", "HD", "2025-10-16"),
            DeliverAt = manifest.Issued.AddHours(2),
            Approvals = [new Approval(certificate, "K/T", new byte[32], manifest.Issued)],
            Crit = ["action", "deliverAt"],
            Fields = manifest.Fields with { Priority = 4 },
            Recipients = [manifest.Recipients[0] with { Attention = "Đồng chí Bí thư" }, manifest.Recipients[1]],
            Documents = [manifest.Documents[0] with { Role = DocumentRole.Main, Copy = DocumentCopy.SaoY }],
        };
        var read = Manifest.Parse(full.ToBytes());
        read.ToBytes().ShouldBe(full.ToBytes());
        (read.Action, read.RelatesTo![0].Number, read.DeliverAt, read.Recipients[0].Attention).ShouldBe(
            ("replace", "035-HD/VPTW", full.DeliverAt, "Đồng chí Bí thư"));
        // One series for all types, as a congress has it.
        Manifest.Parse((manifest with { Series = new SeriesName("VPTW", "", "2026") }).ToBytes());

        // What an earlier build wrote is a document of its own.
        var earlier = Encoding.UTF8.GetString(manifest.ToBytes())
            .Replace(",\"action\":\"new\"", "", StringComparison.Ordinal);
        earlier.ShouldNotContain("action");
        Manifest.Parse(Encoding.UTF8.GetBytes(earlier)).Action.ShouldBe(DispatchAction.New);
    }

    [Theory]
    [InlineData("subject", 500)]
    [InlineData("typeName", 100)]
    [InlineData("language", 30)]
    [InlineData("description", 500)]
    public void The_lengths_of_the_decree_are_taken_to_the_last_letter_and_no_further(string field, int longest)
    {
        var json = Encoding.UTF8.GetString(WireSamples.Manifest().ToBytes());
        Manifest.Parse(Set(json, "/fields/" + field, JsonSerializer.Serialize(new string('ậ', longest))));
        Should
            .Throw<WireFormatException>(() =>
                Manifest.Parse(Set(json, "/fields/" + field, JsonSerializer.Serialize(new string('ậ', longest + 1)))))
            .Code.ShouldBe("MANIFEST_FIELD");
    }

    [Theory]
    [InlineData("/sender/code", 30)]
    [InlineData("/sender/name", 200)]
    [InlineData("/recipients/1/code", 30)]
    [InlineData("/recipients/1/name", 200)]
    [InlineData("/documents/0/name", 255)]
    [InlineData("/fields/signerInfo/position", 100)]
    [InlineData("/fields/signerInfo/fullName", 50)]
    public void Names_are_taken_to_the_last_letter_and_no_further(string path, int longest)
    {
        var json = Encoding.UTF8.GetString(WireSamples.Manifest().ToBytes());
        Manifest.Parse(Set(json, path, JsonSerializer.Serialize("ậ")));
        Manifest.Parse(Set(json, path, JsonSerializer.Serialize(new string('ậ', longest))));
        IsRefused(Set(json, path, JsonSerializer.Serialize(new string('ậ', longest + 1))));
        if (!path.StartsWith("/fields/signerInfo", StringComparison.Ordinal))
        {
            IsRefused(Set(json, path, "\"\""));
        }
    }

    [Theory]
    [InlineData("/fields/priority", 0, 4)]
    [InlineData("/fields/pageAmount", 0, 999)]
    [InlineData("/fields/issuedAmount", 0, 999)]
    public void Numbers_are_taken_to_the_last_and_no_further(string path, int least, int most)
    {
        var json = Encoding.UTF8.GetString(WireSamples.Manifest().ToBytes());
        Manifest.Parse(Set(json, path, $"{least}"));
        Manifest.Parse(Set(json, path, $"{most}"));
        IsRefused(Set(json, path, $"{least - 1}"));
        IsRefused(Set(json, path, $"{most + 1}"));
    }

    [Fact]
    public void A_manifest_has_as_many_addressees_and_documents_as_it_may_and_no_more()
    {
        var manifest = WireSamples.Manifest();
        Party Addressee(int n) => new(new Guid(n + 1, 0, 0, new byte[8]), "A", "A");
        DocumentDigest Document(int n) => manifest.Documents[0] with { Name = $"{n}.pdf" };
        var most = manifest with
        {
            Recipients = [.. Enumerable.Range(0, 20_000).Select(Addressee)],
            Documents = [.. Enumerable.Range(0, 500).Select(Document)],
        };
        most.Validate().ShouldBeNull();
        (most with { Recipients = [.. most.Recipients, Addressee(20_000)] })
            .Validate()
            .ShouldBe("recipients");
        (most with { Documents = [.. most.Documents, Document(500)] })
            .Validate()
            .ShouldBe("documents");
        // One that is bad among good ones.
        (most with { Recipients = [Addressee(1), Addressee(2) with { Code = "" }] }).Validate().ShouldBe("recipients");
        (most with { Documents = [Document(1), Document(2) with { Length = -1 }] }).Validate().ShouldBe("documents");
        (most with { Documents = [Document(1), Document(1)] }).Validate().ShouldBe("documents");
    }

    [Fact]
    public void A_document_may_be_empty_and_has_a_name_and_a_type()
    {
        var document = WireSamples.Manifest().Documents[0];
        (document with { Length = 0 }).IsValid.ShouldBeTrue();
        (document with { MediaType = "application/" + new string('a', 115) }).IsValid.ShouldBeTrue();
        (document with { MediaType = "application/" + new string('a', 116) }).IsValid.ShouldBeFalse();
        foreach (var type in new[] { "", "pdf", "/", "application/", "/pdf", "application/pdf\n" })
        {
            (document with { MediaType = type }).IsValid.ShouldBeFalse(type);
        }

        foreach (var name in new[] { "", ".", "..", "/a", "\\a", "a/b", "a\tb" })
        {
            (document with { Name = name }).IsValid.ShouldBeFalse(name);
        }
    }

    [Fact]
    public void A_manifest_too_long_or_with_a_name_twice_or_too_deep_is_refused()
    {
        Should
            .Throw<WireFormatException>(() => Manifest.Parse(new byte[Manifest.MaxBytes + 1]))
            .Code.ShouldBe("FORMAT_TOO_LARGE");
        Should
            .Throw<WireFormatException>(() => Manifest.Parse("""{"v":1,"v":1}"""u8.ToArray()))
            .Code.ShouldBe("FORMAT_DAMAGED");
        Should
            .Throw<WireFormatException>(() =>
                Manifest.Parse(
                    Encoding.UTF8.GetBytes("{\"v\":1,\"x\":" + new string('[', 20) + new string(']', 20) + "}")))
            .Code.ShouldBe("FORMAT_DAMAGED");
        Should.Throw<WireFormatException>(() => Manifest.Parse("\"v\""u8.ToArray())).Code.ShouldBe("FORMAT_NO_VERSION");
        var octets = WireSamples.Manifest().ToBytes();
        octets[octets.AsSpan().IndexOf("triệu"u8)] = 0xFF;
        Should.Throw<WireFormatException>(() => Manifest.Parse(octets)).Code.ShouldBe("FORMAT_DAMAGED");
        Should
            .Throw<WireFormatException>(() => Manifest.Parse(Encoding.UTF8.GetBytes("{\"v\":1,\"\\ud800\":1}")))
            .Code.ShouldBe("FORMAT_DAMAGED");
    }

    [Fact]
    public void A_receipt_is_read_as_it_was_written_and_refused_out_of_bounds()
    {
        var receipt = WireSamples.Receipt();
        Receipt.Parse(receipt.ToBytes()).ToBytes().ShouldBe(receipt.ToBytes());
        foreach (
            var bad in new[]
            {
                receipt with
                {
                    Event = "ContentAccepted",
                },
                receipt with
                {
                    Digest = new byte[31],
                },
                receipt with
                {
                    Verdict = "",
                },
                receipt with
                {
                    Verdict = "valid\0",
                },
                receipt with
                {
                    ArrivalNumber = 0,
                },
                receipt with
                {
                    Reason = new("A B", "", ""),
                },
                receipt with
                {
                    Reason = new("A\0", "", ""),
                },
                receipt with
                {
                    Reason = new(new string('A', 61), "", ""),
                },
                receipt with
                {
                    Reason = new("A", new string('a', 1001), ""),
                },
            })
        {
            Should.Throw<WireFormatException>(() => Receipt.Parse(bad.ToBytes())).Code.ShouldBe("RECEIPT_FIELD");
        }

        foreach (
            var good in new[]
            {
                receipt with
                {
                    Reason = new(new string('A', 60), new string('ậ', 1000), new string('a', 1000)),
                },
                receipt with
                {
                    Verdict = new string('v', 60),
                },
                receipt with
                {
                    ArrivalNumber = 1,
                },
            })
        {
            Receipt.Parse(good.ToBytes()).ToBytes().ShouldBe(good.ToBytes());
        }

        Should
            .Throw<WireFormatException>(() => Receipt.Parse(new byte[Receipt.MaxBytes + 1]))
            .Code.ShouldBe("FORMAT_TOO_LARGE");
    }

    [Fact]
    public void The_evidence_field_is_read_as_it_was_written_and_folded_for_mail()
    {
        var evidence = SampleEvidence();
        var field = EvidenceField.Write(evidence);
        Encoding.ASCII.GetString(field).Split("\r\n").ShouldAllBe(line => line.Length <= 78);
        EvidenceField
            .Read(Mail([.. field, .. "Subject: [...]\r\n\r\nx\r\n"u8]))!
            .ToBytes()
            .ShouldBe(evidence.ToBytes());
        EvidenceField.Read(Mail("Subject: [...]\r\n\r\nx\r\n"u8.ToArray())).ShouldBeNull();
        EvidenceField.Read(Mail([.. field, .. field, .. "\r\nx\r\n"u8])).ShouldBeNull();
        foreach (var bad in new[] { "", "*", "AAA", "AAAA", Convert.ToBase64String("{}"u8) })
        {
            Should.Throw<LedgerException>(() =>
                EvidenceField.Read(Mail(Encoding.ASCII.GetBytes($"SecureMail-Ledger: {bad}\r\n\r\nx\r\n"))));
        }
    }

    [Theory]
    [InlineData("", new long[0])]
    [InlineData("5 7", new long[] { 5, 7 })]
    [InlineData("x 7 -3 0 99999999999999999999", new long[] { 7 })]
    public void Sizes_in_the_capability_are_a_hint(string parameter, long[] sizes) =>
        EvidenceField.ReadSizes(parameter).ShouldBe(sizes);

    [Theory]
    [InlineData("", null)]
    [InlineData("PIPELINING|XLEDGERS 5|SIZE", null)]
    [InlineData("PIPELINING|XLEDGER", 0L)]
    [InlineData("PIPELINING|XLEDGER x", 0L)]
    [InlineData("XLEDGER 9 5|SIZE", 9L)]
    public void A_peer_asks_for_a_proof_from_the_first_size_that_it_names(string announced, long? size) =>
        EvidenceField.AskedIn(announced.Split('|')).ShouldBe(size);

    [Fact]
    public void No_more_sizes_are_taken_than_proofs_are_brought() =>
        EvidenceField
            .ReadSizes(string.Join(' ', Enumerable.Range(1, 1000)))
            .Count.ShouldBe(SecureMail.Ledger.LedgerEvidence.MaxProofs);

    [Fact]
    public void A_directory_is_read_as_it_was_written()
    {
        var directory = _samples.Directory();
        DirectoryDocument.Parse(directory.ToBytes()).ToBytes().ShouldBe(directory.ToBytes());
    }

    [Fact]
    public void A_directory_may_say_what_an_agencys_reader_can_do()
    {
        // A list that is absent, as before, or holds a name of tomorrow is taken; one that says nothing, or holds what
        // is no name, is its publisher's mistake.
        var directory = _samples.Directory();
        DirectoryDocument With(params string?[] names) =>
            directory with
            {
                Agencies = [directory.Agencies[0] with { Capabilities = names! }, directory.Agencies[1]],
            };
        var stated = With("id-aes256-CBC", "id-aes999-GCM");
        DirectoryDocument
            .Parse(stated.ToBytes())
            .Agencies[0]
            .Capabilities.ShouldBe(["id-aes256-CBC", "id-aes999-GCM"]);
        var before = Encoding
            .UTF8.GetString(directory.ToBytes())
            .Replace(",\"capabilities\":null", "", StringComparison.Ordinal);
        before.ShouldNotContain("capabilities");
        DirectoryDocument.Parse(Encoding.UTF8.GetBytes(before)).Agencies[0].Capabilities.ShouldBeNull();
        var snapshot = new DirectorySnapshot(stated);
        var known = snapshot.Find(stated.Agencies[0].Id)!.ConfiguredCapabilities.ShouldNotBeNull();
        (known.At, known.Capabilities.Algorithms.Count, known.Capabilities.Has("2.16.840.1.101.3.4.1.42")).ShouldBe(
            (directory.Issued, 1, true));
        snapshot.Find(stated.Agencies[1].Id)!.ConfiguredCapabilities.ShouldBeNull();
        foreach (
            var bad in new[]
            {
                With(),
                With(""),
                With((string?)null),
                With("id aes256"),
                With(new string('a', 65)),
                With([.. Enumerable.Repeat("id-aes256-GCM", 65)]),
            })
        {
            Should
                .Throw<WireFormatException>(() => DirectoryDocument.Parse(bad.ToBytes()))
                .Code.ShouldBe("DIRECTORY_INCONSISTENT");
        }
    }

    private static void IsRefused(byte[] manifest) =>
        Should.Throw<WireFormatException>(() => Manifest.Parse(manifest)).Code.ShouldBe("MANIFEST_FIELD");

    private static MailMessage Mail(byte[] octets) => MailMessage.Parse(octets);

    private static byte[] Set(string json, string path, string value)
    {
        var root = JsonNode.Parse(json)!;
        var steps = path.Split('/')[1..];
        var node = root;
        foreach (var step in steps[..^1])
        {
            node = node is JsonArray list
                ? list[int.Parse(step, System.Globalization.CultureInfo.InvariantCulture)]!
                : node[step]!;
        }

        // The value is put in as text, since some of it is no JSON that a node could hold.
        const string Mark = "«here»";
        if (node is JsonArray array)
        {
            array[int.Parse(steps[^1], System.Globalization.CultureInfo.InvariantCulture)] = Mark;
        }
        else
        {
            node[steps[^1]] = Mark;
        }

        return Encoding.UTF8.GetBytes(
            root.ToJsonString(
                    new JsonSerializerOptions
                    {
                        Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
                    })
                .Replace($"\"{Mark}\"", value, StringComparison.Ordinal));
    }

    private LedgerEvidence SampleEvidence()
    {
        using var key = _samples.Key(NoteKeyKind.Log);
        var entry = new LedgerEntry
        {
            Time = DateTimeOffset.UnixEpoch,
            Agency = Guid.Empty,
            Kind = "dispatch.signed",
            Object = "o",
        }.ToBytes();
        var sibling = MerkleTree.LeafHash("sibling"u8);
        var checkpoint = Checkpoint.Sign(key, 2, MerkleTree.NodeHash(MerkleTree.LeafHash(entry), sibling));
        return LedgerEvidence.Parse(
            JsonSerializer.SerializeToUtf8Bytes(
                new
                {
                    v = 1,
                    entry = Convert.ToBase64String(entry),
                    index = 0,
                    checkpoint = Encoding.UTF8.GetString(checkpoint.Note.Span),
                    inclusion = new[] { Convert.ToBase64String(sibling) },
                    consistency = new Dictionary<string, string[]>(),
                    cosignatures = Array.Empty<object>(),
                }));
    }
}
