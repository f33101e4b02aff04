//! TLS to the database.

use powerhouse_ports::platform::PlatformStore as _;
use powerhouse_postgres::{OpenError, PoolSettings, PostgresStore};
use powerhouse_tests::own_database::{APPLICATION, PLATFORM};

use super::migrated;

/// An authority that signed nothing here.
const STRANGER: &str = "-----BEGIN CERTIFICATE-----\n\
    MIIBfDCCASOgAwIBAgIUe6JHJezzycgqXXyCwhhBoDhblHMwCgYIKoZIzj0EAwIw\n\
    EzERMA8GA1UEAwwIc3RyYW5nZXIwIBcNMjYxMTI0MTI1ODAyWhgPMjEyNjEwMzEx\n\
    MjU4MDJaMBMxETAPBgNVBAMMCHN0cmFuZ2VyMFkwEwYHKoZIzj0CAQYIKoZIzj0D\n\
    AQcDQgAEiI1447DeEyh/ojJTltZAzj7h8dIa12/PjGSXoL53cBKI4q7msqGnZety\n\
    +VFih+oEtTKyh1M8sezb/N4dYGtVfqNTMFEwHQYDVR0OBBYEFFATQojTOD0QthFK\n\
    QAJZh4o5I3iWMB8GA1UdIwQYMBaAFFATQojTOD0QthFKQAJZh4o5I3iWMA8GA1Ud\n\
    EwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDRwAwRAIgOhkdRqllHB0o5Sv5gAfguqUv\n\
    Bn/2rwGCRAiJR3T8/LcCICk2/hR4cstWkHxX7mnGy9PPNyKhfgcz5+qrmoWJUHFZ\n\
    -----END CERTIFICATE-----\n";

/// A connection is encrypted, and only to whom the certificate names: tested on the instance of `./scripts/test`, which
/// speaks TLS; another one's certificate is not known here.
#[tokio::test]
async fn the_databases_certificate_is_verified() {
    let Ok(certificate) = std::env::var("TEST_DATABASE_CERTIFICATE") else {
        eprintln!("skipped: TEST_DATABASE_CERTIFICATE is not set");
        return;
    };
    let own = migrated().await;
    let verified = |role: &str, host: &str, authority: &str| {
        let mut url = own.role(role);
        url.set_host(Some(host)).unwrap();
        url.query_pairs_mut().append_pair("sslmode", "verify-full").append_pair("sslrootcert", authority);
        url
    };
    let open = async |host: &str, authority: &str| {
        let (application, platform) =
            (verified(APPLICATION, host, authority), verified(PLATFORM, host, authority));
        let settings = PoolSettings { acquire: std::time::Duration::from_secs(2), ..PoolSettings::default() };
        PostgresStore::open(application.as_str(), platform.as_str(), settings).await
    };
    open("127.0.0.1", &certificate).await.expect("the certificate is for this address").ping().await.unwrap();
    assert!(matches!(open("localhost", &certificate).await, Err(OpenError::Connect(_))), "another name");
    let stranger = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(stranger.path(), STRANGER).unwrap();
    let unknown = open("127.0.0.1", stranger.path().to_str().unwrap()).await;
    assert!(matches!(unknown, Err(OpenError::Connect(_))), "another authority");
}
