using System.Reflection;
using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace SecureMail.Libcrypto;

/// <summary>
/// The boundary to the host's OpenSSL 3 libcrypto: which library is loaded, how its errors are mapped, and who frees
/// each object. Each family of functions has one partial file (Interop.VerificationKey.cs, Interop.Cipher.cs). .NET
/// itself uses the same library, so nothing is shipped, and the security updates of the distribution apply.
/// Left out on purpose: what .NET's own types do as well (private RSA and EC keys, SHA-2, AES-CBC).
/// </summary>
internal static partial class Interop
{
    private const string Libcrypto = "libcrypto";

    static Interop() => NativeLibrary.SetDllImportResolver(typeof(Interop).Assembly, Resolve);

    private static nint Resolve(string name, Assembly assembly, DllImportSearchPath? searchPath)
    {
        if (name != Libcrypto)
        {
            return 0;
        }
        // The soname names the ABI, so a library of OpenSSL 1.1 cannot be loaded by accident.
        string[] candidates =
            OperatingSystem.IsWindows() ? ["libcrypto-3-x64.dll", "libcrypto-3.dll"]
            : OperatingSystem.IsMacOS() ? ["libcrypto.3.dylib"]
            : ["libcrypto.so.3"];
        foreach (var candidate in candidates)
        {
            if (NativeLibrary.TryLoad(candidate, assembly, searchPath, out var handle))
            {
                return handle;
            }
        }
        throw new DllNotFoundException(
            $"OpenSSL 3 is not installed: none of {string.Join(", ", candidates)} could be loaded "
                + "(Debian: apt-get install libssl3)");
    }

    /// <summary>Throws unless the result is 1. It is used only for calls that no input data can make fail: a failure is
    /// a bug here or a fault of the machine.</summary>
    /// <exception cref="CryptographicException">The call failed.</exception>
    public static void Check(int result, string operation)
    {
        if (result == 1)
        {
            return;
        }
        // Clear the error queue of this thread, because .NET reads the same queue and would attribute what is left in
        // it to another call.
        ERR_clear_error();
        throw new CryptographicException($"libcrypto: {operation} failed");
    }

    public static T CheckHandle<T>(T handle, string operation)
        where T : SafeHandle
    {
        if (!handle.IsInvalid)
        {
            return handle;
        }

        handle.Dispose();
        ERR_clear_error();
        throw new CryptographicException($"libcrypto: {operation} failed");
    }

    [LibraryImport(Libcrypto)]
    public static partial void ERR_clear_error();

    internal abstract class NativeHandle() : SafeHandle(0, ownsHandle: true)
    {
        public override bool IsInvalid => handle == 0;
    }
}
