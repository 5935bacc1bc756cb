using System.Text.Json;

namespace SecureMail.TestKit;

/// <summary>Finds tests/vectors from where the tests run: a build says nothing about the machine it was made
/// on.</summary>
internal static class Vectors
{
    public static string Folder(string module)
    {
        for (DirectoryInfo? folder = new(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            var vectors = Path.Combine(folder.FullName, "tests", "vectors", module);
            if (Directory.Exists(vectors))
            {
                return vectors;
            }
        }
        throw new DirectoryNotFoundException($"tests/vectors/{module} is not above the tests");
    }

    public static byte[] Read(string module, string name) => File.ReadAllBytes(Path.Combine(Folder(module), name));

    /// <summary>Each case of a list by its place there and, for the test's name, its file and what else is
    /// named.</summary>
    public static TheoryData<int, string> Cases(JsonElement list, params string[] shown) =>
        Labelled(list, ["file", .. shown]);

    /// <summary>Each case of a list by its place there and, for the test's name, the members named.</summary>
    public static TheoryData<int, string> Labelled(JsonElement list, params string[] shown)
    {
        var data = new TheoryData<int, string>();
        var index = 0;
        foreach (JsonElement element in list.EnumerateArray())
        {
            data.Add(
                index++,
                string.Join(' ', shown.Select(name => element.GetProperty(name).GetString())));
        }

        return data;
    }
}
