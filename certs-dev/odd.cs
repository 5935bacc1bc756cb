#:package BouncyCastle.Cryptography
#:property PublishAot=false
#:property ManagePackageVersionsCentrally=true

// dotnet run certs-dev/odd.cs -- FOLDER: makes the vectors of tests/vectors/trust/odd anew (new keys, so every file changes): certificates and revocation
// lists that are rare or wrong in one way, and cases.json with what RFC 5280 says must come of each. BouncyCastle makes them, because OpenSSL and .NET
// refuse to.
using System.Text.Encodings.Web;
using System.Text.Json;
using Org.BouncyCastle.Asn1;
using Org.BouncyCastle.Asn1.Sec;
using Org.BouncyCastle.Asn1.X509;
using Org.BouncyCastle.Asn1.X9;
using Org.BouncyCastle.Crypto;
using Org.BouncyCastle.Crypto.Generators;
using Org.BouncyCastle.Crypto.Parameters;
using Org.BouncyCastle.Math;
using Org.BouncyCastle.Security;
using Org.BouncyCastle.X509;

var folder = args is [var only] ? only : throw new ArgumentException("dotnet run certs-dev/odd.cs -- FOLDER");
var random = new SecureRandom();
var (from, to) = (new DateTime(2026, 1, 1, 0, 0, 0, DateTimeKind.Utc), new DateTime(2045, 1, 1, 0, 0, 0, DateTimeKind.Utc));
var (rootKeys, caKeys, leafKeys, strangerKeys) = (Keys(), Keys(), Keys(), Keys());
var rootName = new X509Name("CN=Odd Root");
List<object> cases = [];

Write("root", Certificate(rootName, rootKeys, rootName, rootKeys.Public, Ca(), serial: 1));
Write("leaf", Leaf(100));

// Certificates.
Path("leaf", "valid", null, "the plain one: what is odd in the others is their own");
Path("v1-leaf", "valid", null, "§6.1.5: an end entity may be of version 1", Leaf(2, []));
Write("v1-ca", Certificate(rootName, rootKeys, new X509Name("CN=Odd V1 CA"), caKeys.Public, [], serial: 3));
Path(
    "under-v1-ca", "invalid", null, "§6.1.4 (k): an issuer of version 1 is no CA",
    Certificate(new X509Name("CN=Odd V1 CA"), caKeys, new X509Name("CN=leaf"), leafKeys.Public, EndEntity(), serial: 4), "v1-ca");
Path("negative-serial", "valid", null, "§4.1.2.2: a serial number that is negative is handled gracefully", Leaf(-5));
Path("zero-serial", "valid", null, "§4.1.2.2: a serial number of zero is handled gracefully", Leaf(0));
Path(
    "critical-unknown", "invalid", null, "§4.2: an unknown critical extension refuses the certificate",
    Leaf(6, EndEntity(("1.3.6.1.4.1.99999.1", true, DerNull.Instance))));
Path(
    "unknown", "valid", null, "§4.2: an unknown extension that is not critical is ignored",
    Leaf(7, EndEntity(("1.3.6.1.4.1.99999.1", false, DerNull.Instance))));
Path(
    "extension-twice", "unreadable", null, "§4.2: one extension stands once",
    Leaf(8, EndEntity(("2.5.29.19", true, new BasicConstraints(false)))));
Path(
    "empty-subject", "valid", null, "§4.1.2.6: the subject is empty, and the alternative name is critical",
    Certificate(
        rootName, rootKeys, X509Name.GetInstance(Sequence([])), leafKeys.Public,
        EndEntity(("2.5.29.17", true, new GeneralNames(new GeneralName(GeneralName.Rfc822Name, "vanthu@tinhuy.vn")))), serial: 9));
Path(
    "issuer-bmp", "valid", null, "§7.1: names are compared after conversion, whatever their string types",
    Certificate(Bmp("Odd Root"), rootKeys, new X509Name("CN=leaf"), leafKeys.Public, EndEntity(), serial: 10));
Path(
    "without-end", "valid", null, "§4.1.2.5: 99991231235959Z says that there is no well-defined end",
    Certificate(
        rootName, rootKeys, new X509Name("CN=leaf"), leafKeys.Public, EndEntity(), serial: 11,
        notAfter: new Time(new DerGeneralizedTime("99991231235959Z"))));

// Revocation lists of the root, for the plain leaf.
List("list-empty", "valid", null, "§6.3.3: the list is whole and does not name the leaf", Crl());
List("list-names-it", "invalid", "certificate-revoked", "§6.3.3: the list names the leaf", Crl(entries: [(100, (string?)null)]));
List(
    "list-critical-unknown", "indeterminate", "revocation-unknown", "§5.2: a list with an unknown critical extension is not used",
    Crl(extensions: [("1.3.6.1.4.1.99999.2", true, DerNull.Instance)]));
List(
    "entry-critical-unknown", "indeterminate", "revocation-unknown",
    "§5.3: a list with an unknown critical extension of any entry is not used", Crl(entries: [(777, "1.3.6.1.4.1.99999.3")]));
List(
    "list-indirect", "indeterminate", "revocation-unknown", "§5.2.5: a list of other issuers' certificates is not read here",
    Crl(extensions: [("2.5.29.28", true, new IssuingDistributionPoint(null, false, false, null, true, false))]));
List(
    "list-of-authorities", "indeterminate", "revocation-unknown", "§5.2.5: the list says nothing of end entities",
    Crl(extensions: [("2.5.29.28", true, new IssuingDistributionPoint(null, false, true, null, false, false))]));
List(
    "list-delta-alone", "indeterminate", "revocation-unknown", "§5.2.4: a delta without its base says nothing",
    Crl(extensions: [("2.5.29.27", true, DerInteger.ValueOf(1))]));
