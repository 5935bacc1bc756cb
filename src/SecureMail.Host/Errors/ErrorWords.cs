using System.Net.Sockets;
using System.Resources;
using Microsoft.AspNetCore.Http;
using Npgsql;
using SecureMail.Backup;
using SecureMail.Cms;
using SecureMail.Gateway.Health;
using SecureMail.Gateway.Words;
using SecureMail.Ledger;
using SecureMail.Mail.Mime;
using SecureMail.Pkcs11;
using SecureMail.Shared;
using SecureMail.Storage;

namespace SecureMail.Host.Errors;

/// <summary>
/// The words for what a command reports: Errors.resx (Vietnamese) and Errors.en.resx (English). A key is the kind of
/// the exception and its code, for example <c>Storage.DiskFull</c>.
/// </summary>
internal static class ErrorWords
{
    private static readonly ResourceManager Words = new("SecureMail.Host.Errors.Errors", typeof(ErrorWords).Assembly);

    /// <summary>Vietnamese first, then English. An exception without a key of its own is described by its
    /// message.</summary>
    public static string Of(Exception e)
    {
        switch (e)
        {
            // The words of these are the gateway's.
            case ReasonedException r:
                return Catalogue.InBoth(r.Text);
            case NotTakenNowException n:
                return Catalogue.InBoth(n.Issue.Text);
        }

        var (key, arguments) = KeyOf(e);
        return key is null
            ? e.Message
            : $"{Words.Vietnamese(key, [.. arguments.Select(a => a is LedgerProblem p ? p.Vi : a)])} / "
                + Words.English(key, [.. arguments.Select(a => a is LedgerProblem p ? p.En : a)]);
    }

    /// <summary>One line for a fault of the program itself. The message is left out, because it may hold any
    /// data.</summary>
    public static string OfSoftware(Exception e) =>
        $"{Words.Vietnamese("Software", e.GetType().Name)} / {Words.English("Software", e.GetType().Name)}";

    /// <summary>What somebody without a session is told.</summary>
    public static string SignIn => $"{Words.Vietnamese("SignInRequired")} / {Words.English("SignInRequired")}";

    /// <summary>What the API says where it has nothing under the path.</summary>
    public static string NotFound => $"{Words.Vietnamese("NotFound")} / {Words.English("NotFound")}";

    private static (string? Key, IReadOnlyList<object> Arguments) KeyOf(Exception e) =>
        e switch
        {
            StorageUnavailableException { Fault: not StorageFault.Other } s => ($"Storage.{s.Fault}", s.Arguments),
            SecretFileException s => ($"SecretFile.{s.Fault}", [s.Name]),
            ContentErasedException c => ("ContentErased", [c.Blob]),
            BackupException b => ($"Backup.{b.Fault}", b.Arguments),
            DataFolderInUseException d => ("DataFolderInUse", [d.Folder, d.Entry]),
            Pkcs11Exception p => ($"Pkcs11.{p.Fault}", [p.Message]),
            LedgerException l => ($"Ledger.{l.Fault}", [l.Message]),
            NpgsqlException n => ("Database", [n.Message]),
            CmsException { Error: not CmsError.NotForUs } or MimeException => ("UnusableData", [e.Message]),
            BadHttpRequestException b => ("RequestInvalid", [b.Message]),
            SocketException s => ("AddressInUse", [s.SocketErrorCode]),
            OperationCanceledException => ("Stopped", []),
            _ => (null, []),
        };
}
