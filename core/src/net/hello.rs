//! The hello: the first frame on every link, in both directions.
//!
//! It adds what a certificate cannot know: the node's incarnation, its address, the stream. Whether it agrees with the
//! certificate, and what follows from the verdict, is checked by [`crate::drivers`].

use std::net::SocketAddr;

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bincode::{Decode, Encode};

const HELLO_MAX: usize = 1024;
const MAGIC: [u8; 6] = *b"limpet";
const VERSION: u8 = 2;
type Config = Configuration<LittleEndian, Varint, Limit<HELLO_MAX>>;
const CONFIG: Config = bincode::config::standard().with_limit::<HELLO_MAX>();

/// A node's introduction when a link begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// Its id, which has to be the one in its certificate.
    pub node: String,
    /// Its domain; empty for none. Only nodes of one domain link.
    pub domain: String,
    /// Its incarnation: when it began, in milliseconds since 1970.
    pub incarnation: u64,
    /// Where other nodes reach it.
    pub addr: SocketAddr,
    /// In an answer: the latest incarnation of the other side that this node knows of; 0 for none. A node that was
    /// restarted with its clock set back learns by this that it has to take a later one.
    pub knows: u64,
    /// The stream: which of the links from this node to the other one it is, from 0.
    pub stream: u8,
    /// In an answer: whether the other side may stay.
    pub verdict: Verdict,
}

/// A node's verdict on another one's hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum Verdict {
    /// The link stands.
    Welcome,
    /// The node at this address has the same id, was there before, and is alive.
    IdTaken(SocketAddr),
    /// It is of another domain; domains do not link to each other.
    OtherDomain,
    /// The answering node tracks as many members as it can.
    Full,
}

/// Why a hello cannot be read or written. The link is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    /// The first frame is none of a limpet-core.
    #[error("the peer's first frame is no hello: something else than limpet-core is there")]
    NotLimpet,
    /// The peer speaks another version.
    #[error(
        "the peer's hello is of version {found}, this node's of version {VERSION}: upgrade the older of the two"
    )]
    UnknownVersion {
        /// The version it speaks.
        found: u8,
    },
    /// The hello of this version cannot be decoded: a defect of the peer.
    #[error("the peer's hello is cut short, longer than {HELLO_MAX} bytes or cannot be decoded")]
    Undecodable,
    /// This node's own names do not fit.
    #[error("this node's hello is longer than {HELLO_MAX} bytes: shorten node.id or node.domain")]
    TooLong,
}

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
    /// [`HelloError::TooLong`].
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
        let bytes = bincode::encode_to_vec(encoded, CONFIG).map_err(|_| HelloError::TooLong)?;
        if bytes.len() > HELLO_MAX {
            return Err(HelloError::TooLong);
        }
        Ok(bytes)
    }

    /// Reads a frame's body.
    ///
    /// # Errors
    /// When it is anything but a hello of this version.
    pub fn decode(bytes: &[u8]) -> Result<Self, HelloError> {
        // Magic and version are read first: another version may have another layout.
        match bytes.strip_prefix(&MAGIC).and_then(<[u8]>::first) {
            Some(&VERSION) => {}
            Some(&found) => return Err(HelloError::UnknownVersion { found }),
            None => return Err(HelloError::NotLimpet),
        }
        let (encoded, _): (Encoded, usize) =
            bincode::decode_from_slice(bytes, CONFIG).map_err(|_| HelloError::Undecodable)?;
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
        assert_eq!(Hello::decode(&bytes), Ok(hello.clone()));
        for cut in 0..bytes.len() {
            assert!(Hello::decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        for (bytes, reason) in [
            (&b"GET / HTTP/1.1\r\n\r\n"[..], HelloError::NotLimpet),
            (b"limpet\x09", HelloError::UnknownVersion { found: 9 }),
            (b"limpet\x02\x01", HelloError::Undecodable),
        ] {
            assert_eq!(Hello::decode(bytes), Err(reason));
        }
        let domain = "d".repeat(HELLO_MAX);
        let too_long = Hello { domain, ..hello };
        assert_eq!(too_long.encode(), Err(HelloError::TooLong));
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
            (
                Verdict::Full,
                "6c696d70657402016103643130fd0068e5cf8b010000000a000001fba00f060103",
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
