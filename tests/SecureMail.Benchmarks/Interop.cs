using System.Runtime.InteropServices;

namespace SecureMail.Benchmarks;

/// <summary>OpenSSL's CMS functions and what they stand on, as its manual pages declare them, and the process's CPU
/// clock.</summary>
internal static unsafe partial class Interop
{
    private const string Libcrypto = "libcrypto.so.3";

    public const uint CMS_DETACHED = 0x40;
    public const uint CMS_BINARY = 0x80;
    public const uint CMS_NO_SIGNER_CERT_VERIFY = 0x20;
    public const uint CMS_STREAM = 0x1000;
    public const int BIO_CTRL_INFO = 3;
    public const ulong X509_V_FLAG_CRL_CHECK_ALL = 0x4 | 0x8;

    public const int SIGTERM = 15;

    private const int CLOCK_PROCESS_CPUTIME_ID = 2;

    private const int RUSAGE_CHILDREN = -1;

    [LibraryImport("libc")]
    public static partial int kill(int process, int signal);

    // struct rusage (getrusage(2)): two struct timeval, then fourteen longs.
    [LibraryImport("libc")]
    private static partial int getrusage(int who, long* usage);

    [LibraryImport(Libcrypto)]
    public static partial nint BIO_new_mem_buf(byte* data, int length);

    [LibraryImport(Libcrypto)]
    public static partial nint BIO_new(nint method);

    [LibraryImport(Libcrypto)]
    public static partial nint BIO_s_mem();

    [LibraryImport(Libcrypto)]
    public static partial nint BIO_s_null();

    [LibraryImport(Libcrypto)]
    public static partial int BIO_free(nint bio);

    [LibraryImport(Libcrypto)]
    public static partial nint BIO_ctrl(nint bio, int command, nint argument, out byte* pointer);

    [LibraryImport(Libcrypto)]
    public static partial nint d2i_X509(nint reuse, ref byte* data, nint length);

    [LibraryImport(Libcrypto)]
    public static partial nint d2i_X509_CRL(nint reuse, ref byte* data, nint length);

    [LibraryImport(Libcrypto)]
    public static partial nint d2i_AutoPrivateKey(nint reuse, ref byte* data, nint length);

    [LibraryImport(Libcrypto)]
    public static partial nint OPENSSL_sk_new_null();

    [LibraryImport(Libcrypto)]
    public static partial int OPENSSL_sk_push(nint stack, nint item);

    [LibraryImport(Libcrypto)]
    public static partial nint X509_STORE_new();

    [LibraryImport(Libcrypto)]
    public static partial int X509_STORE_add_cert(nint store, nint certificate);

    [LibraryImport(Libcrypto)]
    public static partial int X509_STORE_add_crl(nint store, nint crl);

    [LibraryImport(Libcrypto)]
    public static partial int X509_STORE_set_flags(nint store, ulong flags);

    [LibraryImport(Libcrypto)]
    public static partial nint EVP_aes_256_gcm();

    [LibraryImport(Libcrypto)]
    public static partial nint CMS_sign(nint certificate, nint key, nint certificates, nint data, uint flags);

    [LibraryImport(Libcrypto)]
    public static partial int CMS_verify(
        nint cms, nint certificates, nint store, nint detached, nint output, uint flags);

    [LibraryImport(Libcrypto)]
    public static partial nint CMS_encrypt(nint certificates, nint data, nint cipher, uint flags);

    [LibraryImport(Libcrypto)]
    public static partial int CMS_decrypt(nint cms, nint key, nint certificate, nint detached, nint output, uint flags);

    [LibraryImport(Libcrypto)]
    public static partial void CMS_ContentInfo_free(nint cms);

    [LibraryImport(Libcrypto)]
    public static partial nint d2i_CMS_bio(nint bio, nint reuse);

    [LibraryImport(Libcrypto)]
    public static partial int i2d_CMS_bio_stream(nint output, nint cms, nint data, uint flags);

    [LibraryImport(Libcrypto)]
    public static partial nint SMIME_read_CMS(nint bio, out nint content);

    [LibraryImport(Libcrypto)]
    public static partial int SMIME_write_CMS(nint output, nint cms, nint data, uint flags);

    [LibraryImport(Libcrypto)]
    public static partial ulong ERR_get_error();

    [LibraryImport(Libcrypto)]
    public static partial void ERR_error_string_n(ulong error, byte* buffer, nuint length);

    [LibraryImport("libc")]
    private static partial int clock_gettime(int clock, out Timespec time);

    /// <summary>CPU time, user and system, of the children that ended and were waited for, in microseconds.</summary>
    public static double ChildrenCpuMicroseconds()
    {
        var usage = stackalloc long[18];
        return getrusage(RUSAGE_CHILDREN, usage) == 0
            ? ((usage[0] + usage[2]) * 1e6) + usage[1] + usage[3]
            : throw new InvalidOperationException("There is no CPU clock for children.");
    }

    [LibraryImport("libc")]
    private static partial int clock_getcpuclockid(int process, out int clock);

    /// <summary>CPU time of all threads of this process, in microseconds.</summary>
    public static double CpuMicroseconds() =>
        Read(CLOCK_PROCESS_CPUTIME_ID)
        ?? throw new InvalidOperationException("There is no CPU clock for processes.");

    /// <summary>The same of another process, whoever's it is; null when it has ended.</summary>
    public static double? CpuMicroseconds(int process) =>
        clock_getcpuclockid(process, out var clock) == 0 ? Read(clock) : null;

    private static double? Read(int clock) =>
        clock_gettime(clock, out var time) == 0 ? (time.Seconds * 1e6) + (time.Nanoseconds / 1e3) : null;

    [StructLayout(LayoutKind.Sequential)]
    private struct Timespec
    {
        public long Seconds;
        public long Nanoseconds;
    }
}
