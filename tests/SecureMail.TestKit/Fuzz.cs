namespace SecureMail.TestKit;

/// <summary>
/// The mutator that every parser's fuzz test shares. Seeded, so that a failure comes again; bounded, so that it stays
/// in the fast suite. The target asserts by throwing; a failure names the seed, the iteration and the octets.
/// </summary>
internal static class Fuzz
{
    public static void Run(IEnumerable<byte[]> corpus, int seed, int iterations, Action<byte[]> target)
    {
        byte[][] samples = [.. corpus];
        var random = new Random(seed);
        for (var i = 0; i < iterations; i++)
        {
            var input = Mutate(samples[random.Next(samples.Length)], samples, random);
            using var limit = new TimeLimit($"seed {seed}, iteration {i}");
            try
            {
                target(input);
            }
            catch (Exception e)
            {
                var hex = Convert.ToHexString(input.AsSpan(0, Math.Min(input.Length, 4096)));
                throw new InvalidOperationException($"seed {seed}, iteration {i}, {input.Length} octets: {hex}", e);
            }
        }
    }

    private static byte[] Mutate(byte[] sample, byte[][] samples, Random random)
    {
        var data = new List<byte>(sample);
        for (var rounds = 1 + random.Next(4); rounds > 0; rounds--)
        {
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
                    var other = samples[random.Next(samples.Length)];
                    var from = random.Next(other.Length + 1);
                    data.InsertRange(at, other[from..Math.Min(other.Length, from + random.Next(64))]);
                    break;
            }
        }
        return [.. data];
    }

    private static readonly byte[] Interesting =
    [
        0x00,
        0x01,
        0x0A,
        0x0D,
        0x20,
        0x30,
        0x31,
        0x7F,
        0x80,
        0x81,
        0x84,
        0x88,
        0xA0,
        0xBF,
        0xFE,
        0xFF,
    ];
}
