namespace SecureMail.TestKit.Mutators;

/// <summary>Changes, inserts, removes and copies bytes, without any knowledge of what they mean.</summary>
internal static class OctetMutator
{
    private static readonly byte[] Interesting =
    [
        0x00, 0x01, 0x0A, 0x0D, 0x20, 0x30, 0x31, 0x7F, 0x80, 0x81, 0x84, 0x88, 0xA0, 0xBF, 0xFE, 0xFF,
    ];

    public static byte[] Mutate(byte[] sample, byte[] other, Random random)
    {
        var data = new List<byte>(sample);
        var at = data.Count == 0 ? 0 : random.Next(data.Count);
        switch (data.Count == 0 ? 3 : random.Next(8))
        {
            case 0:
                data[at] ^= (byte)(1 << random.Next(8));
                break;
            case 1:
                data[at] = (byte)random.Next(256);
                break;
            case 2:
                data[at] = Interesting[random.Next(Interesting.Length)];
                break;
            case 3:
                data.InsertRange(at, Enumerable.Repeat((byte)random.Next(256), 1 + random.Next(16)));
                break;
            case 4:
                data.RemoveRange(at, Math.Min(data.Count - at, 1 + random.Next(16)));
                break;
            case 5:
                data.RemoveRange(at, data.Count - at);
                break;
            case 6:
                data.InsertRange(at, data.GetRange(at, Math.Min(data.Count - at, 1 + random.Next(64))));
                break;
            default:
                var from = random.Next(other.Length + 1);
                data.InsertRange(at, other[from..Math.Min(other.Length, from + random.Next(64))]);
                break;
        }

        return [.. data];
    }
}
