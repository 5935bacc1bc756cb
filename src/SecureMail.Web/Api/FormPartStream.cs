using Microsoft.AspNetCore.Http;
using SecureMail.Shared;

namespace SecureMail.Web.Api;

/// <summary>The content of one part of a request, asynchronously only. What the platform's reader says of a damaged
/// body is an answer to the client, and no fault of ours.</summary>
/// <exception cref="BadHttpRequestException">The body ends within the part, or is not multipart/form-data.</exception>
internal sealed class FormPartStream(Stream part) : ReadStream
{
    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        try
        {
            return await part.ReadAsync(buffer, cancellationToken);
        }
        catch (Exception e) when (IsOfBody(e))
        {
            throw Damaged(e);
        }
    }

    /// <summary>A connection that ended is said by a BadHttpRequestException, which is an IOException too.</summary>
    public static bool IsOfBody(Exception e) =>
        e is InvalidDataException or IOException and not BadHttpRequestException;

    public static BadHttpRequestException Damaged(Exception e) => new("The body is not multipart/form-data.", e);
}
