//! The kernel's nbd driver, by generic netlink. Facts: `linux/nbd-netlink.h`, and how Linux 6.1 and
//! 6.12 behave.

use super::message::{Answer, Attributes, answers, request};
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, send, socket_with,
    sockopt,
};
use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

/// The family that knows the others, its command to find one, and the attributes of that.
mod control {
    pub(super) const FAMILY: u16 = 16;
    pub(super) const GET_FAMILY: u8 = 3;
    pub(super) const FAMILY_ID: u16 = 1;
    pub(super) const FAMILY_NAME: u16 = 2;
}

/// The commands of the driver.
mod command {
    pub(super) const CONNECT: u8 = 1;
    pub(super) const DISCONNECT: u8 = 2;
    pub(super) const RECONFIGURE: u8 = 3;
}

/// The attributes of its commands.
mod attribute {
    pub(super) const INDEX: u16 = 1;
    pub(super) const SIZE: u16 = 2;
    pub(super) const BLOCK_SIZE: u16 = 3;
    pub(super) const TIMEOUT: u16 = 4;
    pub(super) const SERVER_FLAGS: u16 = 5;
    pub(super) const SOCKETS: u16 = 7;
    pub(super) const SOCKET: u16 = 1;
    pub(super) const SOCKET_FD: u16 = 1;
    pub(super) const DEAD_CONNECTION_TIMEOUT: u16 = 8;
    pub(super) const BACKEND: u16 = 10;
}

/// How long an answer may take: a disconnect waits until the driver has let go of its sockets.
const PATIENCE: Duration = Duration::from_secs(30);

/// A device of the driver: `/dev/nbd` and this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Index(pub(crate) u32);

impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "nbd{}", self.0)
    }
}

/// What a device is to be.
#[derive(Clone, Debug)]
pub(super) struct Device {
    /// Its size in bytes.
    pub size: u64,
    /// The size of a logical block in bytes.
    pub block_size: u64,
    /// What the server can do: the transmission flags of the NBD protocol.
    pub flags: u16,
    /// A request that takes longer is sent again.
    pub timeout: Duration,
    /// How long requests wait for a socket, when there is none left.
    pub dead_timeout: Duration,
    /// Whose device it is. Nobody else gives it sockets.
    pub backend: String,
}

/// A socket to the driver. Its calls block, most for a moment.
#[derive(Debug)]
pub(super) struct Driver {
    socket: OwnedFd,
    family: u16,
    sequence: u32,
}

impl Driver {
    /// Seeks it; asking may load its module.
    ///
    /// # Errors
    /// `NotFound` if there is none, whatever else the system says if it cannot be asked.
    pub(super) fn open() -> io::Result<Self> {
        let socket = socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            Some(netlink::GENERIC),
        )?;
        bind(&socket, &SocketAddrNetlink::new(0, 0))?;
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(PATIENCE))?;
        let mut driver = Self { socket, family: control::FAMILY, sequence: 0 };
        let name = Attributes::default().text(control::FAMILY_NAME, "nbd");
        let found = driver.call(control::GET_FAMILY, &name)?;
        let family = found.iter().find(|(kind, _)| *kind == control::FAMILY_ID);
        let family = family.and_then(|(_, value)| value.as_slice().try_into().ok());
        driver.family = u16::from_ne_bytes(family.ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "a family of netlink without a number")
        })?);
        Ok(driver)
    }

    /// Makes a device of these sockets, whichever is free.
    pub(super) fn connect(&mut self, device: &Device, sockets: &[OwnedFd]) -> io::Result<Index> {
        let found = self.call(command::CONNECT, &described(device, sockets))?;
        let index = found.iter().find(|(kind, _)| *kind == attribute::INDEX);
        let index = index.and_then(|(_, value)| value.as_slice().try_into().ok());
        let index = index.ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "a device without a number")
        })?;
        Ok(Index(u32::from_ne_bytes(index)))
    }

    /// Gives a device new sockets in place of dead ones. There are not more of them than dead ones:
    /// what is too much is dropped without a word.
    pub(super) fn reconnect(
        &mut self,
        index: Index,
        device: &Device,
        sockets: &[OwnedFd],
    ) -> io::Result<()> {
        // Without a size: the driver would stand still for that, with requests under way.
        let attributes = Attributes::default()
            .u32(attribute::INDEX, index.0)
            .u64(attribute::TIMEOUT, device.timeout.as_secs())
            .u64(attribute::DEAD_CONNECTION_TIMEOUT, device.dead_timeout.as_secs())
            .nested(attribute::SOCKETS, &descriptors(sockets))
            .text(attribute::BACKEND, &device.backend);
        self.call(command::RECONFIGURE, &attributes).map(drop)
    }

    /// Tells a device that it has another size.
    pub(super) fn resize(&mut self, index: Index, device: &Device) -> io::Result<()> {
        let attributes = Attributes::default()
            .u32(attribute::INDEX, index.0)
            .u64(attribute::SIZE, device.size)
            .text(attribute::BACKEND, &device.backend);
        self.call(command::RECONFIGURE, &attributes).map(drop)
    }

    /// Takes a device away: what is in flight fails.
    pub(super) fn disconnect(&mut self, index: Index) -> io::Result<()> {
        let attributes = Attributes::default().u32(attribute::INDEX, index.0);
        self.call(command::DISCONNECT, &attributes).map(drop)
    }

    /// Asks, and waits for the answer.
    fn call(&mut self, command: u8, attributes: &Attributes) -> io::Result<Vec<(u16, Vec<u8>)>> {
        self.sequence += 1;
        let message = request(self.family, self.sequence, command, attributes);
        send(&self.socket, &message, SendFlags::empty())?;
        let mut found = Vec::new();
        let mut buffer = vec![0; 16 << 10];
        loop {
            let (_, length) = recv(&self.socket, &mut buffer[..], RecvFlags::empty())?;
            for answer in answers(&buffer[..length])? {
                match answer {
                    Answer::Data { sequence, attributes } if sequence == self.sequence => {
                        found = attributes;
                    }
                    Answer::Done { sequence, result } if sequence == self.sequence => {
                        return result.map(|()| found).map_err(io::Error::from_raw_os_error);
                    }
                    // Of a call that was given up.
                    Answer::Data { .. } | Answer::Done { .. } => {}
                }
            }
        }
    }
}

fn described(device: &Device, sockets: &[OwnedFd]) -> Attributes {
    Attributes::default()
        .u64(attribute::SIZE, device.size)
        .u64(attribute::BLOCK_SIZE, device.block_size)
        .u64(attribute::SERVER_FLAGS, u64::from(device.flags))
        .u64(attribute::TIMEOUT, device.timeout.as_secs())
        .u64(attribute::DEAD_CONNECTION_TIMEOUT, device.dead_timeout.as_secs())
        .nested(attribute::SOCKETS, &descriptors(sockets))
        .text(attribute::BACKEND, &device.backend)
}

fn descriptors(sockets: &[OwnedFd]) -> Attributes {
    sockets.iter().fold(Attributes::default(), |list, socket| {
        let number = socket.as_raw_fd().cast_unsigned();
        list.nested(attribute::SOCKET, &Attributes::default().u32(attribute::SOCKET_FD, number))
    })
}
