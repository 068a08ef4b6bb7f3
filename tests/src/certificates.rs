//! Certificates for tests of TLS, in the directories that programs with GnuTLS expect.

use anyhow::Context;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Who signs.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority")
    }
}

impl Authority {
    /// A new one.
    ///
    /// # Errors
    /// If no key can be made.
    pub fn new(name: &str) -> anyhow::Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Ok(Self(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?))
    }

    /// `ca-cert.pem`: whose holder is to be trusted.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write_authority(&self, directory: &Path) -> anyhow::Result<()> {
        write(directory, "ca-cert.pem", &self.0.pem())
    }

    /// `server-cert.pem` and `server-key.pem`, for this machine.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn write_server(&self, directory: &Path, name: &str) -> anyhow::Result<()> {
        self.write_pair(directory, "server", name, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// `client-cert.pem` and `client-key.pem`.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn write_client(&self, directory: &Path, name: &str) -> anyhow::Result<()> {
        self.write_pair(directory, "client", name, ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn write_pair(
        &self,
        directory: &Path,
        kind: &str,
        name: &str,
        usage: ExtendedKeyUsagePurpose,
    ) -> anyhow::Result<()> {
        let mut params =
            CertificateParams::new(["localhost", "127.0.0.1"].map(str::to_owned).to_vec())?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![usage];
        params.key_usages =
            vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.0)?;
        write(directory, &format!("{kind}-cert.pem"), &certificate.pem())?;
        write(directory, &format!("{kind}-key.pem"), &key.serialize_pem())
    }
}

/// In one step, as who renews a certificate should.
fn write(directory: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    let (new, path) = (directory.join("new"), directory.join(name));
    fs::create_dir_all(directory)?;
    let mut options = fs::File::options();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(&new);
    std::io::Write::write_all(&mut file?, text.as_bytes())
        .and_then(|()| fs::rename(&new, &path))
        .with_context(|| path.display().to_string())
}