List("list-of-a-stranger", "indeterminate", "revocation-unknown", "§6.3.3 (f): the signature is not the issuer's", Crl(strangerKeys));
List(
    "list-of-later", "valid", null, "§6.3.3 (a): only nextUpdate bounds a list; one that was made later says the same and more",
    Crl(thisUpdate: new DateTime(2044, 1, 1, 0, 0, 0, DateTimeKind.Utc)));

File.WriteAllText(
    System.IO.Path.Combine(folder, "cases.json"),
    "[\n  "
        + string.Join(
            ",\n  ",
            cases.Select(c => JsonSerializer.Serialize(c, new JsonSerializerOptions { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping, DefaultIgnoreCondition = System.Text.Json.Serialization.JsonIgnoreCondition.WhenWritingNull })))
        + "\n]\n");
return;

AsymmetricCipherKeyPair Keys()
{
    var generator = new ECKeyPairGenerator();
    generator.Init(new ECKeyGenerationParameters(SecObjectIdentifiers.SecP256r1, random));
    return generator.GenerateKeyPair();
}

void Write(string name, byte[] der) => File.WriteAllBytes(System.IO.Path.Combine(folder, name + ".der"), der);

void Path(string name, string status, string? reason, string because, byte[]? certificate = null, string? issuer = null)
{
    if (certificate is not null)
    {
        Write(name, certificate);
    }

    cases.Add(new { certificate = name, issuer, status, reason, because });
}

void List(string name, string status, string? reason, string because, byte[] list)
{
    Write(name, list);
    cases.Add(new { certificate = "leaf", list = name, status, reason, because });
}

byte[] Leaf(int serial, (string Oid, bool Critical, Asn1Encodable Value)[]? extensions = null) =>
    Certificate(rootName, rootKeys, new X509Name("CN=leaf"), leafKeys.Public, extensions ?? EndEntity(), serial);

(string Oid, bool Critical, Asn1Encodable Value)[] Ca() =>
    [("2.5.29.19", true, new BasicConstraints(true)), ("2.5.29.15", true, new KeyUsage(KeyUsage.KeyCertSign | KeyUsage.CrlSign))];

(string Oid, bool Critical, Asn1Encodable Value)[] EndEntity(params (string Oid, bool Critical, Asn1Encodable Value)[] more) =>
    [("2.5.29.19", true, new BasicConstraints(false)), ("2.5.29.15", true, new KeyUsage(KeyUsage.DigitalSignature)), .. more];

// RFC 5280 §4.1. A certificate without extensions is of version 1.
byte[] Certificate(
    X509Name issuer, AsymmetricCipherKeyPair keys, X509Name subject, AsymmetricKeyParameter key,
    (string Oid, bool Critical, Asn1Encodable Value)[] extensions, int serial, Time? notAfter = null)
{
    List<Asn1Encodable> parts =
    [
        new DerInteger(BigInteger.ValueOf(serial)), Algorithm(), issuer, new DerSequence(new Time(from), notAfter ?? new Time(to)), subject,
        SubjectPublicKeyInfoFactory.CreateSubjectPublicKeyInfo(key),
    ];
    if (extensions.Length > 0)
    {
        parts.Insert(0, new DerTaggedObject(true, 0, DerInteger.ValueOf(2)));
        parts.Add(new DerTaggedObject(true, 3, Extensions(extensions)));
    }

    return Signed(Sequence(parts), keys);
}

// RFC 5280 §5.1, version 2.
byte[] Crl(
    AsymmetricCipherKeyPair? keys = null, (int Serial, string? CriticalOid)[]? entries = null,
    (string Oid, bool Critical, Asn1Encodable Value)[]? extensions = null, DateTime? thisUpdate = null)
{
    List<Asn1Encodable> parts = [DerInteger.ValueOf(1), Algorithm(), rootName, new Time(thisUpdate ?? from), new Time(to)];
    if (entries is not null)
    {
        parts.Add(
            Sequence(
                entries.Select(e => Sequence(
                    [
                        DerInteger.ValueOf(e.Serial), new Time(from),
                        .. e.CriticalOid is { } oid ? [Extensions([(oid, true, DerNull.Instance)])] : (Asn1Encodable[])[],
                    ]))));
    }

    parts.Add(new DerTaggedObject(true, 0, Extensions([("2.5.29.20", false, DerInteger.ValueOf(7)), .. extensions ?? []])));
    return Signed(Sequence(parts), keys ?? rootKeys);
}

DerSequence Extensions((string Oid, bool Critical, Asn1Encodable Value)[] extensions) =>
    Sequence(
        extensions.Select(e => Sequence(
            [
                new DerObjectIdentifier(e.Oid), .. e.Critical ? [DerBoolean.True] : (Asn1Encodable[])[],
                new DerOctetString(e.Value.GetDerEncoded()),
            ])));

DerSequence Sequence(IEnumerable<Asn1Encodable> elements) => new(elements.ToArray());

AlgorithmIdentifier Algorithm() => new(X9ObjectIdentifiers.ECDsaWithSha256);

byte[] Signed(DerSequence signed, AsymmetricCipherKeyPair keys)
{
    var signer = SignerUtilities.GetSigner("SHA256WITHECDSA");
    signer.Init(true, keys.Private);
    signer.BlockUpdate(signed.GetDerEncoded());
    return new DerSequence(signed, Algorithm(), new DerBitString(signer.GenerateSignature())).GetDerEncoded();
}

// The same words in another string type.
X509Name Bmp(string common) =>
    X509Name.GetInstance(
        new DerSequence(new DerSet(new DerSequence(X509Name.CN, new DerBmpString(common)))));
