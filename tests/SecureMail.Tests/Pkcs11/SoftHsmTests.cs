namespace SecureMail.Tests.Pkcs11;

/// <summary>The tests' own tokens outlive processes that are killed.</summary>
public sealed class SoftHsmTests
{
    [Fact]
    public async Task A_file_that_a_killed_process_left_empty_is_given_back_and_no_other()
    {
        var folder = Directory.CreateTempSubdirectory("securemail-");
        try
        {
            var (emptied, changed) = (Path.Combine(folder.FullName, "a"), Path.Combine(folder.FullName, "b"));
            await File.WriteAllBytesAsync(emptied, []);
            await File.WriteAllBytesAsync(changed, [3]);
            SoftHsm.Mend(new Dictionary<string, byte[]> { [emptied] = [1, 2], [changed] = [1, 2] });
            (await File.ReadAllBytesAsync(emptied)).ShouldBe([1, 2]);
            (await File.ReadAllBytesAsync(changed)).ShouldBe([3]);
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }
}
