use super::*;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevocationReason,
    RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls::{ClientConfig, RootCertStore};
use std::fs;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_rustls::TlsConnector;

type Authority = CertifiedIssuer<'static, KeyPair>;

/// An authority, and a directory with a server's certificate of it.
struct Place {
    directory: TempDir,
    authority: Authority,
}

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn params(serial: u64, usage: ExtendedKeyUsagePurpose) -> CertificateParams {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.serial_number = Some(SerialNumber::from(serial));
    params.extended_key_usages = vec![usage];
    params
}

impl Place {
    fn new() -> Self {
        let place = Self { directory: tempfile::tempdir().unwrap(), authority: authority("ours") };
        place.serve_with(params(1, ExtendedKeyUsagePurpose::ServerAuth));
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn serve_with(&self, params: CertificateParams) {
        let key = KeyPair::generate().unwrap();
        self.write(CHAIN, &params.signed_by(&key, &self.authority).unwrap().pem());
        self.write(KEY, &key.serialize_pem());
    }

    /// From now on clients need a certificate.
    fn check_clients(self) -> Self {
        self.write(AUTHORITIES, &self.authority.pem());
        self
    }

    fn revoke(&self, serial: u64) {
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 1, 1),
            next_update: date_time_ymd(2026, 2, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: vec![RevokedCertParams {
                serial_number: SerialNumber::from(serial),
                revocation_time: date_time_ymd(2026, 1, 1),
                reason_code: Some(RevocationReason::KeyCompromise),
                invalidity_date: None,
            }],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        self.write(REVOKED, &list.signed_by(&self.authority).unwrap().pem().unwrap());
    }

    fn load(&self) -> Result<Identity, TlsError> {
        Identity::load(self.directory.path())
    }

    fn refusal(&self) -> String {
        self.load().unwrap_err().to_string()
    }
}

/// A client of these versions, with a certificate by `issuer`.
fn client(
    place: &Place,
    issuer: Option<(&Authority, u64)>,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(place.authority.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots);
    match issuer {
        None => builder.with_no_client_auth(),
        Some((issuer, serial)) => {
            let key = KeyPair::generate().unwrap();
            let params = params(serial, ExtendedKeyUsagePurpose::ClientAuth);
            let certificate = params.signed_by(&key, issuer).unwrap();
            let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
            builder.with_client_auth_cert(vec![certificate.der().clone()], key).unwrap()
        }
    }
}

/// Both sides shake hands, then the client says something, and hears it back. Gives what the
/// server has to say of it.
async fn talk(identity: &Identity, config: ClientConfig) -> Result<(), String> {
    let (near, far) = duplex(1 << 20);
    let server = async {
        let mut stream = identity.accept(near).await.map_err(|error| error.to_string())?;
        let word = stream.read_u32().await.map_err(|error| error.to_string())?;
        stream.write_u32(word).await.unwrap();
        stream.shutdown().await.map_err(|error| error.to_string())
    };
    let client = async {
        let name = "localhost".try_into().unwrap();
        let mut stream = TlsConnector::from(Arc::new(config)).connect(name, far).await?;
        stream.write_u32(7).await?;
        stream.flush().await?;
        let word = stream.read_u32().await?;
        // An end in order: without a close_notify this is an error.
        Ok::<_, io::Error>((word, stream.read(&mut [0]).await?))
    };
    let (server, client) = tokio::join!(server, client);
    assert_eq!(server.is_ok(), client.is_ok(), "{server:?} {client:?}");
    assert!(client.is_err() || matches!(client, Ok((7, 0))), "{client:?}");
    server
}

const BOTH: [&rustls::SupportedProtocolVersion; 2] =
    [&rustls::version::TLS12, &rustls::version::TLS13];

#[tokio::test]
async fn both_versions_are_spoken() {
    let place = Place::new().check_clients();
    let identity = place.load().unwrap();
    assert!(identity.checks_clients() && identity.warnings().is_empty());
    for version in BOTH {
        let client = client(&place, Some((&place.authority, 2)), &[version]);
        talk(&identity, client).await.unwrap();
    }
}

#[tokio::test]
async fn a_client_needs_no_certificate_without_an_authority() {
    let place = Place::new();
    let identity = place.load().unwrap();
    assert!(!identity.checks_clients());
    for version in BOTH {
        talk(&identity, client(&place, None, &[version])).await.unwrap();
    }
}

#[tokio::test]
async fn clients_without_a_good_certificate_are_refused() {
    let place = Place::new().check_clients();
    place.revoke(9);
    let identity = place.load().unwrap();
    let stranger = authority("theirs");
    for version in BOTH {
        let talk = |issuer| talk(&identity, client(&place, issuer, &[version]));
        let why = talk(None).await.unwrap_err();
        assert!(why.contains("no certificates"), "{why}");
        let why = talk(Some((&stranger, 2))).await.unwrap_err();
        assert!(why.contains("UnknownIssuer"), "{why}");
        let why = talk(Some((&place.authority, 9))).await.unwrap_err();
        assert!(why.contains("Revoked"), "{why}");
        talk(Some((&place.authority, 8))).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_no_tls_is_refused_and_who_goes_is_noticed() {
    let identity = Place::new().load().unwrap();
    let accept = async |bytes: &[u8]| {
        let (near, mut far): (DuplexStream, _) = duplex(4096);
        far.write_all(bytes).await.unwrap();
        far.shutdown().await.unwrap();
        identity.accept(near).await.unwrap_err()
    };
    let garbage = accept(b"NBDMAGICIHAVEOPT").await;
    assert_eq!(garbage.kind(), io::ErrorKind::InvalidData, "{garbage}");
    assert_eq!(accept(b"").await.kind(), io::ErrorKind::UnexpectedEof);
    assert_eq!(accept(b"\x16\x03\x01").await.kind(), io::ErrorKind::UnexpectedEof);
}

/// Somebody on the way could have cut it: it is not an end in order.
#[tokio::test]
async fn an_end_without_a_good_bye_is_an_error() {
    let place = Place::new();
    let identity = place.load().unwrap();
    let (near, far) = duplex(1 << 16);
    let name = "localhost".try_into().unwrap();
    let connector = TlsConnector::from(Arc::new(client(&place, None, &BOTH)));
    let (server, client) = tokio::join!(identity.accept(near), connector.connect(name, far));
    let (mut server, mut client) = (MaybeTls::Tls(Box::new(server.unwrap())), client.unwrap());
    client.write_all(b"DISC").await.unwrap();
    client.flush().await.unwrap();
    assert!(server.is_tls());
    let mut word = [0; 4];
    server.read_exact(&mut word).await.unwrap();
    drop(client);
    let error = server.read(&mut word).await.unwrap_err();
    assert_eq!((&word, error.kind()), (b"DISC", io::ErrorKind::UnexpectedEof));
}

#[test]
fn what_is_wrong_with_a_file_is_said_with_its_name() {
    let place = Place::new();
    let key = fs::read_to_string(place.path(KEY)).unwrap();
    fs::remove_file(place.path(KEY)).unwrap();
    assert!(place.refusal().contains(KEY), "{}", place.refusal());
    place.write(
        KEY,
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    assert!(place.refusal().contains("not be encrypted"), "{}", place.refusal());
    place.write(KEY, &KeyPair::generate().unwrap().serialize_pem());
    assert!(place.refusal().contains("server-cert.pem and server-key.pem"), "{}", place.refusal());
    place.write(KEY, &key);
    place.load().unwrap();
    place.revoke(1);
    assert!(place.refusal().contains("ca-crl.pem: a list"), "{}", place.refusal());
    place.write(AUTHORITIES, "no certificate");
    assert!(place.refusal().contains("ca-cert.pem: there is no"), "{}", place.refusal());
    place.write(AUTHORITIES, &place.authority.pem());
    place.load().unwrap();
    place.write(REVOKED, "");
    assert!(place.refusal().contains("ca-crl.pem: there is no"), "{}", place.refusal());
    let place = Place::new();
    place.write(CHAIN, "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n");
    assert!(place.refusal().contains(CHAIN), "{}", place.refusal());
}

#[test]
fn what_clients_will_refuse_and_a_key_for_everybody_are_warned_of() {
    let warnings = |place: &Place| place.load().unwrap().warnings().join("\n");
    let place = Place::new();
    let mut old = params(1, ExtendedKeyUsagePurpose::ServerAuth);
    old.not_before = date_time_ymd(2001, 1, 1);
    old.not_after = date_time_ymd(2002, 1, 1);
    place.serve_with(old);
    assert!(warnings(&place).contains("expired"), "{}", warnings(&place));
    place.serve_with(params(1, ExtendedKeyUsagePurpose::ClientAuth));
    assert!(warnings(&place).contains("server-cert.pem: clients"), "{}", warnings(&place));
    place.serve_with(params(1, ExtendedKeyUsagePurpose::ServerAuth));
    assert_eq!(warnings(&place), "");
    fs::set_permissions(place.path(KEY), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(warnings(&place).contains("server-key.pem: everybody"), "{}", warnings(&place));
}

/// As openssl and certtool write them.
#[test]
fn keys_of_all_three_forms_are_read() {
    for key in [
        include_str!("testdata/pkcs1.pem"),
        include_str!("testdata/pkcs8.pem"),
        include_str!("testdata/sec1.pem"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(KEY);
        fs::write(&path, key).unwrap();
        let key = private_key(&path).unwrap();
        rustls::crypto::ring::sign::any_supported_type(&key).unwrap();
    }
}
