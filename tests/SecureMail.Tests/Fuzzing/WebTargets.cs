using System.Text.Json;
using Microsoft.AspNetCore.Http;
using SecureMail.TestKit.Mutators;
using SecureMail.Web.Api;

namespace SecureMail.Tests.Fuzzing;

/// <summary>Requests to the API.</summary>
internal static class WebTargets
{
    /// <summary>The manifest that is read is written to one that reads the same, each document has a name, and no octet
    /// is read that was not sent.</summary>
    public static FuzzTarget DispatchRequest { get; } =
        new("dispatch-request", "a dispatch as multipart/form-data with its manifest (RFC 7578)", _ => ReadRequest)
        {
            Mutators = [LineMutator.Mutate, OctetMutator.Mutate],
        };

    private static string ReadRequest(byte[] input)
    {
        try
        {
            return Completed.Result(ReadRequestAsync(input));
        }
        catch (BadHttpRequestException e)
        {
            throw new RefusedException(e.Message);
        }
    }

    private static async Task<string> ReadRequestAsync(byte[] input)
    {
        var context = new DefaultHttpContext();
        context.Request.ContentType = "multipart/form-data; boundary=ranh-gioi";
        context.Request.Body = new MemoryStream(input);
        var submission = await DispatchApi.ReadAsync(context.Request, CancellationToken.None);
        var fields = JsonSerializer.SerializeToUtf8Bytes(submission.Fields, DispatchApi.Json);
        JsonSerializer.SerializeToUtf8Bytes(
            JsonSerializer.Deserialize<SecureMail.Exchange.DispatchFields>(fields, DispatchApi.Json),
            DispatchApi.Json).ShouldBe(fields);
        var (documents, octets) = (0, 0L);
        await foreach (var document in submission.Documents)
        {
            document.Name.ShouldNotBeEmpty();
            using var content = new MemoryStream();
            await document.Open().CopyToAsync(content);
            documents++;
            octets += content.Length;
        }

        octets.ShouldBeLessThan(input.Length);
        return $"{documents} documents, {submission.Recipients.Count} addressees, number {submission.Number is null}";
    }
}
