using System.Text.Json;
using SecureMail.Exchange;
using SecureMail.Trust;

namespace SecureMail.Tests.Exchange;

public sealed class FindingJsonTests
{
    /// <summary>CLI.md lists these names.</summary>
    [Theory]
    [InlineData(Verdict.Valid, "valid")]
    [InlineData(Verdict.WrongSender, "wrong-sender")]
    [InlineData(Verdict.Partial, "partial")]
    [InlineData(Verdict.Indeterminate, "indeterminate")]
    [InlineData(Verdict.Untrusted, "untrusted")]
    [InlineData(Verdict.Invalid, "invalid")]
    [InlineData(Verdict.Unsigned, "unsigned")]
    [InlineData(Verdict.Unreadable, "unreadable")]
    public void The_name_of_a_verdict_is_the_one_on_the_wire(Verdict verdict, string name)
    {
        FindingJson.Name(verdict).ShouldBe(name);
        JsonSerializer.Serialize(verdict, FindingJson.Options).ShouldBe($"\"{name}\"");
    }
}
