using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using SecureMail.Pkcs11;

namespace SecureMail.Benchmarks;

/// <summary>
/// DESIGN.md §8's row of tokens: a signature with RSA-2048 by a key object of ours, against C_SignInit and C_Sign
/// called by function pointer in one open session with a ready DigestInfo. Both sides use the same key of the same
/// SoftHSM in this process, so its cost is on both. The token is made for the run.
/// </summary>
internal sealed unsafe class TokenContests : IDisposable
{
    private const string SignName = "token.sign";
    private const string Pin = "246813";
    private const string Label = "bench";

    private static readonly string[] Modules =
    [
        "/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
        "/usr/lib64/pkcs11/libsofthsm2.so",
    ];

    private readonly List<IDisposable> _open = [];
    private string? _folder;

    public IReadOnlyList<(string Name, Func<Contest> Make)> All => [(SignName, Sign)];

    public void Dispose()
    {
        _open.Reverse();
        _open.ForEach(o => o.Dispose());
        if (_folder is not null)
        {
            Directory.Delete(_folder, recursive: true);
        }
    }

    private Contest Sign()
    {
        var module = Modules.First(File.Exists);
        MakeToken(module);
        var token = Keep(
            Pkcs11Token.Open(
                Pkcs11Uri.Parse($"pkcs11:token={Label}?module-path={module}"), () => Encoding.ASCII.GetBytes(Pin)));
        var key = Keep(token.OpenRsa(Pkcs11Uri.Parse("pkcs11:object=seal")));
        var hash = RandomNumberGenerator.GetBytes(32);
        var theirs = new BareSession(module, token.Info.SlotId);
        // RFC 8017 §9.2: DigestInfo of SHA-256.
        byte[] info = [.. Convert.FromHexString("3031300d060960864801650304020105000420"), .. hash];
        return new(
            SignName,
            0.85,
            "a bare loop of C_SignInit and C_Sign",
            1,
            "signature",
            () =>
            {
                key.SignHash(hash, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
                return Task.CompletedTask;
            },
            () => theirs.Sign(info),
            () => key.SignHash(hash, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1)
                .SequenceEqual(theirs.Sign(info))
                ? Task.CompletedTask
                : throw new InvalidOperationException("The two sides make different signatures."));
    }

    private T Keep<T>(T opened) where T : IDisposable
    {
        _open.Add(opened);
        return opened;
    }

    private void MakeToken(string module)
    {
        _folder = Directory.CreateTempSubdirectory("smbench").FullName;
        Directory.CreateDirectory(Path.Combine(_folder, "tokens"));
        var configuration = Path.Combine(_folder, "softhsm2.conf");
        File.WriteAllText(
            configuration, $"directories.tokendir = {_folder}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n");
        // .NET's own setter does not reach native code, and SoftHSM reads the variable when it is initialised.
        Environment.SetEnvironmentVariable("SOFTHSM2_CONF", configuration);
        _ = setenv(Encoding.UTF8.GetBytes("SOFTHSM2_CONF\0"), Encoding.UTF8.GetBytes(configuration + "\0"), 1);
        Run("softhsm2-util", "--init-token", "--free", "--label", Label, "--so-pin", "13572468", "--pin", Pin);
        Run(
            "pkcs11-tool", "--module", module, "--token-label", Label, "--login", "--pin", Pin, "--keypairgen",
            "--key-type", "rsa:2048", "--id", "01", "--label", "seal", "--usage-sign");
    }

    private static void Run(string file, params string[] arguments)
    {
        var start = new ProcessStartInfo(file, arguments)
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            UseShellExecute = false,
        };
        using var process = Process.Start(start)!;
        var error = process.StandardError.ReadToEndAsync();
        process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        if (process.ExitCode != 0)
        {
            throw new InvalidOperationException($"{file} ended with {process.ExitCode}: {error.Result}");
        }
    }

    [DllImport("libc")]
    private static extern int setenv(byte[] name, byte[] value, int overwrite);

    /// <summary>The functions of PKCS #11 2.40 on 64-bit Unix with nothing around them.</summary>
    private sealed class BareSession
    {
        private readonly void** _functions;
        private readonly nuint _session;
        private readonly nuint _key;

        public BareSession(string module, ulong slot)
        {
            // The module is loaded and initialised, and its user logged in, by the other side.
            void* list;
            Check(
                ((delegate* unmanaged[Cdecl]<void**, nuint>)NativeLibrary.GetExport(
                    NativeLibrary.Load(module), "C_GetFunctionList"))(&list));
            _functions = (void**)list + 1;
            nuint session,
                key,
                found;
            Check(
                ((delegate* unmanaged[Cdecl]<nuint, nuint, void*, void*, nuint*, nuint>)_functions[12])(
                    (nuint)slot, 4, null, null, &session));
            // CKA_CLASS = CKO_PRIVATE_KEY.
            nuint privateKey = 3;
            var template = stackalloc nuint[] { 0, (nuint)(&privateKey), (nuint)sizeof(nuint) };
            Check(((delegate* unmanaged[Cdecl]<nuint, nuint*, nuint, nuint>)_functions[26])(session, template, 1));
            Check(
                ((delegate* unmanaged[Cdecl]<nuint, nuint*, nuint, nuint*, nuint>)_functions[27])(
                    session, &key, 1, &found));
            Check(((delegate* unmanaged[Cdecl]<nuint, nuint>)_functions[28])(session));
            (_session, _key) = (session, key);
        }

        public byte[] Sign(byte[] info)
        {
            // CK_MECHANISM of CKM_RSA_PKCS.
            var mechanism = stackalloc nuint[] { 1, 0, 0 };
            Check(
                ((delegate* unmanaged[Cdecl]<nuint, nuint*, nuint, nuint>)_functions[42])(_session, mechanism, _key));
            var signature = new byte[256];
            nuint length = 256;
            fixed (byte* from = info, to = signature)
            {
                Check(
                    ((delegate* unmanaged[Cdecl]<nuint, byte*, nuint, byte*, nuint*, nuint>)_functions[43])(
                        _session, from, (nuint)info.Length, to, &length));
            }

            return signature;
        }

        private static void Check(nuint result)
        {
            if (result != 0)
            {
                throw new InvalidOperationException($"the module returned 0x{result:x}");
            }
        }
    }
}
