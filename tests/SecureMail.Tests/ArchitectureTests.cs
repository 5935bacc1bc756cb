using System.Text.RegularExpressions;
using System.Xml.Linq;
using NetArchTest.Rules;
using SecureMail.Gateway;

namespace SecureMail.Tests;

/// <summary>The shape of the whole: arrows between projects, files the diagrams name, standards the code
/// cites.</summary>
public sealed partial class ArchitectureTests
{
    // An arrow permits its whole closure: who uses Smime may use what Smime uses.
    private static readonly Dictionary<string, string[]> Arrows = new()
    {
        ["Libcrypto"] = [],
        ["Pkcs11"] = [],
        ["Cms"] = ["Libcrypto"],
        ["Trust"] = ["Cms"],
        ["Mail"] = [],
        ["Smime"] = ["Cms", "Trust", "Mail"],
        ["Verification"] = ["Smime"],
        ["Ledger"] = ["Libcrypto"],
        ["Exchange"] = ["Ledger", "Cms", "Trust", "Mail"],
        ["Storage"] = [],
        ["LedgerStore"] = ["Ledger", "Storage"],
        ["Backup"] = ["Storage", "Ledger", "Cms"],
        ["Gateway"] = ["Pkcs11", "Smime", "Exchange", "LedgerStore", "Backup"],
        ["Web"] = ["Gateway", "Verification"],
        ["Host"] = ["Web"],
    };

    // Each folder of the Gateway uses only those before it. The classes of the root compose them all.
    private static readonly string[] GatewayFolders =
    [
        "Vocabulary", "Words", "Telemetry", "Schema", "Directories", "Policy", "Registers", "Keys", "Clock", "Outbound",
        "Inbound", "Health", "Retention", "Jobs", "Recovery",
    ];

    private static readonly string Root = Repository.Root;

    [Fact]
    public void Projects_reference_only_what_the_design_allows()
    {
        foreach (var project in Directory.GetFiles(Path.Combine(Root, "src"), "*.csproj", SearchOption.AllDirectories))
        {
            var name = Path.GetFileNameWithoutExtension(project)["SecureMail.".Length..];
            Arrows.ShouldContainKey(name);
            var referenced = XDocument
                .Load(project)
                .Descendants("ProjectReference")
                .Select(r =>
                    Path.GetFileNameWithoutExtension(r.Attribute("Include")!.Value.Replace('\\', '/'))[
                        "SecureMail.".Length..
                    ]);
            referenced.Except(Closure(name)).ShouldBeEmpty($"{name} references what it may not");
        }
    }

    [Fact]
    public void The_scheduler_is_known_to_the_host_alone() =>
        Directory
            .GetFiles(Path.Combine(Root, "src"), "*.csproj", SearchOption.AllDirectories)
            .Where(p =>
                XDocument
                    .Load(p)
                    .Descendants("PackageReference")
                    .Any(r => r.Attribute("Include")!.Value.StartsWith("Hangfire", StringComparison.Ordinal)))
            .Select(p => Path.GetFileName(p))
            .ShouldBe(["SecureMail.Host.csproj"]);

    [Fact]
    public void Every_arrow_names_a_project_that_there_is() =>
        Arrows
            .Keys.Order()
            .ShouldBe(
                Directory
                    .GetFiles(Path.Combine(Root, "src"), "*.csproj", SearchOption.AllDirectories)
                    .Select(p => Path.GetFileNameWithoutExtension(p)["SecureMail.".Length..])
                    .Order());

    [Fact]
    public void The_order_of_the_gateway_names_exactly_the_folders_that_there_are() =>
        Directory
            .GetDirectories(Path.Combine(Root, "src/SecureMail.Gateway"))
            .Select(f => Path.GetFileName(f))
            .Except(["bin", "obj"])
            .Order()
            .ShouldBe(GatewayFolders.Order());

