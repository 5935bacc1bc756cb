using System.Text;
using Net.Pkcs11Interop.Common;

namespace SecureMail.Pkcs11;

/// <summary>CK_TOKEN_INFO and CK_SLOT_INFO of a token, texts without padding.</summary>
/// <param name="PinCountLow">A wrong PIN was given since the last correct one.</param>
/// <param name="PinFinalTry">One more wrong PIN locks the token.</param>
public sealed record Pkcs11TokenInfo(
    string Label, string Serial, string Model, string Manufacturer, ulong SlotId, string SlotDescription,
    string SlotManufacturer, bool Initialized, bool PinCountLow, bool PinFinalTry, bool PinLocked);

/// <summary>
/// A PKCS#11 module. It is loaded and initialised once for each path in a process, however often it is opened, because
/// the state of Cryptoki belongs to the process. It is finalised when the last object of its path is disposed, and
/// stays loaded, because the threads and thread-local destructors of a module may still run its code.
/// </summary>
public sealed class Pkcs11Module : IDisposable
{
    private const int MaxSlots = 256;

    private static readonly Dictionary<string, Loaded> Modules = new(StringComparer.Ordinal);

    private readonly Loaded _loaded;
    private bool _disposed;

    private Pkcs11Module(Loaded loaded) => _loaded = loaded;

    public string Path => _loaded.Path;

    internal Cryptoki Functions
    {
        get
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            return _loaded.Functions;
        }
    }

    /// <summary>The guard of a token. It lives as long as the process, because a refused PIN must be
    /// remembered.</summary>
    internal PinGuard GetPinGuard(Pkcs11TokenInfo token)
    {
        lock (Modules)
        {
            var id = (token.Serial, token.Label);
            if (!_loaded.Guards.TryGetValue(id, out var guard))
            {
                _loaded.Guards[id] = guard = new PinGuard();
            }

            return guard;
        }
    }

    /// <exception cref="Pkcs11Exception">ModuleMissing, ModuleUnusable.</exception>
    public static Pkcs11Module Open(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        // Refuse a bare name, because dlopen searches the library path for it, and the environment would then choose
        // the module.
        if (!System.IO.Path.IsPathFullyQualified(path))
        {
            throw new Pkcs11Exception(
                Pkcs11Fault.ModuleMissing, "MODULE_MISSING", "module-path is not an absolute path");
        }

        lock (Modules)
        {
            if (!Modules.TryGetValue(path, out var loaded))
            {
                Modules[path] = loaded = new Loaded(path);
            }

            loaded.Acquire();
            return new Pkcs11Module(loaded);
        }
    }

    /// <summary>The tokens present now, one for each slot with a token.</summary>
    /// <exception cref="Pkcs11Exception">DeviceError, or another error of the module.</exception>
    public IReadOnlyList<Pkcs11TokenInfo> ListTokens()
    {
        var tokens = new List<Pkcs11TokenInfo>();
        foreach (var slot in ListSlots())
        {
            // Skip a slot whose token was removed after the slots were listed.
            if (Functions.GetSlotInfo(slot, out var slotInfo) == Ckr.Ok
                && Functions.GetTokenInfo(slot, out var info) == Ckr.Ok)
            {
                tokens.Add(Describe(slot, slotInfo, info));
            }
        }
        return tokens;
    }

    private ulong[] ListSlots()
    {
        // Use an array of fixed size, because the list may grow between the two calls.
        var slots = new ulong[MaxSlots];
        // The first call makes modules look for new tokens.
        Cryptoki.Check(Functions.GetSlotList(null, out _), "C_GetSlotList");
        Cryptoki.Check(Functions.GetSlotList(slots, out var count), "C_GetSlotList");
        return slots[..count];
    }

    private static Pkcs11TokenInfo Describe(ulong slot, SlotInfo slotInfo, TokenInfo info)
    {
        bool Has(uint flag) => (info.Flags & flag) != 0;
        return new Pkcs11TokenInfo(
            Text(info.Label), Text(info.Serial), Text(info.Model), Text(info.Manufacturer), slot,
            Text(slotInfo.Description), Text(slotInfo.Manufacturer), Has(CKF.CKF_TOKEN_INITIALIZED),
            Has(CKF.CKF_USER_PIN_COUNT_LOW), Has(CKF.CKF_USER_PIN_FINAL_TRY), Has(CKF.CKF_USER_PIN_LOCKED));
    }

    // PKCS #11 2.40 §3.2: padded with blanks. Some modules pad with NUL instead.
    private static string Text(byte[] padded) => Encoding.UTF8.GetString(padded).TrimEnd(' ', '\0');

    public void Dispose()
    {
        lock (Modules)
        {
            if (_disposed)
            {
                return;
            }

            _disposed = true;
            _loaded.Release();
        }
    }

    /// <summary>The library of one path, for the life of the process, with the number of its users.</summary>
    private sealed class Loaded
    {
        private int _users;
        private bool _initializedHere;

        public Loaded(string path)
        {
            Path = path;
            Functions = Cryptoki.Load(path);
        }

        public string Path { get; }

        public Cryptoki Functions { get; }

        public Dictionary<(string Serial, string Label), PinGuard> Guards { get; } = [];

        public void Acquire()
        {
            if (_users == 0)
            {
                var result = Functions.Initialize();
                // Do not finalise the module if other code in the process (a library that uses it too) initialised it.
                _initializedHere = result == Ckr.Ok;
                if (result != Ckr.AlreadyInitialized)
                {
                    Cryptoki.Check(result, "C_Initialize");
                }
            }
            _users++;
        }

        public void Release()
        {
            if (--_users == 0 && _initializedHere)
            {
                Functions.FinalizeModule();
            }
        }
    }
}
