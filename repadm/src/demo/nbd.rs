//! A very small NBD client: enough to write to an export, and to read it back.
//!
//! Fixed newstyle negotiation over a Unix socket, one request at a time, simple replies.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

const NBD_MAGIC: u64 = 0x4e42_444d_4147_4943;
const OPTION_MAGIC: u64 = 0x4948_4156_454f_5054;
const OPTION_REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
const REQUEST_MAGIC: u32 = 0x2560_9513;
const SIMPLE_REPLY_MAGIC: u32 = 0x6744_6698;

const FIXED_NEWSTYLE: u16 = 1;
const NO_ZEROES: u16 = 2;
const OPTION_GO: u32 = 7;
const REPLY_ACK: u32 = 1;
const REPLY_INFO: u32 = 3;
const REPLY_IS_ERROR: u32 = 1 << 31;
const INFO_EXPORT: u16 = 0;

const READ: u16 = 0;
const WRITE: u16 = 1;
const DISCONNECT: u16 = 2;
const FLUSH: u16 = 3;

/// No answer to an option is longer.
const MAX_OPTION_REPLY: u32 = 64 << 10;
/// A write may wait as long as a lost peer is waited for, and then some.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection to one export.
#[derive(Debug)]
pub(super) struct Client {
    stream: UnixStream,
    size: u64,
    cookie: u64,
}

impl Client {
    /// Open the export of that name.
    ///
    /// # Errors
    /// If the server is not there, does not speak NBD, or refuses; with its reason.
    pub(super) fn open(socket: &Path, export: &str) -> io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut client = Self { stream, size: 0, cookie: 0 };
        client.negotiate(export)?;
        Ok(client)
    }

    /// The size of the export in bytes.
    pub(super) const fn size(&self) -> u64 {
        self.size
    }

    fn negotiate(&mut self, export: &str) -> io::Result<()> {
        if self.u64()? != NBD_MAGIC || self.u64()? != OPTION_MAGIC {
            return Err(bad("this is no NBD server of the newstyle kind"));
        }
        let flags = self.u16()?;
        if flags & FIXED_NEWSTYLE == 0 {
            return Err(bad("the server does not speak fixed newstyle"));
        }
        self.stream.write_all(&u32::from(flags & (FIXED_NEWSTYLE | NO_ZEROES)).to_be_bytes())?;
        let name_len = u32::try_from(export.len()).map_err(|_| bad("the name is too long"))?;
        let mut option = Vec::new();
        option.extend(OPTION_MAGIC.to_be_bytes());
        option.extend(OPTION_GO.to_be_bytes());
        option.extend((name_len + 6).to_be_bytes());
        option.extend(name_len.to_be_bytes());
        option.extend(export.as_bytes());
        option.extend(0u16.to_be_bytes());
        self.stream.write_all(&option)?;
        while !self.option_reply()? {}
        Ok(())
    }

    /// Whether that was the last one.
    fn option_reply(&mut self) -> io::Result<bool> {
        if self.u64()? != OPTION_REPLY_MAGIC || self.u32()? != OPTION_GO {
            return Err(bad("the answer is to something else than was asked"));
        }
        let (kind, len) = (self.u32()?, self.u32()?);
        if len > MAX_OPTION_REPLY {
            return Err(bad("the answer is too long"));
        }
        let mut data = vec![0; len as usize];
        self.stream.read_exact(&mut data)?;
        match kind {
            REPLY_ACK => Ok(true),
            REPLY_INFO => {
                if let [kind @ .., s0, s1, s2, s3, s4, s5, s6, s7, _, _] = &data[..]
                    && *kind == INFO_EXPORT.to_be_bytes()
                {
                    self.size = u64::from_be_bytes([*s0, *s1, *s2, *s3, *s4, *s5, *s6, *s7]);
                }
                Ok(false)
            }
            kind if kind & REPLY_IS_ERROR != 0 => {
                Err(bad(&format!("refused: {}", String::from_utf8_lossy(&data))))
            }
            _ => Ok(false),
        }
    }

    /// Write that there; done when both nodes have it, or one goes on alone.
    ///
    /// # Errors
    /// If the server says so, or goes away.
    pub(super) fn write(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        let len = u32::try_from(data.len()).map_err(|_| bad("too much in one request"))?;
        self.request(WRITE, offset, len, data)?;
        self.reply()
    }

    /// Read from there.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub(super) fn read(&mut self, offset: u64, len: u32) -> io::Result<Vec<u8>> {
        self.request(READ, offset, len, &[])?;
        self.reply()?;
        let mut data = vec![0; len as usize];
        self.stream.read_exact(&mut data)?;
        Ok(data)
    }

    /// Make durable what was written.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.request(FLUSH, 0, 0, &[])?;
        self.reply()
    }

    fn request(&mut self, kind: u16, offset: u64, len: u32, data: &[u8]) -> io::Result<()> {
        self.cookie += 1;
        let mut request = Vec::with_capacity(28 + data.len());
        request.extend(REQUEST_MAGIC.to_be_bytes());
        request.extend(0u16.to_be_bytes());
        request.extend(kind.to_be_bytes());
        request.extend(self.cookie.to_be_bytes());
        request.extend(offset.to_be_bytes());
        request.extend(len.to_be_bytes());
        request.extend(data);
        self.stream.write_all(&request)
    }

    fn reply(&mut self) -> io::Result<()> {
        let (magic, error, cookie) = (self.u32()?, self.u32()?, self.u64()?);
        if magic != SIMPLE_REPLY_MAGIC || cookie != self.cookie {
            return Err(bad("the reply is to something else than was asked"));
        }
        match i32::try_from(error) {
            Ok(0) => Ok(()),
            Ok(errno) => Err(io::Error::from_raw_os_error(errno)),
            Err(_) => Err(bad("the reply has an error number that is none")),
        }
    }

    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn u16(&mut self) -> io::Result<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> io::Result<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> io::Result<u64> {
        self.array().map(u64::from_be_bytes)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // A good-bye; a server that is gone needs none.
        let _ = self.request(DISCONNECT, 0, 0, &[]);
    }
}

