//! TLS for servers and clients that speak plain HTTP.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::{LazyConfigAcceptor, TlsConnector};

use crate::port::Port;

/// A certificate authority trusted only by those that were given its certificate.
#[derive(Debug)]
pub struct CertificateAuthority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl CertificateAuthority {
    /// A new one.
    pub fn new() -> Self {
        let key = KeyPair::generate().expect("the machine makes keys");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "an authority of the test bed");
        let certificate = params.self_signed(&key).expect("rcgen signs with its own key");
        Self { pem: certificate.pem(), issuer: Issuer::new(params, key) }
    }

    /// Its certificate.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A new certificate for this host, and its private key, both in PEM.
    pub fn certify(&self, host: &str) -> (String, String) {
        let key = KeyPair::generate().expect("the machine makes keys");
        let mut params = CertificateParams::new([host.to_owned()]).expect("it is a host name");
        params.distinguished_name.push(DnType::CommonName, host);
        let certificate = params.signed_by(&key, &self.issuer);
        (certificate.expect("the authority signs").pem(), key.serialize_pem())
    }
}

impl Default for CertificateAuthority {
    fn default() -> Self {
        Self::new()
    }
}

/// A TLS server for many hosts: selects one by the name that the client requests (SNI), and
/// forwards the decrypted bytes.
#[derive(Debug)]
pub struct TlsEntrance {
    port: Port,
    hosts: Arc<Mutex<BTreeMap<String, Host>>>,
    server: JoinHandle<()>,
}

#[derive(Clone, Debug)]
struct Host {
    certificate: Arc<CertifiedKey>,
    server: SocketAddr,
}

impl TlsEntrance {
    /// A server without hosts: it aborts handshakes for hosts that were not added by
    /// [`serve`](Self::serve).
    pub async fn start() -> Self {
        let port = Port::free();
        let listener = port.listen().expect("the port is ours");
        let hosts = Arc::new(Mutex::new(BTreeMap::new()));
        let known = hosts.clone();
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // Clients that reject the certificate disconnect; they report it themselves.
                tokio::spawn(enter(stream, known.clone()));
            }
        });
        Self { port, hosts, server }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Forwards connections for this host to this server, with a valid certificate of this
    /// authority.
    pub fn serve(&self, host: &str, authority: &CertificateAuthority, server: SocketAddr) {
        self.serve_with(host, authority.certify(host), server);
    }

    /// Like `serve`, with any certificate and its private key, both in PEM.
    pub fn serve_with(&self, host: &str, certificate: (String, String), server: SocketAddr) {
        let certificate = Arc::new(certified_key(&certificate));
        let mut hosts = self.hosts.lock().expect("no holder panics");
        hosts.insert(host.to_owned(), Host { certificate, server });
    }
}

impl Drop for TlsEntrance {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn enter(stream: TcpStream, hosts: Arc<Mutex<BTreeMap<String, Host>>>) -> io::Result<()> {
    let acceptor = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream);
    let handshake = acceptor.await?;
    let name = handshake.client_hello().server_name().unwrap_or_default().to_owned();
    let host = hosts.lock().expect("no holder panics").get(&name).cloned();
    let host = host.ok_or_else(|| io::Error::other(format!("no host {name:?}")))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(crypto()))
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Always(host.certificate)));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let mut decrypted = handshake.into_stream(Arc::new(config)).await?;
    let mut server = TcpStream::connect(host.server).await?;
    copy_bidirectional(&mut decrypted, &mut server).await?;
    Ok(())
}

/// A tunnel for clients without TLS to a server that requires it.
#[derive(Debug)]
pub struct TlsTunnel {
    port: Port,
    server: JoinHandle<()>,
}

impl TlsTunnel {
    /// A tunnel to this server, which must have a certificate of this authority for this host.
    pub async fn start(server: SocketAddr, host: &str, authority: &CertificateAuthority) -> Self {
        let port = Port::free();
        let listener = port.listen().expect("the port is ours");
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(authority.pem().as_bytes());
        roots.add(root.expect("it is a certificate")).expect("it can be a root");
        let config = ClientConfig::builder_with_provider(Arc::new(crypto()))
            .with_safe_default_protocol_versions()
            .expect("ring has them")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = TlsConnector::from(Arc::new(config));
        let name = ServerName::try_from(host.to_owned()).expect("it is a host name");
        let pass_on = move |mut stream: TcpStream, client: SocketAddr| {
            let (connector, name) = (connector.clone(), name.clone());
            async move {
                let connection = TcpSocket::new_v4()?;
                // For the server, the client keeps its address.
                connection.bind(SocketAddr::new(client.ip(), 0))?;
                let connection = connection.connect(server).await?;
                let mut encrypted = connector.connect(name, connection).await?;
                copy_bidirectional(&mut stream, &mut encrypted).await.map(|_| ())
            }
        };
        let server = tokio::spawn(async move {
            while let Ok((stream, client)) = listener.accept().await {
                // If its tunnel fails, the client sees its connection end.
                let _task: JoinHandle<io::Result<()>> = tokio::spawn(pass_on(stream, client));
            }
        });
        Self { port, server }
    }

    /// The address that clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }
}

impl Drop for TlsTunnel {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Presents the same certificate to every client.
#[derive(Debug)]
struct Always(Arc<CertifiedKey>);

impl ResolvesServerCert for Always {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

fn certified_key((certificate, key): &(String, String)) -> CertifiedKey {
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes());
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("it is a private key");
    let chain = vec![certificate.expect("it is a certificate")];
    CertifiedKey::from_der(chain, key, &crypto()).expect("ring signs with such keys")
}

fn crypto() -> rustls::crypto::CryptoProvider {
    rustls::crypto::ring::default_provider()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity_provider::IdentityProvider;

    async fn status(tunnel: &TlsTunnel) -> Option<u16> {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let response = client.get(format!("http://{}/jwks", tunnel.address())).send().await;
        response.ok().map(|response| response.status().as_u16())
    }

    #[tokio::test]
    async fn hosts_are_reached_by_their_names_and_certificates() {
        let (provider, entrance) = (IdentityProvider::start().await, TlsEntrance::start().await);
        let (authority, other) = (CertificateAuthority::new(), CertificateAuthority::new());
        let reach = async |host, authority| {
            status(&TlsTunnel::start(entrance.address(), host, authority).await).await
        };
        assert_eq!(reach("id.example.com", &authority).await, None);
        entrance.serve("id.example.com", &authority, provider.address());
        assert_eq!(reach("id.example.com", &authority).await, Some(200));
        assert_eq!(reach("id.example.com", &other).await, None);
        entrance.serve_with(
            "id.example.com",
            authority.certify("other.example.com"),
            provider.address(),
        );
        assert_eq!(reach("id.example.com", &authority).await, None);
    }
}
