namespace SecureMail.TestKit;

internal static class Octets
{
    /// <summary>All that a stream has; it is disposed.</summary>
    public static async Task<byte[]> ReadAsync(Stream stream)
    {
        await using (stream)
        {
            using var all = new MemoryStream();
            await stream.CopyToAsync(all);
            return all.ToArray();
        }
    }
}
