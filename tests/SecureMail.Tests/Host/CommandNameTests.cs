using System.CommandLine;
using System.Reflection;
using System.Text.RegularExpressions;
using SecureMail.Host.Commands;

namespace SecureMail.Tests.Host;

/// <summary>Program.cs makes a command by its name alone, so the name that stands there must be the command's
/// own.</summary>
public sealed partial class CommandNameTests
{
    [Fact]
    public void Each_command_is_listed_once_by_its_own_name_and_none_is_forgotten()
    {
        var program = File.ReadAllText(Path.Combine(Repository.Root, "src", "SecureMail.Host", "Program.cs"));
        var listed = Listed().Matches(program).ToDictionary(m => m.Groups[2].Value, m => m.Groups[1].Value);
        var makers = typeof(SendCommand)
            .Assembly.GetTypes()
            .Where(t => t.Namespace == typeof(SendCommand).Namespace)
            .Select(t => t.GetMethod("Create", BindingFlags.Static | BindingFlags.Public, []))
            .OfType<MethodInfo>()
            .Where(m => m.ReturnType == typeof(Command))
            .ToDictionary(m => m.DeclaringType!.Name, m => ((Command)m.Invoke(null, null)!).Name);
        makers.Count.ShouldBeGreaterThan(15);
        listed.ShouldBe(makers, ignoreOrder: true);
    }

    [GeneratedRegex("""\("([a-z]+)", (\w+)\.Create\)""")]
    private static partial Regex Listed();
}
