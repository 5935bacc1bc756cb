using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace SecureMail.TestKit.Mutators;

/// <summary>Changes one value of a JSON text and leaves the text JSON. A text that is no JSON is changed by its
/// bytes.</summary>
internal static class JsonMutator
{
    private static readonly JsonSerializerOptions Written = new()
    {
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        MaxDepth = 256,
    };

    private static readonly string[] Values =
    [
        "null", "true", "0", "-1", "1.5", "1e999", "9223372036854775807", "9223372036854775808", "\"\"", "\"x\"", "[]",
        "{}", "[null]", "[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]", "\"\\u0000\"", "\"\\ud800\"", "\"\\r\\n\"",
        "\"\u0111\"",
        "\"../x\"", "\"AAAA\"", "\"0001-01-01T00:00:00Z\"", "\"9999-12-31T23:59:59+14:00\"",
        "\"00000000-0000-0000-0000-000000000000\"",
    ];

    public static byte[] Mutate(byte[] sample, byte[] other, Random random)
    {
        try
        {
            return Parse(sample) is { } root ? Change(root, other, random) : OctetMutator.Mutate(sample, other, random);
        }
        catch (Exception e) when (e is InvalidOperationException or JsonException)
        {
            // A text with half a surrogate pair cannot be written again.
            return OctetMutator.Mutate(sample, other, random);
        }
    }

    private static byte[] Change(JsonNode root, byte[] other, Random random)
    {
        List<JsonNode?> containers = [];
        Collect(root, containers);
        switch (containers[random.Next(containers.Count)])
        {
            case JsonObject { Count: > 0 } of:
                Change(of, other, random);
                break;
            case JsonArray { Count: > 0 } list:
                Change(list, random);
                break;
            default:
                root = JsonNode.Parse(Values[random.Next(Values.Length)])!;
                break;
        }

        return JsonSerializer.SerializeToUtf8Bytes(root, Written);
    }

    private static void Change(JsonObject of, byte[] other, Random random)
    {
        var name = of.ElementAt(random.Next(of.Count)).Key;
        switch (random.Next(6))
        {
            case 0:
                of.Remove(name);
                break;
            case 1:
                of.TryAdd(name + "x", of[name]?.DeepClone());
                break;
            case 2 when Parse(other) is JsonObject { Count: > 0 } theirs:
                var (taken, value) = theirs.ElementAt(random.Next(theirs.Count));
                of[random.Next(2) == 0 ? name : taken] = value?.DeepClone();
                break;
            case 3 when of[name] is JsonValue text && text.GetValueKind() == JsonValueKind.String:
                of[name] = ChangeText(text.GetValue<string>(), random);
                break;
            default:
                of[name] = JsonNode.Parse(Values[random.Next(Values.Length)]);
                break;
        }
    }

    private static void Change(JsonArray list, Random random)
    {
        var at = random.Next(list.Count);
        switch (random.Next(4))
        {
            case 0:
                list.RemoveAt(at);
                break;
            case 1:
                list.Insert(at, list[at]?.DeepClone());
                break;
            case 2 when list[at] is JsonValue text && text.GetValueKind() == JsonValueKind.String:
                list[at] = ChangeText(text.GetValue<string>(), random);
                break;
            default:
                list[at] = JsonNode.Parse(Values[random.Next(Values.Length)]);
                break;
        }
    }

    private static string ChangeText(string text, Random random)
    {
        var at = random.Next(text.Length + 1);
        return random.Next(4) switch
        {
            0 => text[..at],
            1 => text[..at] + (char)random.Next(1, 0x2FF) + text[at..],
            2 => text[..at] + text,
            _ => text[at..],
        };
    }

    private static void Collect(JsonNode? node, List<JsonNode?> containers)
    {
        if (node is JsonObject or JsonArray)
        {
            containers.Add(node);
        }

        foreach (var child in node switch
        {
            JsonObject of => of.Select(p => p.Value),
            JsonArray list => list,
            _ => [],
        })
        {
            Collect(child, containers);
        }

        if (containers.Count == 0)
        {
            containers.Add(node);
        }
    }

    private static JsonNode? Parse(byte[] text)
    {
        try
        {
            return JsonNode.Parse(
                text, documentOptions: new JsonDocumentOptions { MaxDepth = 128, AllowDuplicateProperties = false });
        }
        catch (JsonException)
        {
            return null;
        }
    }
}
