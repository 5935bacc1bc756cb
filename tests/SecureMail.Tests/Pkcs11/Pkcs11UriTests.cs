using System.Text;
using SecureMail.Pkcs11;

namespace SecureMail.Tests.Pkcs11;

public class Pkcs11UriTests
{
    [Fact]
    public void The_examples_of_RFC_7512_are_read()
    {
        // RFC 7512 §3, in the order of the RFC.
        Pkcs11Uri.Parse("pkcs11:").ShouldSatisfyAllConditions(u => u.Token.ShouldBeNull(), u => u.Id.ShouldBeNull());
        Pkcs11Uri
            .Parse("pkcs11:object=my-pubkey;type=public")
            .ShouldSatisfyAllConditions(u => u.Object.ShouldBe("my-pubkey"), u => u.Type.ShouldBe("public"));
        Pkcs11Uri
            .Parse("pkcs11:object=my-key;type=private?pin-source=file:/etc/token")
            .PinSource.ShouldBe("file:/etc/token");
        Pkcs11Uri
            .Parse(
                "pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;manufacturer=Snake%20Oil,%20Inc.;model=1.0;"
                    + "object=my-certificate;type=cert;"
                    + "id=%69%95%3E%5C%F4%BD%EC%91;serial=?pin-source=file:/etc/token_pin")
            .ShouldSatisfyAllConditions(
                u => u.Token.ShouldBe("The Software PKCS#11 Softtoken"),
                u => u.Manufacturer.ShouldBe("Snake Oil, Inc."), u => u.Model.ShouldBe("1.0"),
                u => u.Object.ShouldBe("my-certificate"), u => u.Type.ShouldBe("cert"), u => u.Serial.ShouldBe(""),
                u => Convert.ToHexString(u.Id!.Value.Span).ShouldBe("69953E5CF4BDEC91"));
        Pkcs11Uri.Parse("pkcs11:object=my-sign-key;type=private?module-name=mypkcs11").ModulePath.ShouldBeNull();
        Pkcs11Uri
            .Parse("pkcs11:object=my-sign-key;type=private?module-path=/mnt/libmypkcs11.so.1")
            .ModulePath.ShouldBe("/mnt/libmypkcs11.so.1");
        Pkcs11Uri
            .Parse("pkcs11:token=Software%20PKCS%2311%20softtoken;manufacturer=Snake%20Oil,%20Inc.?pin-source=%7Cprog")
            .PinSource.ShouldBe("|prog");
        Pkcs11Uri.Parse("pkcs11:slot-description=Sun%20Metaslot").SlotDescription.ShouldBe("Sun Metaslot");
        Pkcs11Uri
            .Parse(
                "pkcs11:library-manufacturer=Snake%20Oil,%20Inc.;library-description=Soft%20Token%20Library;"
                    + "library-version=1.23")
            .Token.ShouldBeNull();
        Pkcs11Uri.Parse("pkcs11:slot-id=327;object=key").SlotId.ShouldBe(327UL);
    }

    [Fact]
    public void Diacritics_survive_a_round_trip()
    {
        var uri = Pkcs11Uri.Parse(
            "PKCS11:token=V%C4%83n%20th%c6%b0;object=con%20d%E1%BA%A5u;id=%01%ff?module-path=/usr/lib/x.so");
        uri.Token.ShouldBe("Văn thư");
        uri.Object.ShouldBe("con dấu");
        uri.ToString()
            .ShouldBe("pkcs11:token=V%C4%83n%20th%C6%B0;object=con%20d%E1%BA%A5u;id=%01%FF?module-path=/usr/lib/x.so");
        Pkcs11Uri.Parse(uri.ToString()).ToString().ShouldBe(uri.ToString());
    }

    [Theory]
    [InlineData("")]
    [InlineData("pkcs12:token=a")]
    [InlineData("token=a")]
    [InlineData("pkcs11:token")]
    [InlineData("pkcs11:=a")]
    [InlineData("pkcs11:token=a;")]
    [InlineData("pkcs11:token=a;token=b")]
    [InlineData("pkcs11:token=a;x-vendor=b")]
    [InlineData("pkcs11:token=Văn")]
    [InlineData("pkcs11:token=a b")]
    [InlineData("pkcs11:token=a%2")]
    [InlineData("pkcs11:token=a%zz")]
    [InlineData("pkcs11:token=%FF")]
    [InlineData("pkcs11:token=a%00b")]
    [InlineData("pkcs11:slot-id=x")]
    [InlineData("pkcs11:slot-id=99999999999999999999")]
    [InlineData("pkcs11:type=key")]
    [InlineData("pkcs11:token=a?pin-value=123456")]
    [InlineData("pkcs11:token=a?module-path=/a&module-path=/b")]
    [InlineData("pkcs11:token=a#fragment")]
    [InlineData("pkcs11:token=a/b")]
    public void An_invalid_uri_is_refused_and_not_repeated_in_the_message(string text)
    {
        var error = Should.Throw<Pkcs11Exception>(() => Pkcs11Uri.Parse(text));
        error.Fault.ShouldBe(Pkcs11Fault.UriInvalid);
        error.Message.ShouldNotContain("123456");
    }

    [Fact]
    public void An_unknown_attribute_of_the_query_is_ignored() =>
        Pkcs11Uri.Parse("pkcs11:token=a?x-colour=red&module-path=/m").ModulePath.ShouldBe("/m");

    [Fact]
    public void A_too_long_uri_is_refused() =>
        Should.Throw<Pkcs11Exception>(() => Pkcs11Uri.Parse("pkcs11:token=" + new string('a', 5000)));
}
