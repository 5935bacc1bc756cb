using System.Runtime.InteropServices;
using static SecureMail.Benchmarks.Interop;

namespace SecureMail.Benchmarks;

/// <summary>
/// The peer: OpenSSL's CMS in this process, used as its manual pages tell, each call by the faster of its ways
/// (streaming writes). What it makes goes to a memory BIO where something still has to read it, else to a null BIO.
/// Keys and certificates are parsed once and live as long as the process.
/// </summary>
internal sealed unsafe class OpenSslCms
{
    private readonly nint _signer;
    private readonly nint _signerKey;
    private readonly nint _chain;
    private readonly nint _recipient;
    private readonly nint _recipientKey;
    private readonly nint _toOne;
    private readonly Lazy<nint> _toMany;
    private readonly nint _store;

    public OpenSslCms(Materials materials)
    {
        _signer = Certificate(materials.Signer.Certificate.RawData);
        _signerKey = Key(materials.Signer.Key.ExportRSAPrivateKey());
        _chain = Stack([materials.Ca.RawData]);
        _recipient = Certificate(materials.Recipient.Certificate.RawData);
        _recipientKey = Key(materials.Recipient.Key.ExportRSAPrivateKey());
        _toOne = Stack([materials.Recipient.Certificate.RawData]);
        _toMany = new(() => Stack([.. materials.Many.Select(c => c.RawData)]));
        _store = X509_STORE_new();
        Check(X509_STORE_add_cert(_store, Certificate(materials.Root.RawData)));
        foreach (var crl in materials.Crls)
        {
            fixed (byte* pointer = crl)
            {
                var at = pointer;
                Check(X509_STORE_add_crl(_store, Check(d2i_X509_CRL(0, ref at, crl.Length))));
            }
        }

        Check(X509_STORE_set_flags(_store, X509_V_FLAG_CRL_CHECK_ALL));
    }

    /// <summary>SignedData with the content inside.</summary>
    public byte[] Sign(byte[] content)
    {
        using var output = Bio.Memory();
        using (var input = Bio.Of(content))
        {
            SignTo(input, output, CMS_BINARY | CMS_STREAM);
        }

        return output.ToArray();
    }

    public void SignToNull(byte[] content)
    {
        using var input = Bio.Of(content);
        using var output = Bio.Null();
        SignTo(input, output, CMS_BINARY | CMS_STREAM);
    }

    /// <summary>The content, verified by the certificate inside; whether that is to be trusted is not asked.</summary>
    public byte[] Verify(byte[] signed)
    {
        using var input = Bio.Of(signed);
        using var output = Bio.Memory();
        VerifyTo(input, output);
        return output.ToArray();
    }

    public void VerifyToMemory(byte[] signed)
    {
        using var input = Bio.Of(signed);
        using var output = Bio.Memory();
        VerifyTo(input, output);
    }

    /// <summary>Signed, then encrypted to the one recipient or to many; DER or BER, as OpenSSL streams it.</summary>
    public byte[] SignEncrypt(byte[] content)
    {
        using var output = Bio.Memory();
        SignEncryptTo(content, output, many: false);
        return output.ToArray();
    }

    public void SignEncryptToNull(byte[] content, bool many = false)
    {
        using var output = Bio.Null();
        SignEncryptTo(content, output, many);
    }

    /// <summary>Decrypted, then verified; the content stays in a memory BIO.</summary>
    public byte[] DecryptVerify(byte[] sealedSigned)
    {
        using var output = Bio.Memory();
        DecryptVerifyTo(sealedSigned, output);
        return output.ToArray();
    }

    public void DecryptVerifyToMemory(byte[] sealedSigned)
    {
        using var output = Bio.Memory();
        DecryptVerifyTo(sealedSigned, output);
    }

    /// <summary>A MIME entity made multipart/signed, then application/pkcs7-mime.</summary>
    public byte[] SignEncryptText(byte[] entity)
    {
        using var output = Bio.Memory();
        SignEncryptTextTo(entity, output);
        return output.ToArray();
    }

    public void SignEncryptTextToNull(byte[] entity)
    {
        using var output = Bio.Null();
        SignEncryptTextTo(entity, output);
    }

    /// <summary>The signed entity of a message, its signer's path checked with CRLs.</summary>
    public byte[] DecryptVerifyText(byte[] message)
    {
        using var output = Bio.Memory();
        DecryptVerifyTextTo(message, output);
        return output.ToArray();
    }

    public void DecryptVerifyTextToMemory(byte[] message)
    {
        using var output = Bio.Memory();
        DecryptVerifyTextTo(message, output);
    }

    private void SignTo(Bio input, Bio output, uint flags)
    {
        var cms = Check(CMS_sign(_signer, _signerKey, _chain, input.Handle, flags));
        Check(i2d_CMS_bio_stream(output.Handle, cms, input.Handle, flags));
        CMS_ContentInfo_free(cms);
    }

