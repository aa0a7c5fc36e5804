//! Who resumes a session is taken for who it was when that began: only for as long as the roots are trusted that were then.

use chancery::ca::authority::{Authority, Issued};
use chancery::ca::material::Material;
use chancery::ca::tls::Tls;
use chancery::clock::Clock;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, Error, HandshakeKind, RootCertStore, ServerConfig, ServerConnection};
use std::sync::Arc;
use std::time::Duration;

const HOUR: u64 = 3600;

/// A server that follows its authority, by the clock of this machine.
struct Server {
    tls: Tls,
    clock: Clock,
}

impl Server {
    /// Its certificate is another one each time.
    fn renewed(&mut self, authority: &Authority) -> Arc<ServerConfig> {
        let served = authority.serve(&["chancery".into()], self.clock.now(), Duration::from_secs(HOUR));
        Arc::new(self.tls.server(served.expect("a certificate"), authority).expect("a configuration"))
    }
}

/// A client that keeps its sessions, trusts those, and shows a certificate of the first.
fn client(authorities: [&Authority; 2], now: u64) -> Arc<ClientConfig> {
    let issued = authorities[0].issue("spiffe://cluster.local/ns/shop/sa/cart", now, now + HOUR);
    let Issued { chain, key, .. } = issued.expect("a certificate");
    let mut roots = RootCertStore::empty();
    roots.extend(authorities.iter().flat_map(|authority| authority.root_store().roots));
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain.as_bytes()).collect();
    let key = PrivateKeyDer::from_pem_slice(key.expose()).expect("a key");
    let builder = ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into());
    let builder = builder.with_safe_default_protocol_versions().expect("versions").with_root_certificates(roots);
    Arc::new(builder.with_client_auth_cert(chain.expect("certificates"), key).expect("a configuration"))
}

/// Shakes hands, and how that went for the server, which has read everything then.
fn shake(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> Result<HandshakeKind, Error> {
    let name = "chancery".try_into().expect("a name");
    let mut client = ClientConnection::new(client.clone(), name).expect("a client");
    let mut server = ServerConnection::new(server.clone()).expect("a server");
    while client.wants_write() || server.wants_write() {
        let (mut there, mut back) = (Vec::new(), Vec::new());
        while client.wants_write() {
            client.write_tls(&mut there).expect("room");
        }
        let mut there = there.as_slice();
        while !there.is_empty() {
            server.read_tls(&mut there).expect("what was written");
            server.process_new_packets()?;
        }
        while server.wants_write() {
            server.write_tls(&mut back).expect("room");
        }
        let mut back = back.as_slice();
        while !back.is_empty() {
            client.read_tls(&mut back).expect("what was written");
            client.process_new_packets()?;
        }
    }
    assert!(server.peer_certificates().is_some(), "the client is known by its certificate");
    Ok(server.handshake_kind().expect("it is over"))
}

#[test]
fn a_session_ends_with_the_trust_in_its_root() {
    let clock = Clock::system();
    let now = clock.now();
    let [stolen, next] = [(); 2].map(|()| Material::self_signed(now).expect("a root"));
    let both = |signs: &Material| Material { roots: stolen.roots.clone() + &next.roots, ..signs.clone() };
    let authority = |material: &Material| Authority::new(material, now).expect("an authority");
    let mut server = Server { tls: Tls::new(Arc::new(clock.clone())).expect("randomness"), clock };
    let client = client([&authority(&both(&stolen)), &authority(&next)], now);
    let shakes = |server: &Arc<ServerConfig>| shake(&client, server);

    let first = server.renewed(&authority(&both(&stolen)));
    assert_eq!(shakes(&first), Ok(HandshakeKind::Full));
    let renewed = server.renewed(&authority(&both(&stolen)));
    assert_eq!(shakes(&renewed), Ok(HandshakeKind::Resumed), "the control: a renewal ends no session");
    let signs = server.renewed(&authority(&both(&next)));
    assert_eq!(
        shakes(&signs),
        Ok(HandshakeKind::Resumed),
        "the control: nor does who signs, where the same is trusted"
    );

    let forgotten = server.renewed(&authority(&next));
    let refused = shakes(&forgotten).expect_err("nobody vouches for it any more");
    assert!(matches!(refused, Error::InvalidCertificate(_)), "{refused}");
}
