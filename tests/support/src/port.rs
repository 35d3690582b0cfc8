use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;

/// A loopback TCP port reserved on this machine while this value lives.
///
/// The socket is bound but does not listen: until a server listens on the port too (which
/// `SO_REUSEPORT` allows to processes of one user), connections to it are refused.
#[derive(Debug)]
pub struct Port {
    address: SocketAddr,
    _reservation: Socket,
}

impl Port {
    /// Reserves a free port.
    pub fn free() -> Self {
        Self::bind(0).expect("the machine has a free port")
    }

    /// Reserves this port; an error if it is taken.
    pub fn fixed(number: u16) -> io::Result<Self> {
        // A listener of our own user may share its port with us, so probe without sharing.
        let probe = new_socket()?;
        probe.set_reuse_address(true)?;
        probe.bind(&loopback(number).into())?;
        drop(probe);
        Self::bind(number)
    }

    /// The address, on 127.0.0.1.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port number.
    pub fn number(&self) -> u16 {
        self.address.port()
    }

    /// Starts listening; connections are refused again once the listener is dropped.
    pub(crate) fn listen(&self) -> io::Result<TcpListener> {
        let socket = shared_socket(self.number())?;
        socket.listen(1024)?;
        socket.set_nonblocking(true)?;
        TcpListener::from_std(socket.into())
    }

    fn bind(number: u16) -> io::Result<Self> {
        let reservation = shared_socket(number)?;
        let address =
            reservation.local_addr()?.as_socket().expect("an IPv4 socket has an IPv4 address");
        Ok(Self { address, _reservation: reservation })
    }
}

fn shared_socket(number: u16) -> io::Result<Socket> {
    let socket = new_socket()?;
    // Without `SO_REUSEADDR` a port with connections in TIME_WAIT could not be listened on again.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&loopback(number).into())?;
    Ok(socket)
}

fn new_socket() -> io::Result<Socket> {
    Socket::new(Domain::IPV4, Type::STREAM, None)
}

fn loopback(number: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, number).into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn free_ports_are_not_given_twice() {
        let ports: Vec<_> = (0..500).map(|_| Port::free()).collect();
        let numbers: BTreeSet<_> = ports.iter().map(Port::number).collect();
        assert_eq!(numbers.len(), ports.len());
    }

    #[tokio::test]
    async fn a_port_that_is_listened_on_is_taken() {
        let port = Port::free();
        let _listener = port.listen().unwrap();
        assert!(Port::fixed(port.number()).is_err());
    }
}
