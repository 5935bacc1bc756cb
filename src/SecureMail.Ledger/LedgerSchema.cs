using System.Reflection;

namespace SecureMail.Ledger;

/// <summary>
/// The SQL of schema <c>ledger</c>, in the order to run it, for the gateway's migrator. It names the schema itself and
/// creates no role; rights go to the role <c>securemail_gateway</c> when that exists beforehand.
/// </summary>
public static class LedgerSchema
{
    public static IReadOnlyList<(string Name, string Sql)> Migrations { get; } = Read();

    private static List<(string, string)> Read()
    {
        var assembly = Assembly.GetExecutingAssembly();
        var scripts = new List<(string, string)>();
        foreach (
            var name in assembly
                .GetManifestResourceNames()
                .Where(n => n.EndsWith(".sql", StringComparison.Ordinal))
                .Order(StringComparer.Ordinal))
        {
            using var reader = new StreamReader(assembly.GetManifestResourceStream(name)!);
            scripts.Add((name, reader.ReadToEnd()));
        }
        return scripts;
    }
}
