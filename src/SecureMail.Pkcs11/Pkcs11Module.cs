using System.Runtime.InteropServices;
using System.Text;

namespace SecureMail.Pkcs11;

/// <summary>What a token says of itself. Text without the padding that Cryptoki puts behind it.</summary>
/// <param name="PinCountLow">A wrong PIN was given since the last right one.</param>
/// <param name="PinFinalTry">One more wrong PIN locks the token.</param>
public sealed record Pkcs11TokenInfo(
    string Label, string Serial, string Model, string Manufacturer, ulong SlotId, string SlotDescription,
    string SlotManufacturer, bool Initialized, bool PinCountLow, bool PinFinalTry, bool PinLocked);

/// <summary>
/// A PKCS#11 module, loaded and initialised once for each path in a process, however often it is opened: Cryptoki's
/// state belongs to the process. It is finalised when the last holder disposes it, and stays loaded, because modules
/// leave threads and thread-local destructors behind that must not lose their code.
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

    /// <summary>Logins of the process, by token: they outlive every object, as a wrong PIN must be
    /// remembered.</summary>
    internal PinGuard GuardOf(Pkcs11TokenInfo token)
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
        // dlopen would search the library path for a bare name: which module answers must not depend on the
        // environment.
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

            loaded.Enter();
            return new Pkcs11Module(loaded);
        }
    }

    /// <summary>The tokens present now, one for each slot that holds one.</summary>
    /// <exception cref="Pkcs11Exception">DeviceError and what else the module answers.</exception>
    public IReadOnlyList<Pkcs11TokenInfo> Tokens()
    {
        var tokens = new List<Pkcs11TokenInfo>();
        foreach (var slot in Slots())
        {
            // A token may be pulled between the list and the question; its slot is then simply empty.
            if (Functions.GetSlotInfo(slot, out var slotInfo) == Ckr.Ok
                && Functions.GetTokenInfo(slot, out var info) == Ckr.Ok)
            {
                tokens.Add(Describe(slot, slotInfo, info));
            }
        }
        return tokens;
    }

    private CULong[] Slots()
    {
        // The list may grow between asking for its length and reading it; a fixed room needs no second guess.
        var slots = new CULong[MaxSlots];
        var count = 0;
        Cryptoki.Check(Functions.GetSlotList([], ref count), "C_GetSlotList"); // the first call makes modules look for new tokens
        count = MaxSlots;
        Cryptoki.Check(Functions.GetSlotList(slots, ref count), "C_GetSlotList");
        return slots[..count];
    }

    private static unsafe Pkcs11TokenInfo Describe(CULong slot, CkSlotInfo slotInfo, CkTokenInfo info)
    {
        var flags = info.Flags.Value;
        bool Has(uint flag) => (flags & flag) != 0;
        return new Pkcs11TokenInfo(
            Text(new ReadOnlySpan<byte>(info.Label, 32)), Text(new ReadOnlySpan<byte>(info.Serial, 16)),
            Text(new ReadOnlySpan<byte>(info.Model, 16)), Text(new ReadOnlySpan<byte>(info.Manufacturer, 32)),
            slot.Value, Text(new ReadOnlySpan<byte>(slotInfo.Description, 64)),
            Text(new ReadOnlySpan<byte>(slotInfo.Manufacturer, 32)), Has(Ck.TokenInitialized), Has(Ck.TokenPinCountLow),
            Has(Ck.TokenPinFinalTry), Has(Ck.TokenPinLocked));
    }

    // PKCS #11 2.40 §3.2: padded with blanks. Some modules end with NUL instead.
    private static string Text(ReadOnlySpan<byte> padded) => Encoding.UTF8.GetString(padded).TrimEnd(' ', '\0');

    public void Dispose()
    {
        lock (Modules)
        {
            if (_disposed)
            {
                return;
            }

            _disposed = true;
            _loaded.Leave();
        }
    }

    /// <summary>The module itself, for the life of the process.</summary>
    private sealed class Loaded
    {
        private int _holders;
        private bool _ours;

        public Loaded(string path)
        {
            Path = path;
            Functions = Load(path);
        }

        public string Path { get; }

        public Cryptoki Functions { get; }

        public Dictionary<(string Serial, string Label), PinGuard> Guards { get; } = [];

        public void Enter()
        {
            if (_holders == 0)
            {
                var result = Functions.Initialize();
                // Someone else in the process (a library that uses the module as well) was first: not ours to finalise.
                _ours = result == Ckr.Ok;
                if (result != Ckr.AlreadyInitialized)
                {
                    Cryptoki.Check(result, "C_Initialize");
                }
            }
            _holders++;
        }

        public void Leave()
        {
            if (--_holders == 0 && _ours)
            {
                Functions.Finish();
            }
        }

        private static unsafe Cryptoki Load(string path)
        {
            if (!NativeLibrary.TryLoad(path, out var library))
            {
                throw new Pkcs11Exception(Pkcs11Fault.ModuleMissing, "MODULE_MISSING", "the module cannot be loaded");
            }

            if (!NativeLibrary.TryGetExport(library, "C_GetFunctionList", out var entry))
            {
                throw new Pkcs11Exception(
                    Pkcs11Fault.ModuleMissing, "NOT_A_MODULE", "the file has no C_GetFunctionList");
            }

            nint list;
            Cryptoki.Check(((delegate* unmanaged[Cdecl]<nint*, CULong>)entry)(&list).Value, "C_GetFunctionList");
            return new Cryptoki(list);
        }
    }
}
