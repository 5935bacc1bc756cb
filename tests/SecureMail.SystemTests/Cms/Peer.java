import java.io.ByteArrayInputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.PrivateKey;
import java.security.Security;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.security.spec.MGF1ParameterSpec;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.List;
import javax.crypto.spec.OAEPParameterSpec;
import javax.crypto.spec.PSource;
import org.bouncycastle.asn1.ASN1ObjectIdentifier;
import org.bouncycastle.asn1.cms.CMSObjectIdentifiers;
import org.bouncycastle.asn1.cms.ContentInfo;
import org.bouncycastle.asn1.pkcs.PKCSObjectIdentifiers;
import org.bouncycastle.asn1.pkcs.PrivateKeyInfo;
import org.bouncycastle.cert.X509CertificateHolder;
import org.bouncycastle.cert.jcajce.JcaCertStore;
import org.bouncycastle.cms.*;
import org.bouncycastle.cms.jcajce.*;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.operator.OutputAEADEncryptor;
import org.bouncycastle.operator.jcajce.*;

/**
 * The other side of BouncyCastleTests: reads lines from the file "jobs" of the working directory and does each, so that
 * one start of the virtual machine serves many. A line that fails is answered with its error; the rest goes on.
 */
public final class Peer {
    public static void main(String[] args) throws Exception {
        Security.addProvider(new BouncyCastleProvider());
        for (String line : Files.readAllLines(Path.of("jobs"))) {
            String[] job = line.split(" ");
            String answer;
            try {
                answer = run(job);
            } catch (Exception e) {
                answer = "failed " + e;
            }
            System.out.println(answer);
        }
    }

    static String run(String[] job) throws Exception {
        switch (job[0]) {
            case "sign": // out attached content (algorithm name)...
                return sign(job);
            case "verify": // in content|-
                return verify(job[1], job[2].equals("-") ? null : read(job[2]));
            case "encrypt": // out cipher padding content name...
                return encrypt(job);
            case "decrypt": // in out name
                return decrypt(job[1], job[2], job[3]);
            default:
                throw new IllegalArgumentException(job[0]);
        }
    }

    static String sign(String[] job) throws Exception {
        CMSSignedDataGenerator generator = new CMSSignedDataGenerator();
        for (int i = 4; i < job.length; i += 2) {
            X509Certificate certificate = certificate(job[i + 1]);
            var signer = new JcaContentSignerBuilder(job[i]).setProvider("BC").build(key(job[i + 1]));
            generator.addSignerInfoGenerator(new JcaSignerInfoGeneratorBuilder(new JcaDigestCalculatorProviderBuilder().setProvider("BC").build()).build(signer, certificate));
            generator.addCertificates(new JcaCertStore(List.of(certificate)));
        }
        Files.write(Path.of(job[1]), generator.generate(new CMSProcessableByteArray(read(job[3])), job[2].equals("attached")).getEncoded());
        return "done";
    }

    @SuppressWarnings("unchecked")
    static String verify(String name, byte[] content) throws Exception {
        CMSSignedData data = content == null ? new CMSSignedData(read(name)) : new CMSSignedData(new CMSProcessableByteArray(content), read(name));
        int good = 0;
        for (SignerInformation signer : data.getSignerInfos().getSigners()) {
            X509CertificateHolder holder = (X509CertificateHolder) data.getCertificates().getMatches(signer.getSID()).iterator().next();
            if (!signer.verify(new JcaSimpleSignerInfoVerifierBuilder().setProvider("BC").build(holder)))
                return "refused";
            good++;
        }
        return "good " + good;
    }

    static String encrypt(String[] job) throws Exception {
        boolean gcm = job[2].endsWith("GCM");
        CMSEnvelopedGenerator generator = gcm ? new CMSAuthEnvelopedDataGenerator() : new CMSEnvelopedDataGenerator();
        for (int i = 5; i < job.length; i++)
            generator.addRecipientInfoGenerator(recipient(certificate(job[i]), job[3]));
        var content = new CMSProcessableByteArray(read(job[4]));
        var encryptor = new JceCMSContentEncryptorBuilder((ASN1ObjectIdentifier) CMSAlgorithm.class.getField(job[2]).get(null)).setProvider("BC").build();
        byte[] encoded = gcm
            ? ((CMSAuthEnvelopedDataGenerator) generator).generate(content, (OutputAEADEncryptor) encryptor).getEncoded()
            : ((CMSEnvelopedDataGenerator) generator).generate(content, encryptor).getEncoded();
        Files.write(Path.of(job[1]), encoded);
        return "done";
    }

    static JceKeyTransRecipientInfoGenerator recipient(X509Certificate certificate, String padding) throws Exception {
        if (padding.equals("pkcs1"))
            return new JceKeyTransRecipientInfoGenerator(certificate).setProvider("BC");
        var oaep = new OAEPParameterSpec(padding, "MGF1", new MGF1ParameterSpec(padding), PSource.PSpecified.DEFAULT);
        var algorithm = new JcaAlgorithmParametersConverter().getAlgorithmIdentifier(PKCSObjectIdentifiers.id_RSAES_OAEP, oaep);
        return new JceKeyTransRecipientInfoGenerator(certificate, algorithm).setProvider("BC");
    }

    static String decrypt(String in, String out, String name) throws Exception {
        var id = new JceKeyTransRecipientId(certificate(name));
        byte[] encoded = read(in);
        boolean authenticated = ContentInfo.getInstance(encoded).getContentType().equals(CMSObjectIdentifiers.authEnvelopedData);
        byte[] content = authenticated
            ? new CMSAuthEnvelopedData(encoded).getRecipientInfos().get(id).getContent(new JceKeyTransAuthEnvelopedRecipient(key(name)).setProvider("BC"))
            : new CMSEnvelopedData(encoded).getRecipientInfos().get(id).getContent(new JceKeyTransEnvelopedRecipient(key(name)).setProvider("BC"));
        Files.write(Path.of(out), content);
        return "done";
    }

    static byte[] read(String name) throws Exception {
        return Files.readAllBytes(Path.of(name));
    }

    static X509Certificate certificate(String name) throws Exception {
        return (X509Certificate) CertificateFactory.getInstance("X.509", "BC").generateCertificate(new ByteArrayInputStream(read(name + ".crt")));
    }

    static PrivateKey key(String name) throws Exception {
        byte[] encoded = read(name + ".pk8");
        String algorithm = PrivateKeyInfo.getInstance(encoded).getPrivateKeyAlgorithm().getAlgorithm().getId();
        return KeyFactory.getInstance(algorithm, "BC").generatePrivate(new PKCS8EncodedKeySpec(encoded));
    }
}
