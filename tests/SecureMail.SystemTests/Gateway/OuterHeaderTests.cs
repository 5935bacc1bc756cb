using System.Text;
using SecureMail.Gateway.Vocabulary;
using SecureMail.Web;

namespace SecureMail.SystemTests.Gateway;

/// <summary>A valid dispatch whose outer header somebody changed on the way.</summary>
public sealed class OuterHeaderTests(SharedPair shared) : IClassFixture<SharedPair>
{
    [Fact]
    public async Task A_changed_outer_subject_is_a_finding_that_is_shown_and_the_dispatch_is_delivered()
    {
        var text = Encoding.Latin1.GetString(await new TestDispatch(shared.Pair).MakeAsync());
        text.ShouldContain("\r\nSubject: [...]\r\n");
        var message = await shared.DeliverAsync(
            Encoding.Latin1.GetBytes(
                text.Replace("\r\nSubject: [...]\r\n", "\r\nSubject: Chuyen gap\r\n", StringComparison.Ordinal)));
        message.Disposition.ShouldBe(Disposition.Inbox);

        var json = (await shared.Pair.B.Node.Incoming.FindingsAsync(message.Id, CancellationToken.None))[^1].Json;
        json.ShouldContain("outer-header-contradicts");
        json.ShouldNotContain("Chuyen gap");
        Wording.Findings(json).Select(l => l.Text).ShouldContain(v => v.Contains("The field Subject"));
    }
}