fn bad(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;
    use std::thread;

    /// Answer one client from a script of (bytes to expect, bytes to send).
    fn serve(script: Vec<(usize, Vec<u8>)>) -> (tempfile::TempDir, thread::JoinHandle<Vec<u8>>) {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("s")).unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut seen = Vec::new();
            for (expect, send) in script {
                let mut bytes = vec![0; expect];
                stream.read_exact(&mut bytes).unwrap();
                seen.extend(bytes);
                stream.write_all(&send).unwrap();
            }
            seen
        });
        (directory, server)
    }

    fn greeting() -> Vec<u8> {
        let mut bytes = NBD_MAGIC.to_be_bytes().to_vec();
        bytes.extend(OPTION_MAGIC.to_be_bytes());
        bytes.extend((FIXED_NEWSTYLE | NO_ZEROES).to_be_bytes());
        bytes
    }

    fn option_reply(kind: u32, data: &[u8]) -> Vec<u8> {
        let mut bytes = OPTION_REPLY_MAGIC.to_be_bytes().to_vec();
        bytes.extend(OPTION_GO.to_be_bytes());
        bytes.extend(kind.to_be_bytes());
        bytes.extend(u32::try_from(data.len()).unwrap().to_be_bytes());
        bytes.extend(data);
        bytes
    }

    fn simple_reply(error: u32, cookie: u64, data: &[u8]) -> Vec<u8> {
        let mut bytes = SIMPLE_REPLY_MAGIC.to_be_bytes().to_vec();
        bytes.extend(error.to_be_bytes());
        bytes.extend(cookie.to_be_bytes());
        bytes.extend(data);
        bytes
    }

    fn go() -> Vec<u8> {
        let mut info = INFO_EXPORT.to_be_bytes().to_vec();
        info.extend((1u64 << 20).to_be_bytes());
        info.extend(1u16.to_be_bytes());
        [option_reply(REPLY_INFO, &info), option_reply(REPLY_ACK, &[])].concat()
    }

    const GO_BYTES: usize = 4 + 16 + 4 + 2 + 2;

    #[test]
    fn what_is_written_and_read_is_framed_as_the_protocol_says() {
        let (directory, server) = serve(vec![
            (0, greeting()),
            (GO_BYTES, go()),
            (28 + 3, simple_reply(0, 1, &[])),
            (28, simple_reply(0, 2, b"abc")),
            (28, simple_reply(28, 3, &[])),
            (28, Vec::new()),
        ]);
        let mut client = Client::open(&directory.path().join("s"), "r0").unwrap();
        assert_eq!(client.size(), 1 << 20);
        client.write(512, b"abc").unwrap();
        assert_eq!(client.read(512, 3).unwrap(), b"abc");
        assert_eq!(client.flush().unwrap_err().raw_os_error(), Some(28));
        drop(client);
        let seen = server.join().unwrap();
        assert_eq!(&seen[4 + 16 + 4..][..2], b"r0");
        assert_eq!(&seen[GO_BYTES + 28..][..3], b"abc");
    }

    #[test]
    fn a_refusal_is_told_in_the_servers_words() {
        let refusal = option_reply(REPLY_IS_ERROR | 2, b"Secondary; repadm primary r0");
        let (directory, server) = serve(vec![(0, greeting()), (GO_BYTES, refusal)]);
        let error = Client::open(&directory.path().join("s"), "r0").unwrap_err();
        assert!(error.to_string().contains("repadm primary r0"), "{error}");
        server.join().unwrap();
    }

    #[test]
    fn another_server_is_none_of_ours() {
        let (directory, server) = serve(vec![(0, b"SSH-2.0-something-or-other".to_vec())]);
        assert!(Client::open(&directory.path().join("s"), "r0").is_err());
        server.join().unwrap();
    }
}
