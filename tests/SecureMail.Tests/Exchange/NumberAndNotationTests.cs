using FsCheck;
using FsCheck.Fluent;
using SecureMail.Exchange;
using SecureMail.Gateway.Registers;

namespace SecureMail.Tests.Exchange;

public sealed class NumberAndNotationTests
{
    [Fact]
    public void Whatever_is_read_is_printed_as_it_was()
    {
        var number = Gen.Choose(1, 11)
            .SelectMany(n => Gen.ArrayOf(Gen.Elements("0123456789".ToCharArray()), n))
            .Select(c => new string(c));
        var notation = Gen.Choose(1, 30)
            .SelectMany(n => Gen.ArrayOf(Gen.Elements("AQĐĐẢ019bÂư-/. ".ToCharArray()), n))
            .Select(c => new string(c))
            .Where(NumberAndNotation.IsNotation);
        var gen = from n in number from s in Gen.Elements('-', '/') from t in notation select $"{n}{s}{t}";
        Check.QuickThrowOnFailure(
            Prop.ForAll(gen.ToArbitrary(), text => NumberAndNotation.TryParse(text)!.ToString() == text));
    }

    [Fact]
    public void Any_text_is_read_exactly_or_not_at_all() =>
        Check.QuickThrowOnFailure(
            Prop.ForAll<NonNull<string>>(text =>
                NumberAndNotation.TryParse(text.Get) is not { } read || read.ToString() == text.Get));

    [Theory]
    [InlineData("36-HD/VPTW", "36", '-', "HD/VPTW")]
    [InlineData("15/QĐ-BNV", "15", '/', "QĐ-BNV")]
    [InlineData("007-CV/TU", "007", '-', "CV/TU")]
    public void Both_forms_are_taken_apart(string text, string number, char separator, string notation) =>
        NumberAndNotation.TryParse(text).ShouldBe(new NumberAndNotation(number, separator, notation));

    [Theory]
    [InlineData("36-HD/VPTW", 36, "HD", "VPTW")]
    [InlineData("036-HD/VPTW", 36, "HD", "VPTW")]
    [InlineData("36-hd/vptw", 36, "HD", "VPTW")]
    [InlineData("36- hd / vptw", 36, "HD", "VPTW")]
    [InlineData("84-CV/ĐU", 84, "CV", "ĐU")]
    [InlineData("84-cv/đu", 84, "CV", "ĐU")]
    [InlineData("15/Q\u0110-UY\u0309BAN", 15, "QĐ", "UỶBAN")]
    [InlineData("15/QĐ-BNV", 15, "QĐ", "BNV")]
    [InlineData("06/ĐU", 6, "", "ĐU")]
    [InlineData("94- KH/BTGDVTW", 94, "KH", "BTGDVTW")]
    [InlineData("12-CV/TU/BTC", 12, "CV", "TU/BTC")]
    [InlineData("00-CV/TU", 0, "CV", "TU")]
    [InlineData("99999999999-CV/TU", 99_999_999_999, "CV", "TU")]
    public void A_number_is_a_value_of_a_type_and_a_body(string text, long value, string type, string body)
    {
        var read = NumberAndNotation.TryParse(text)!;
        (read.Value, read.Type, read.Body).ShouldBe((value, type, body));
        read.ToString().ShouldBe(text);
    }

    [Theory]
    [InlineData("")]
    [InlineData("36")]
    [InlineData("36-")]
    [InlineData("-HD")]
    [InlineData("36 HD")]
    [InlineData("36-HD ")]
    [InlineData("36 -HD")]
    [InlineData("٣٦-HD")]
    [InlineData("36-HD\n")]
    [InlineData("36-HD\0X")]
    [InlineData("123456789012-HD")]
    [InlineData("1-ABCDEFGHIJKLMNOPQRSTUVWXYZ12345")]
    public void Neither_form_is_not_read(string text) => NumberAndNotation.TryParse(text).ShouldBeNull();

    // A mark may stand inside the notation and at its end, but not alone.
    [Theory]
    [InlineData("15/Q\u0110-UY\u0309")]
    [InlineData("15/UY\u0309-Q\u0110")]
    public void Decomposed_letters_are_kept_decomposed(string text) =>
        NumberAndNotation.TryParse(text)!.ToString().ShouldBe(text);

    [Theory]
    [InlineData("15/\u0309")]
    [InlineData("15/A-\u0309")]
    public void A_mark_without_a_letter_is_not_read(string text) => NumberAndNotation.TryParse(text).ShouldBeNull();

    [Theory]
    [InlineData(1, "01-CV")]
    [InlineData(9, "09-CV")]
    [InlineData(10, "10-CV")]
    [InlineData(1234, "1234-CV")]
    public void The_first_of_the_year_is_01(int n, string printed) =>
        NumberAndNotation.Of(n, '-', "CV").ToString().ShouldBe(printed);

    [Theory]
    [InlineData("2026-12-31T16:59:59Z", 2026)]
    [InlineData("2026-12-31T17:00:00Z", 2027)]
    [InlineData("2027-01-01T06:59:59+07:00", 2027)]
    [InlineData("2026-12-31T23:59:59+07:00", 2026)]
    public void The_year_is_that_of_Vietnam(string time, int year) =>
        Register.YearOf(DateTimeOffset.Parse(time, System.Globalization.CultureInfo.InvariantCulture)).ShouldBe(year);
}
