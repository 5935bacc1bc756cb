using System.Text.Json;

namespace SecureMail.Tests;

/// <summary>THIRD-PARTY-NOTICES.md names what is shipped: the packages whose files the program's own list of
/// dependencies has.</summary>
public sealed class NoticesTests
{
    [Fact]
    public void Every_package_that_is_shipped_has_its_licence_and_copyright()
    {
        var shipped = Shipped().ToList();
        shipped.ShouldContain(p => p.StartsWith("BouncyCastle.Cryptography/", StringComparison.Ordinal));
        shipped.Count.ShouldBeGreaterThan(8);
        var rows = File.ReadLines(Path.Combine(Repository.Root, "THIRD-PARTY-NOTICES.md"))
            .Select(line => line.Split('|', StringSplitOptions.TrimEntries))
            .Where(cells => cells.Length == 6 && cells[2..5].All(c => c.Length > 0))
            .Select(cells => $"{cells[1]}/{cells[2]}");
        shipped.Except(rows).ShouldBeEmpty();
    }

    private static IEnumerable<string> Shipped()
    {
        using var dependencies = JsonDocument.Parse(
            File.ReadAllBytes(Path.Combine(AppContext.BaseDirectory, "securemail.deps.json")));
        var packages = dependencies
            .RootElement.GetProperty("libraries")
            .EnumerateObject()
            .Where(l => l.Value.GetProperty("type").GetString() == "package")
            .Select(l => l.Name)
            .ToHashSet(StringComparer.Ordinal);
        return
        [
            .. dependencies
                .RootElement.GetProperty("targets")
                .EnumerateObject()
                .SelectMany(t => t.Value.EnumerateObject())
                .Where(l => packages.Contains(l.Name) && l.Value.TryGetProperty("runtime", out _))
                .Select(l => l.Name),
        ];
    }
}
