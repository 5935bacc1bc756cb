namespace SecureMail.TestKit.Mutators;

/// <summary>
/// Changes one element of a BER encoding and writes all lengths anew, so that the change is met where the element is
/// read and not at the first length. It looks into OCTET STRING and BIT STRING too, because extensions and keys lie in
/// them. What is no BER is changed by its bytes.
/// </summary>
internal static class DerMutator
{
    private static readonly byte[][] Contents =
    [
        [], [0x00], [0x01], [0x7F], [0x80], [0xFF], [0x00, 0x80], [0x00, 0x00, 0x01],
        [.. Enumerable.Repeat((byte)0xFF, 9)], [.. Enumerable.Repeat((byte)0x7F, 9)],
        [.. Enumerable.Repeat((byte)0x41, 300)],
    ];

    private static readonly byte[] Tags =
    [
        0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0A, 0x0C, 0x13, 0x16, 0x17, 0x18, 0x1E, 0x24, 0x30, 0x31, 0x80, 0x81,
        0x82, 0x86, 0x87, 0xA0, 0xA1, 0xA2, 0xA3, 0xA4,
    ];

    public static byte[] Mutate(byte[] sample, byte[] other, Random random)
    {
        if (Element.Read(sample) is not { } root)
        {
            return OctetMutator.Mutate(sample, other, random);
        }

        List<Element> all = [.. root.DescendantsAndSelf()];
        var chosen = all[random.Next(all.Count)];
        switch (random.Next(10))
        {
            case 0:
                chosen.Tag = Tags[random.Next(Tags.Length)];
                break;
            case 1:
                chosen.Replace(Contents[random.Next(Contents.Length)]);
                break;
            case 2 when Element.Read(other) is { } theirs:
                List<Element> pieces = [.. theirs.DescendantsAndSelf()];
                chosen.Become(pieces[random.Next(pieces.Count)]);
                break;
            case 3:
                chosen.Become(all[random.Next(all.Count)]);
                break;
            case 4 or 5 when chosen.Children is { Count: > 0 } children:
                ChangeChildren(children, random);
                break;
            case 6:
                chosen.Wrap(Tags[random.Next(Tags.Length)]);
                break;
            default:
                var leaf = chosen.DescendantsAndSelf().Last();
                leaf.Replace(OctetMutator.Mutate(leaf.Content, Contents[^2], random));
                break;
        }

        return root.Encode();
    }

    private static void ChangeChildren(List<Element> children, Random random)
    {
        var at = random.Next(children.Count);
        switch (random.Next(3))
        {
            case 0:
                children.RemoveAt(at);
                break;
            case 1:
                var count = 1 + random.Next(random.Next(4) == 0 ? 80 : 3);
                children.InsertRange(at, Enumerable.Repeat(children[at], count));
                break;
            default:
                (children[at], children[0]) = (children[0], children[at]);
                break;
        }
    }

    /// <summary>An element that may be changed. Tags of more than one byte are not taken apart.</summary>
    private sealed class Element
    {
        private const int Deepest = 40;

        private Element(byte tag) => Tag = tag;

        public byte Tag { get; set; }

        /// <summary>The contents, where they are not taken apart.</summary>
        public byte[] Content { get; private set; } = [];

        public List<Element>? Children { get; private set; }

        /// <summary>The bits that a BIT STRING, taken apart, leaves unused.</summary>
        private byte[] Prefix { get; set; } = [];

        public static Element? Read(ReadOnlySpan<byte> data) =>
            TryRead(data, 0, out var element, out var length) && length == data.Length ? element : null;

        public IEnumerable<Element> DescendantsAndSelf() =>
            (Children ?? []).SelectMany(c => c.DescendantsAndSelf()).Prepend(this);

        public void Replace(byte[] content) => (Content, Children, Prefix) = (content, null, []);

        public void Become(Element other)
        {
            var copy = Read(other.Encode());
            if (copy is not null)
            {
                (Tag, Content, Children, Prefix) = (copy.Tag, copy.Content, copy.Children, copy.Prefix);
            }
        }

        public void Wrap(byte tag)
        {
            var inner = new Element(Tag) { Content = Content, Children = Children, Prefix = Prefix };
            (Tag, Content, Children, Prefix) = (tag, [], [inner], []);
        }

        public byte[] Encode()
        {
            var content = Children is null ? Content : [.. Prefix, .. Children.SelectMany(c => c.Encode())];
            byte[] length = content.Length switch
            {
                < 0x80 => [(byte)content.Length],
                < 0x100 => [0x81, (byte)content.Length],
                < 0x10000 => [0x82, (byte)(content.Length >> 8), (byte)content.Length],
                _ => [0x83, (byte)(content.Length >> 16), (byte)(content.Length >> 8), (byte)content.Length],
            };
            return [Tag, .. length, .. content];
        }

        private static bool TryRead(ReadOnlySpan<byte> data, int depth, out Element element, out int length)
        {
            (element, length) = (null!, 0);
            if (data.Length < 2 || (data[0] & 0x1F) == 0x1F || depth > Deepest)
            {
                return false;
            }

            element = new Element(data[0]);
            if (data[1] == 0x80)
            {
                return (data[0] & 0x20) != 0 && TryReadIndefinite(data, depth, element, out length);
            }

            var octets = data[1] < 0x80 ? 0 : data[1] & 0x7F;
            if (octets > 3 || data.Length < 2 + octets)
            {
                return false;
            }

            var size = octets == 0 ? data[1] : 0;
            for (var i = 0; i < octets; i++)
            {
                size = (size << 8) | data[2 + i];
            }

            length = 2 + octets + size;
            if (length > data.Length)
            {
                return false;
            }

            var content = data.Slice(2 + octets, size);
            // The rest of a BIT STRING begins after the number of unused bits.
            var prefix = data[0] == 0x03 ? 1 : 0;
            element.Children = (data[0] & 0x20) != 0 || (data[0] is 0x03 or 0x04 && size > 2)
                ? ReadAll(content[prefix..], depth + 1)
                : null;
            element.Prefix = element.Children is null ? [] : content[..prefix].ToArray();
            element.Content = element.Children is null ? content.ToArray() : [];
            return true;
        }

        private static bool TryReadIndefinite(ReadOnlySpan<byte> data, int depth, Element element, out int length)
        {
            element.Children = [];
            for (length = 2; length + 2 <= data.Length;)
            {
                if (data[length] == 0 && data[length + 1] == 0)
                {
                    length += 2;
                    return true;
                }

                if (!TryRead(data[length..], depth + 1, out var child, out var used))
                {
                    return false;
                }

                element.Children.Add(child);
                length += used;
            }

            return false;
        }

        private static List<Element>? ReadAll(ReadOnlySpan<byte> content, int depth)
        {
            List<Element> children = [];
            while (!content.IsEmpty)
            {
                if (!TryRead(content, depth, out var child, out var used))
                {
                    return null;
                }

                children.Add(child);
                content = content[used..];
            }

            return children;
        }
    }
}