    [Fact]
    public void A_folder_of_the_gateway_uses_only_the_folders_before_it()
    {
        foreach (var (folder, n) in GatewayFolders.Select((f, n) => (f, n)))
        {
            string[] later = [.. GatewayFolders[(n + 1)..].Select(f => "SecureMail.Gateway." + f)];
            if (later.Length == 0)
            {
                continue;
            }

            Types
                .InAssembly(typeof(GatewaySettings).Assembly)
                .That()
                .ResideInNamespace("SecureMail.Gateway." + folder)
                .ShouldNot()
                .HaveDependencyOnAny(later)
                .GetResult()
                .FailingTypes.Select(t => t.FullName)
                .ShouldBeEmpty($"{folder} uses a folder that comes after it");
            // A constant leaves no trace in the compiled type. Its namespace stands among the usings.
            Directory
                .GetFiles(Path.Combine(Root, "src/SecureMail.Gateway", folder), "*.cs")
                .SelectMany(f => File.ReadLines(f).Where(l => later.Any(o => l == $"using {o};")))
                .ShouldBeEmpty($"{folder} uses a folder that comes after it");
        }
    }

    [Fact]
    public void The_arrow_tests_see_an_arrow()
    {
        // Proves that the rule above can fail: Outbound does use Registers.
        Types
            .InAssembly(typeof(GatewaySettings).Assembly)
            .That()
            .ResideInNamespace("SecureMail.Gateway.Outbound")
            .ShouldNot()
            .HaveDependencyOnAny("SecureMail.Gateway.Directories")
            .GetResult()
            .IsSuccessful.ShouldBeFalse();
    }

    [Fact]
    public void Every_file_that_the_architecture_page_names_exists()
    {
        var named = PathInText()
            .Matches(File.ReadAllText(Path.Combine(Root, "ARCHITECTURE.md")))
            .Select(m => m.Value)
            .Distinct()
            .ToList();
        named.ShouldContain("src/SecureMail.Gateway/OutboundFlow.cs");
        named
            .Where(n => !File.Exists(Path.Combine(Root, n)) && !Directory.Exists(Path.Combine(Root, n)))
            .ShouldBeEmpty();
    }

    [Fact]
    public void The_steps_of_both_flows_stand_in_the_diagrams()
    {
        // A flow is made of its steps, and of services that lie in other folders.
        var steps = new[] { typeof(OutboundFlow), typeof(InboundFlow) }
            .SelectMany(flow => flow.GetConstructors().Single().GetParameters())
            .Select(p => p.ParameterType)
            .Where(t => t.Namespace is "SecureMail.Gateway.Outbound" or "SecureMail.Gateway.Inbound")
            .Select(t => t.Name)
            .ToList();
        steps.ShouldContain("Sign");
        steps.ShouldContain("AcceptancePolicy");
        var page = File.ReadAllText(Path.Combine(Root, "ARCHITECTURE.md"));
        steps.Where(s => !page.Contains($"/{s}.cs\"]", StringComparison.Ordinal)).ShouldBeEmpty();
    }

    [Fact]
    public void Every_message_of_the_log_has_a_number_of_its_own_within_its_project()
    {
        foreach (var project in Directory.GetDirectories(Path.Combine(Root, "src")))
        {
            var numbers = Directory
                .GetFiles(project, "*.cs", SearchOption.AllDirectories)
                .SelectMany(f => LogNumber().Matches(File.ReadAllText(f)).Select(m => m.Groups[1].Value))
                .ToList();
            numbers.GroupBy(n => n).Where(g => g.Count() > 1).Select(g => g.Key).ShouldBeEmpty(project);
        }
    }

    [Fact]
    public void Every_RFC_that_the_code_cites_stands_in_the_table()
    {
        var table = RfcRow()
            .Matches(File.ReadAllText(Path.Combine(Root, "docs/rfc.md")))
            .Select(m => m.Groups[1].Value);
        var cited = Directory
            .GetFiles(Path.Combine(Root, "src"), "*.cs", SearchOption.AllDirectories)
            .Where(f => !f.Contains("/obj/", StringComparison.Ordinal))
            .SelectMany(f => Rfc().Matches(File.ReadAllText(f)).Select(m => m.Groups[1].Value))
            .Distinct()
            .Order()
            .ToList();
        // The scan reads the code: these are what CMS, mail and the ledger's tree are.
        cited.ShouldContain("5652");
        cited.ShouldContain("5321");
        cited.ShouldContain("9162");
        cited.Except(table).ShouldBeEmpty("cited in the code, missing in docs/rfc.md");
    }

