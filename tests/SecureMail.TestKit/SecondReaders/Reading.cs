using System.Security.Cryptography;

namespace SecureMail.TestKit;

/// <summary>What a reader finds in a signed message.</summary>
/// <param name="Signers">SHA-256 of the certificates whose signatures verify, sorted.</param>
/// <param name="Leaves">Media type and SHA-256 of the decoded body of each part that is no multipart, in order. Line
/// ends count as LF, because a stored file may have either.</param>
internal sealed record Reading(IReadOnlyList<string> Signers, IReadOnlyList<string> Leaves)
{
    public static string Leaf(string mediaType, byte[] body)
    {
        var lines = new List<byte>(body.Length);
        for (var i = 0; i < body.Length; i++)
        {
            if (body[i] != '\r' || i + 1 == body.Length || body[i + 1] != '\n')
            {
                lines.Add(body[i]);
            }
        }

        return $"{mediaType.ToLowerInvariant()} {Convert.ToHexStringLower(SHA256.HashData([.. lines]))}";
    }

    public override string ToString() => $"signers {string.Join(',', Signers)}; {string.Join(" | ", Leaves)}";
}