    private static void VerifyTo(Bio input, Bio output)
    {
        var cms = Check(d2i_CMS_bio(input.Handle, 0));
        Check(CMS_verify(cms, 0, 0, 0, output.Handle, CMS_BINARY | CMS_NO_SIGNER_CERT_VERIFY));
        CMS_ContentInfo_free(cms);
    }

    private void SignEncryptTo(byte[] content, Bio output, bool many)
    {
        const uint flags = CMS_BINARY | CMS_STREAM;
        using var input = Bio.Of(content);
        using var signed = Bio.Memory();
        SignTo(input, signed, flags);
        var cms = Check(CMS_encrypt(many ? _toMany.Value : _toOne, signed.Handle, EVP_aes_256_gcm(), flags));
        Check(i2d_CMS_bio_stream(output.Handle, cms, signed.Handle, flags));
        CMS_ContentInfo_free(cms);
    }

    private void DecryptVerifyTo(byte[] sealedSigned, Bio output)
    {
        using var input = Bio.Of(sealedSigned);
        using var opened = Bio.Memory();
        var cms = Check(d2i_CMS_bio(input.Handle, 0));
        Check(CMS_decrypt(cms, _recipientKey, _recipient, 0, opened.Handle, CMS_BINARY));
        CMS_ContentInfo_free(cms);
        VerifyTo(opened, output);
    }

    private void SignEncryptTextTo(byte[] entity, Bio output)
    {
        const uint flags = CMS_BINARY | CMS_STREAM;
        using var input = Bio.Of(entity);
        using var signed = Bio.Memory();
        var cms = Check(CMS_sign(_signer, _signerKey, _chain, input.Handle, flags | CMS_DETACHED));
        Check(SMIME_write_CMS(signed.Handle, cms, input.Handle, flags | CMS_DETACHED));
        CMS_ContentInfo_free(cms);
        cms = Check(CMS_encrypt(_toOne, signed.Handle, EVP_aes_256_gcm(), flags));
        Check(SMIME_write_CMS(output.Handle, cms, signed.Handle, flags));
        CMS_ContentInfo_free(cms);
    }

    private void DecryptVerifyTextTo(byte[] message, Bio output)
    {
        using var input = Bio.Of(message);
        using var opened = Bio.Memory();
        var cms = Check(SMIME_read_CMS(input.Handle, out _));
        Check(CMS_decrypt(cms, _recipientKey, _recipient, 0, opened.Handle, CMS_BINARY));
        CMS_ContentInfo_free(cms);
        cms = Check(SMIME_read_CMS(opened.Handle, out var content));
        Check(CMS_verify(cms, 0, _store, content, output.Handle, CMS_BINARY));
        CMS_ContentInfo_free(cms);
        if (content != 0)
        {
            Check(BIO_free(content));
        }
    }

    private static nint Certificate(byte[] der)
    {
        fixed (byte* pointer = der)
        {
            var at = pointer;
            return Check(d2i_X509(0, ref at, der.Length));
        }
    }

    private static nint Key(byte[] der)
    {
        fixed (byte* pointer = der)
        {
            var at = pointer;
            return Check(d2i_AutoPrivateKey(0, ref at, der.Length));
        }
    }

    private static nint Stack(byte[][] certificates)
    {
        var stack = Check(OPENSSL_sk_new_null());
        foreach (var der in certificates)
        {
            Check(OPENSSL_sk_push(stack, Certificate(der)));
        }

        return stack;
    }

    private static nint Check(nint result)
    {
        if (result > 0 || result < -1)
        {
            return result;
        }

        var text = stackalloc byte[256];
        ERR_error_string_n(ERR_get_error(), text, 256);
        throw new InvalidOperationException($"OpenSSL: {Marshal.PtrToStringUTF8((nint)text)}");
    }

    /// <summary>A BIO and, when it reads from an array, what keeps the array in place.</summary>
    private sealed class Bio : IDisposable
    {
        private GCHandle _pinned;

        private Bio(nint handle) => Handle = Check(handle);

        public nint Handle { get; }

        public static Bio Of(byte[] data)
        {
            var pinned = GCHandle.Alloc(data, GCHandleType.Pinned);
            return new Bio(BIO_new_mem_buf((byte*)pinned.AddrOfPinnedObject(), data.Length)) { _pinned = pinned };
        }

        public static Bio Memory() => new(BIO_new(BIO_s_mem()));

        public static Bio Null() => new(BIO_new(BIO_s_null()));

        public byte[] ToArray()
        {
            var length = BIO_ctrl(Handle, BIO_CTRL_INFO, 0, out var data);
            return new ReadOnlySpan<byte>(data, (int)length).ToArray();
        }

        public void Dispose()
        {
            _ = BIO_free(Handle);
            if (_pinned.IsAllocated)
            {
                _pinned.Free();
            }
        }
    }
}
