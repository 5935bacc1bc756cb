using System.Reflection.Emit;
using System.Reflection.Metadata;
using System.Reflection.Metadata.Ecma335;
using System.Reflection.PortableExecutable;

namespace SecureMail.TestKit;

/// <summary>A call in the compiled product.</summary>
/// <param name="In">The type whose code makes the call; code that the compiler made of a lambda or an async method
/// counts for the type it was written in.</param>
/// <param name="Type">The type whose method is called, without its namespace.</param>
/// <param name="Text">The last string that the method loaded since its last call of this kind; null: none.</param>
internal sealed record ProductCall(string In, string Type, string Method, string? Text);

/// <summary>
/// The calls that the compiled assemblies of the product make, as they lie beside the tests. A rule about calls is held
/// against what the compiler made, whatever the source looks like.
/// </summary>
internal static class ProductCalls
{
    private static readonly Dictionary<short, OpCode> Codes = typeof(OpCodes)
        .GetFields()
        .Select(f => (OpCode)f.GetValue(null)!)
        .ToDictionary(c => c.Value);

    /// <summary>The calls of methods of these names.</summary>
    public static IReadOnlyList<ProductCall> Of(params string[] methods)
    {
        List<ProductCall> calls = [];
        foreach (var file in Directory.GetFiles(AppContext.BaseDirectory, "*.dll").Where(IsProduct))
        {
            using var assembly = new PEReader(File.OpenRead(file));
            var metadata = assembly.GetMetadataReader();
            foreach (var method in metadata.MethodDefinitions.Select(metadata.GetMethodDefinition))
            {
                if (method.RelativeVirtualAddress != 0)
                {
                    var body = assembly.GetMethodBody(method.RelativeVirtualAddress).GetILReader();
                    Read(metadata, ref body, OwnerOf(metadata, method.GetDeclaringType()), methods, calls);
                }
            }
        }

        return calls;
    }

    private static bool IsProduct(string file) =>
        Path.GetFileNameWithoutExtension(file) is var name
        && (name == "securemail" || name.StartsWith("SecureMail.", StringComparison.Ordinal))
        && !name.EndsWith("Tests", StringComparison.Ordinal)
        && name != typeof(ProductCalls).Assembly.GetName().Name;

    private static void Read(
        MetadataReader metadata, ref BlobReader body, string owner, string[] methods, List<ProductCall> calls)
    {
        string? text = null;
        while (body.RemainingBytes > 0)
        {
            var first = body.ReadByte();
            var code = Codes[first == 0xFE ? (short)((first << 8) | body.ReadByte()) : first];
            switch (code.OperandType)
            {
                case OperandType.InlineString:
                    text = metadata.GetUserString((UserStringHandle)MetadataTokens.Handle(body.ReadInt32()));
                    break;
                case OperandType.InlineMethod:
                    if (Called(metadata, MetadataTokens.EntityHandle(body.ReadInt32())) is { } called
                        && methods.Contains(called.Method))
                    {
                        calls.Add(new ProductCall(owner, called.Type, called.Method, text));
                        text = null;
                    }

                    break;
                case OperandType.InlineSwitch:
                    var targets = body.ReadInt32();
                    body.Offset += 4 * targets;
                    break;
                default:
                    body.Offset += SizeOf(code.OperandType);
                    break;
            }
        }
    }

    private static int SizeOf(OperandType operand) =>
        operand switch
        {
            OperandType.InlineNone => 0,
            OperandType.ShortInlineBrTarget or OperandType.ShortInlineI or OperandType.ShortInlineVar => 1,
            OperandType.InlineVar => 2,
            OperandType.InlineI8 or OperandType.InlineR => 8,
            _ => 4,
        };

    private static (string Type, string Method)? Called(MetadataReader metadata, EntityHandle handle)
    {
        switch (handle.Kind)
        {
            case HandleKind.MethodSpecification:
                return Called(metadata, metadata.GetMethodSpecification((MethodSpecificationHandle)handle).Method);
            case HandleKind.MethodDefinition:
                var definition = metadata.GetMethodDefinition((MethodDefinitionHandle)handle);
                return (
                    metadata.GetString(metadata.GetTypeDefinition(definition.GetDeclaringType()).Name),
                    metadata.GetString(definition.Name));
            case HandleKind.MemberReference:
                var reference = metadata.GetMemberReference((MemberReferenceHandle)handle);
                var type = reference.Parent.Kind == HandleKind.TypeReference
                    ? metadata.GetString(metadata.GetTypeReference((TypeReferenceHandle)reference.Parent).Name)
                    : "";
                return (type, metadata.GetString(reference.Name));
            default:
                return null;
        }
    }

    private static string OwnerOf(MetadataReader metadata, TypeDefinitionHandle handle)
    {
        var type = metadata.GetTypeDefinition(handle);
        return type.GetDeclaringType() is { IsNil: false } outer
            ? OwnerOf(metadata, outer)
            : metadata.GetString(type.Name);
    }
}