    // Where else statements on the gateway's tables may stand, and why.
    private static readonly Dictionary<string, string> StatementsElsewhere = new()
    {
        ["SecureMail.SystemTests/Storage/"] = "the tables of queue, blobs and migrations are what is tested",
        ["SecureMail.SystemTests/Ledger/"] = "the ledger's tables are damaged in every way there is",
        ["SecureMail.SystemTests/Gateway/ExchangeTests.cs"] = "statements that the gateway's role must be refused",
        ["SecureMail.FaultTests/BackupTests.cs"] = "a statement that must not be answered before the journal has it",
        ["SecureMail.FaultTests/GrowthTests.cs"] = "partitions, sizes and the schema of an earlier build",
        ["SecureMail.FaultTests/JobStormTests.cs"] = "triggers of its own that note and hasten jobs",
        ["SecureMail.FaultTests/NodesTests.cs"] = "the migration of a build to come",
        ["SecureMail.TestKit/Gateways/TestMail.cs"] = "a dispatch as if sent, with contents the product encrypted",
    };

    [Fact]
    public void Tests_know_the_probes_and_no_table()
    {
        var tests = Path.Combine(Root, "tests");
        var knowing = Directory
            .GetFiles(tests, "*.cs", SearchOption.AllDirectories)
            .Where(f => !f.Contains("/obj/", StringComparison.Ordinal) && Statement().IsMatch(File.ReadAllText(f)))
            .Select(f => Path.GetRelativePath(tests, f))
            .ToList();
        // The rule can fail: the probes themselves are such files.
        knowing.ShouldContain("SecureMail.TestKit/Probes/QueueProbe.cs");
        knowing
            .Where(f =>
                !f.StartsWith("SecureMail.TestKit/Probes/", StringComparison.Ordinal)
                && !StatementsElsewhere.Keys.Any(e => f.StartsWith(e, StringComparison.Ordinal)))
            .ShouldBeEmpty("put the question into a probe (SecureMail.TestKit/Probes)");
        StatementsElsewhere
            .Keys.Where(e => !knowing.Any(f => f.StartsWith(e, StringComparison.Ordinal)))
            .ShouldBeEmpty("exceptions that nothing needs any more");
    }

    /// <summary>Lines of the product and of the tests that may be longer: help texts whose line breaks a user sees, SQL
    /// that reads better whole, patterns and data.</summary>
    [Theory]
    [InlineData("src", 20)]
    [InlineData("tests", 10)]
    public void Lines_fit_into_120_columns(string folder, int longerAllowed)
    {
        var longer = Directory
            .GetFiles(Path.Combine(Root, folder), "*.cs", SearchOption.AllDirectories)
            .Where(f => !f.Contains("/obj/", StringComparison.Ordinal))
            .SelectMany(f => File.ReadLines(f).Where(l => l.Length > 120).Select(l => $"{Path.GetFileName(f)}: {l}"))
            .ToList();
        longer.Count.ShouldBeLessThanOrEqualTo(longerAllowed, string.Join('\n', longer));
    }

    private static HashSet<string> Closure(string project) =>
        [.. Arrows[project].SelectMany(p => Closure(p).Append(p))];

    [GeneratedRegex(@"(?:src|tests)/[A-Za-z0-9./]+[A-Za-z0-9/]")]
    private static partial Regex PathInText();

    [GeneratedRegex(@"LoggerMessage\((\d+)")]
    private static partial Regex LogNumber();

    [GeneratedRegex(
        @"\b(?:FROM|INTO|UPDATE|JOIN|TABLE|TRUNCATE|COPY|ON)\s+(?:ONLY\s+)?(?:gateway|ledger|hangfire)\.[a-z]")]
    private static partial Regex Statement();

    [GeneratedRegex(@"(?m)^\| RFC (\d{3,4}) \|")]
    private static partial Regex RfcRow();

    [GeneratedRegex(@"RFC (\d{3,4})")]
    private static partial Regex Rfc();
}
