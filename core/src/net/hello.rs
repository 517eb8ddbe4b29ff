//! The first frame on every link, in both directions: which run of which node is speaking, and where it listens.
//! Everything in it must agree with the certificate; it adds only what a certificate cannot know.

use std::net::SocketAddr;

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bincode::{Decode, Encode};

const HELLO_MAX: usize = 1024;
const MAGIC: [u8; 6] = *b"limpet";
const VERSION: u8 = 2;
type Config = Configuration<LittleEndian, Varint, Limit<HELLO_MAX>>;
const CONFIG: Config = bincode::config::standard().with_limit::<HELLO_MAX>();

/// What a node says of itself when a link begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// Its name, which must be the one in its certificate.
    pub node: String,
    /// Its domain; empty for none. Only nodes of one domain link.
    pub domain: String,
    /// When this run of it began, in milliseconds since 1970.
    pub incarnation: u64,
    /// Where other nodes reach it.
    pub addr: SocketAddr,
    /// In an answer: the latest incarnation of the other side this node has heard of; 0 for none. A node that was
    /// restarted with its clock set back learns by this that it must take a later one.
    pub knows: u64,
    /// Which of the links from this node to the other one it is, from 0.
    pub stream: u8,
    /// In an answer: whether the other side may stay.
    pub verdict: Verdict,
}

/// How a node takes another one's hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum Verdict {
    /// It may speak.
    Welcome,
    /// The node at this address has the same name, was there before, and is alive.
    IdTaken(SocketAddr),
    /// It is of another domain, which this one has nothing to say to.
    OtherDomain,
}

/// Why the first frame is no hello. The link is closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a hello of version {VERSION}: {0}")]
pub struct HelloError(String);

#[derive(Encode, Decode)]
struct Encoded {
    magic: [u8; 6],
    version: u8,
    node: String,
    domain: String,
    incarnation: u64,
    addr: SocketAddr,
    knows: u64,
    stream: u8,
    verdict: Verdict,
}

impl Hello {
    /// The frame's body.
    ///
    /// # Errors
    /// When names are too long to be sent.
    pub fn encode(&self) -> Result<Vec<u8>, HelloError> {
        let Self {
            node,
            domain,
            incarnation,
            addr,
            knows,
            stream,
            verdict,
        } = self.clone();
        let encoded = Encoded {
            magic: MAGIC,
            version: VERSION,
            node,
            domain,
            incarnation,
            addr,
            knows,
            stream,
            verdict,
        };
        bincode::encode_to_vec(encoded, CONFIG).map_err(|e| HelloError(e.to_string()))
    }

    /// Reads a frame's body.
    ///
    /// # Errors
    /// When it is anything but a hello of this version.
    pub fn decode(bytes: &[u8]) -> Result<Self, HelloError> {
        let (encoded, _): (Encoded, usize) =
            bincode::decode_from_slice(bytes, CONFIG).map_err(|e| HelloError(e.to_string()))?;
        if encoded.magic != MAGIC || encoded.version != VERSION {
            return Err(HelloError(format!("version {}", encoded.version)));
        }
        let Encoded {
            node,
            domain,
            incarnation,
            addr,
            knows,
            stream,
            verdict,
            ..
        } = encoded;
        Ok(Self {
            node,
            domain,
            incarnation,
            addr,
            knows,
            stream,
            verdict,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_and_refuses_everything_else() {
        let hello = Hello {
            node: "a".into(),
            domain: String::new(),
            incarnation: 7,
            addr: "[::1]:4000".parse().unwrap(),
            knows: 6,
            stream: 1,
            verdict: Verdict::IdTaken("[::1]:4001".parse().unwrap()),
        };
        let bytes = hello.encode().unwrap();
        assert_eq!(Hello::decode(&bytes), Ok(hello));
        for cut in 0..bytes.len() {
            assert!(Hello::decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        assert!(Hello::decode(b"GET / HTTP/1.1\r\n\r\n").is_err());
    }

    #[test]
    fn each_verdict_has_these_bytes() {
        for (verdict, expected) in [
            (
                Verdict::Welcome,
                "6c696d70657402016103643130fd0068e5cf8b010000000a000001fba00f060100",
            ),
            (
                Verdict::IdTaken("[::1]:4001".parse().unwrap()),
                "6c696d70657402016103643130fd0068e5cf8b010000000a000001fba00f0601010100000000000000000000\
            000000000001fba10f",
            ),
            (
                Verdict::OtherDomain,
                "6c696d70657402016103643130fd0068e5cf8b010000000a000001fba00f060102",
            ),
        ] {
            let hello = Hello {
                node: "a".into(),
                domain: "d10".into(),
                incarnation: 1_700_000_000_000,
                addr: "10.0.0.1:4000".parse().unwrap(),
                knows: 6,
                stream: 1,
                verdict,
            };
            let bytes = hello.encode().unwrap();
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, expected, "{verdict:?}");
        }
    }
}
