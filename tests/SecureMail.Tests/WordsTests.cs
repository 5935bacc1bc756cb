using System.Collections;
using System.Globalization;
using System.Reflection;
using System.Resources;
using System.Text.RegularExpressions;
using SecureMail.Backup;
using SecureMail.Host.Errors;
using SecureMail.Ledger;
using SecureMail.LedgerStore;
using SecureMail.Pkcs11;
using SecureMail.Smime;
using SecureMail.Storage;
using SecureMail.Trust;
using SecureMail.Verification;

namespace SecureMail.Tests;

/// <summary>Holds the codes of the libraries and their words together: every code has both languages, and every word
/// has a code.</summary>
public sealed partial class WordsTests
{
    private static readonly string Source = Path.Combine(
        Path.GetDirectoryName(Path.GetDirectoryName(Vectors.Folder("cms")))!, "..", "src");

    public static TheoryData<string, string, string> Libraries =>
        new()
        {
            { "SecureMail.Trust", "Reasons", typeof(Reason).Assembly.Location },
            { "SecureMail.Smime", "Reasons", typeof(MessageValidator).Assembly.Location },
            { "SecureMail.Verification", "Reasons", typeof(FileValidator).Assembly.Location },
            { "SecureMail.Ledger", "Problems", typeof(LedgerProblem).Assembly.Location },
            { "SecureMail.LedgerStore", "Problems", typeof(LedgerVerifier).Assembly.Location },
        };

    [Theory]
    [MemberData(nameof(Libraries))]
    public void Every_code_of_a_library_has_words_in_both_languages(string project, string name, string assembly)
    {
        var codes = Directory
            .GetFiles(Path.Combine(Source, project), "*.cs")
            .SelectMany(file => Code().Matches(File.ReadAllText(file)))
            .Select(match => match.Groups["code"].Value)
            .Distinct();
        RequireWords($"{project}.Words.{name}", Assembly.LoadFrom(assembly), codes);
    }

    [Fact]
    public void Every_error_of_a_command_has_words_in_both_languages() =>
        RequireWords(
            "SecureMail.Host.Errors.Errors", typeof(ErrorWords).Assembly,
            [
                .. Keys<StorageFault>("Storage").Where(key => key != "Storage.Other"),
                .. Keys<SecretFileFault>("SecretFile"),
                .. Keys<BackupFault>("Backup"),
                .. Keys<Pkcs11Fault>("Pkcs11"),
                .. Keys<LedgerFault>("Ledger"),
                "AddressInUse",
                "ContentErased",
                "Database",
                "DataFolderInUse",
                "NotFound",
                "RequestInvalid",
                "SignInRequired",
                "Software",
                "Stopped",
                "UnusableData",
            ]);

    [Fact]
    public void An_error_is_one_line_with_Vietnamese_first()
    {
        ErrorWords
            .Of(new StorageUnavailableException(StorageFault.SchemaAhead, ["0099_next.sql"], "for the log"))
            .ShouldBe(
                "Cơ sở dữ liệu mới hơn chương trình (0099_next.sql): hãy dùng bản SecureMail mới. / The database is "
                    + "newer than this build (0099_next.sql): use the newer SecureMail.");
        ErrorWords
            .Of(BackupException.RecordChanged("/backups/base.smb", 3))
            .ShouldBe(
                "base.smb: bản ghi số 3 đã bị sửa hoặc khóa không đúng; không khôi phục gì. / base.smb: record 3 was "
                    + "changed, or the key is another one; nothing was restored.");
        ErrorWords
            .Of(new Pkcs11Exception(Pkcs11Fault.Busy, "CKR_SESSION_COUNT", "C_OpenSession"))
            .ShouldBe(
                "Thiết bị ký đang bận; hãy thử lại sau. / CKR_SESSION_COUNT: C_OpenSession. The token is busy; try "
                    + "again later.");
        ErrorWords.Of(new IOException("as it is")).ShouldBe("as it is");
    }

    [Fact]
    public void A_problem_of_the_ledger_is_named_in_the_language_of_its_sentence()
    {
        var problem = new LedgerProblem(
            new ResourceManager("SecureMail.LedgerStore.Words.Problems", typeof(LedgerVerifier).Assembly),
            "entry-missing", 7L, 9L);
        ErrorWords
            .Of(new BackupException(problem))
            .ShouldBe(
                "Nhật ký kiểm chứng khôi phục được không toàn vẹn: Bản ghi số 7 (mã 9) đã bị xóa. / The ledger "
                    + "restored "
                    + "is not intact: Entry 7 (id 9) was removed.");
    }

    [Fact]
    public void A_reason_has_one_code_for_all_its_sentences()
    {
        var words = new ResourceManager("SecureMail.Smime.Words.Reasons", typeof(MessageValidator).Assembly);
        var reason = new Reason(words, "mail-beyond-limits.cms", "17 nested layers");
        reason.Code.ShouldBe("mail-beyond-limits");
        reason.Vi.ShouldBe("Thư vượt giới hạn an toàn; hãy yêu cầu bên gửi soạn lại đơn giản hơn.");
        reason.En.ShouldBe("The mail passes a limit: 17 nested layers");
    }

    private static IEnumerable<string> Keys<T>(string kind)
        where T : struct, Enum => Enum.GetNames<T>().Select(name => $"{kind}.{name}");

    private static void RequireWords(string resource, Assembly assembly, IEnumerable<string> codes)
    {
        var resources = new ResourceManager(resource, assembly);
        var keys = codes.ToList();
        foreach (var language in new[] { CultureInfo.InvariantCulture, CultureInfo.GetCultureInfo("en") })
        {
            // Without the parents, because English that is missing must not be read as Vietnamese.
            var words = resources
                .GetResourceSet(language, createIfNotExists: true, tryParents: false)
                .ShouldNotBeNull()
                .Cast<DictionaryEntry>()
                .ToDictionary(e => (string)e.Key, e => (string)e.Value!);
            words.Keys.ShouldBe(keys, ignoreOrder: true, $"{resource} {language.Name}");
            words.Values.ShouldAllBe(w => w.Trim().Length > 2);
            // string.Format must take each sentence.
            words.Values.ShouldAllBe(w => string.Format(CultureInfo.InvariantCulture, w, "a", "b").Length > 0);
        }
    }

    /// <summary>How the libraries name a code: with the resources, or to the verifier's report.</summary>
    [GeneratedRegex("""(?:\(Words, |[rR]eport\()"(?<code>[a-z.-]+)""")]
    private static partial Regex Code();
}
